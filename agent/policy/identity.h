/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who a caller is, as far as it can be proved. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum identity_kind {
	IDENTITY_HOST,      /* CID 2 */
	IDENTITY_HOST_ROOT, /* CID 2 from a port below 1024 */
	IDENTITY_GUEST,     /* CID 3 and above; number is the CID */
	IDENTITY_LOCAL,     /* UNIX socket; number is the user id */
};

struct identity {
	enum identity_kind kind;
	uint32_t number;
};

/* "host", "guest:5", "local:0" into text[0..size). */
void identity_print(const struct identity *identity, char *text, size_t size);

/* The same word, or -EINVAL. *ret_any: it was "guest:*" or "local:*"; NULL: such a word is none. */
int identity_parse(const char *text, struct identity *ret, bool *ret_any);

bool identity_equal(const struct identity *a, const struct identity *b);
