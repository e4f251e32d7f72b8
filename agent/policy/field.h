/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fields of the methods' parameters, by name, for who has no descriptors: proto/fields.awk. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/row.h"

enum field_kind {
	FIELD_TEXT, /* bytes or string */
	FIELD_BOOL,
	FIELD_SIGNED,
	FIELD_UNSIGNED,
	FIELD_NAME, /* of an enumeration */
};

struct field {
	enum field_kind kind;
	bool repeated;
	const char *names; /* of FIELD_NAME: each with a comma behind it; static */
};

/*
 * What a rule calls name (field_part.h); a count is a number that is not repeated. 0; -ENOENT where
 * a rule cannot ask for it: there is none, it is of another kind, or it has no parts.
 */
int field_find(enum method method, const char *name, struct field *ret);

/* True when this is one of the enumeration's names. */
bool field_has_name(const struct field *field, const char *name);
