/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/policy/field.h"

#include <errno.h>
#include <string.h>

#include "agent/policy/field_part.h"
#include "fields.h"

static const char *const fields[METHOD_COUNT] = {
#define METHOD(service, rpc, Type, where, caps, profile, default_ms, max_ms, flags, settle, needs, \
	summary)                                                                                   \
	[METHOD_##service##_##rpc] = FIELDS_##Type,
#include "methods.rows"
#undef METHOD
};

static enum field_kind kind_of(const char *word)
{
	static const struct {
		const char *word;
		enum field_kind kind;
	} kinds[] = {{"text", FIELD_TEXT}, {"bool", FIELD_BOOL}, {"signed", FIELD_SIGNED},
		{"unsigned", FIELD_UNSIGNED}};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(word, kinds[i].word) == 0)
			return kinds[i].kind;
	return FIELD_NAME;
}

int field_find(enum method method, const char *name, struct field *ret)
{
	size_t len, part;

	field_part(name, &len, &part);
	for (const char *at = fields[method]; *at; at += strlen(at) + 1) {
		if (strncmp(at, name, len) != 0 || at[len] != ' ')
			continue;
		at += len + 1;
		*ret = (struct field){.repeated = *at == '*'};
		at += ret->repeated;
		if (part != FIELD_ALL && !ret->repeated)
			return -ENOENT;
		ret->repeated = ret->repeated && part == FIELD_ALL;
		ret->kind = part == FIELD_COUNT ? FIELD_UNSIGNED : kind_of(at);
		ret->names = ret->kind == FIELD_NAME ? at : "";
		return 0;
	}
	return -ENOENT;
}

bool field_has_name(const struct field *field, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = field->names; *at;) {
		size_t n = strcspn(at, ",");

		if (n == len && memcmp(at, name, len) == 0)
			return true;
		at += n + 1;
	}
	return false;
}
