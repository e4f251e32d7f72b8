/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/policy/identity.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void identity_print(const struct identity *identity, char *text, size_t size)
{
	switch (identity->kind) {
	case IDENTITY_HOST:
		(void)snprintf(text, size, "host");
		break;
	case IDENTITY_HOST_ROOT:
		(void)snprintf(text, size, "host-root");
		break;
	case IDENTITY_GUEST:
		(void)snprintf(text, size, "guest:%u", identity->number);
		break;
	case IDENTITY_LOCAL:
		(void)snprintf(text, size, "local:%u", identity->number);
		break;
	}
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
	return a->kind == b->kind && a->number == b->number;
}

static int parse_number(const char *text, uint32_t *ret, bool *ret_any)
{
	char *end;
	unsigned long number;

	if (ret_any && strcmp(text, "*") == 0) {
		*ret_any = true;
		return 0;
	}
	errno = 0;
	number = strtoul(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || *text < '0' || *text > '9' ||
		number >= UINT32_MAX)
		return -EINVAL;
	*ret = (uint32_t)number;
	return 0;
}

int identity_parse(const char *text, struct identity *ret, bool *ret_any)
{
	*ret = (struct identity){IDENTITY_HOST, 0};
	if (ret_any)
		*ret_any = false;
	if (strcmp(text, "host") == 0)
		return 0;
	ret->kind = IDENTITY_HOST_ROOT;
	if (strcmp(text, "host-root") == 0)
		return 0;
	ret->kind = strncmp(text, "guest:", 6) == 0 ? IDENTITY_GUEST : IDENTITY_LOCAL;
	if (ret->kind == IDENTITY_LOCAL && strncmp(text, "local:", 6) != 0)
		return -EINVAL;
	return parse_number(text + 6, &ret->number, ret_any);
}
