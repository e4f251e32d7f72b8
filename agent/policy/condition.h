/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a rule asks of a request's parameters:
 *
 *   FIELD = VALUE             equal; a name of an enumeration, true or false where the field is
 * that FIELD in VALUE,VALUE...   one of them FIELD ~ GLOB              text in which * stands for
 * any characters and ? for one FIELD under PATH          a path that is PATH or beneath it FIELD
 * within LOW..HIGH    a number
 *
 * Conditions stand in a request's rule as bytes without pointers (packed), which the broker hands
 * to the process that has the request: of each one its operator, then texts, each with its NUL: the
 * field, the values, and an empty one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/policy/field.h"
#include "proto/buffer.h"

enum condition_op {
	CONDITION_EQUAL = 'e', /* or in: any of its values */
	CONDITION_GLOB = 'g',
	CONDITION_UNDER = 'u',
	CONDITION_WITHIN = 'w', /* two values */
};

struct condition {
	enum condition_op op;
	const char *field;
	const char *values; /* one behind the other's NUL, then an empty one */
};

/*
 * Appends the condition "field op value" to packed. 0; -EINVAL with *ret_why, a static phrase that
 * says what was expected; -ENOMEM.
 */
int condition_pack(struct buffer *packed, const char *field, const char *op, const char *value,
	const char **ret_why);

/* True when a rule may ask this of the method's parameters; else *ret_why says, as a static phrase,
 * why not. */
bool condition_fits(const struct condition *condition, enum method method, const char **ret_why);

/* The condition at *at, which is behind it then. False where there is none before end, or not all
 * of one. */
bool condition_next(const uint8_t **at, const uint8_t *end, struct condition *ret);

/* What a path says of where it leads, by its text alone. */
enum condition_under {
	UNDER_NO,
	UNDER_YES,
	UNDER_UNKNOWN, /* it has ".." in it */
};

/* Is path (len bytes; what has no slash before it counts as having one) beneath folder, an absolute
 * path? */
enum condition_under condition_under(const char *path, size_t len, const char *folder);
