/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/policy/condition.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int put(struct buffer *packed, const char *text, size_t len)
{
	return buffer_append(packed, text, len) < 0 || buffer_append(packed, "", 1) < 0 ? -ENOMEM
											: 0;
}

/* The words between commas, or, at "..", of a range. */
static int put_values(struct buffer *packed, const char *value, const char *between)
{
	size_t skip = strlen(between);

	for (;;) {
		const char *end = strstr(value, between);
		size_t len = end ? (size_t)(end - value) : strlen(value);
		int r = len > 0 ? put(packed, value, len) : -EINVAL;

		if (r < 0 || !end)
			return r;
		value = end + skip;
	}
}

static bool is_folder(const char *path)
{
	size_t len = strlen(path);

	if (path[0] != '/' || strstr(path, "//") || (len > 1 && path[len - 1] == '/'))
		return false;
	for (const char *at = path; (at = strstr(at, "/.")); at += 2)
		if (at[2 + (at[2] == '.')] == '/' || at[2 + (at[2] == '.')] == '\0')
			return false;
	return true;
}

static bool is_number(const char *text)
{
	char *end;

	errno = 0;
	if (*text == '-')
		(void)strtoimax(text, &end, 10);
	else
		(void)strtoumax(text, &end, 10);
	return errno == 0 && end != text && *end == '\0' && strchr("-0123456789", *text);
}

/* "1..5" has exactly two numbers. */
static bool is_range(const char *value)
{
	const char *dots = strstr(value, "..");
	char low[24];

	if (!dots || (size_t)(dots - value) >= sizeof(low))
		return false;
	memcpy(low, value, (size_t)(dots - value));
	low[dots - value] = '\0';
	return is_number(low) && is_number(dots + 2);
}

int condition_pack(struct buffer *packed, const char *field, const char *op, const char *value,
	const char **ret_why)
{
	static const struct {
		const char *word;
		enum condition_op op;
		const char *between;
	} ops[] = {{"=", CONDITION_EQUAL, NULL}, {"in", CONDITION_EQUAL, ","},
		{"~", CONDITION_GLOB, NULL}, {"under", CONDITION_UNDER, NULL},
		{"within", CONDITION_WITHIN, ".."}};
	size_t i = 0;
	uint8_t byte;
	int r;

	while (i < sizeof(ops) / sizeof(ops[0]) && strcmp(op, ops[i].word) != 0)
		i++;
	*ret_why = "expected =, in, ~, under or within between a field and its value";
	if (i == sizeof(ops) / sizeof(ops[0]))
		return -EINVAL;
	byte = (uint8_t)ops[i].op;
	*ret_why = "under: expected an absolute path without \".\", \"..\" and doubled slashes";
	if (ops[i].op == CONDITION_UNDER && !is_folder(value))
		return -EINVAL;
	*ret_why = "within: expected LOW..HIGH, two numbers";
	if (ops[i].op == CONDITION_WITHIN && !is_range(value))
		return -EINVAL;
	*ret_why = "expected a value, which is not empty";
	r = buffer_append(packed, &byte, 1) < 0 ? -ENOMEM : put(packed, field, strlen(field));
	if (r == 0)
		r = ops[i].between     ? put_values(packed, value, ops[i].between)
		    : value[0] == '\0' ? -EINVAL
				       : put(packed, value, strlen(value));
	return r < 0 ? r : put(packed, "", 0);
}

static bool value_fits(const struct field *field, const char *value, const char **ret_why)
{
	switch (field->kind) {
	case FIELD_TEXT:
		return true;
	case FIELD_BOOL:
		*ret_why = "expected true or false";
		return strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
	case FIELD_NAME:
		*ret_why = "the field has no such name";
		return field_has_name(field, value);
	default:
		*ret_why = "expected a number that the field can have";
		return is_number(value) && (field->kind == FIELD_SIGNED || value[0] != '-');
	}
}

bool condition_fits(const struct condition *condition, enum method method, const char **ret_why)
{
	const struct method_row *row = &method_rows[method];
	struct field field;
	bool number;

	*ret_why = "has no such field that a rule can ask for";
	if (field_find(method, condition->field, &field) < 0)
		return false;
	number = field.kind == FIELD_SIGNED || field.kind == FIELD_UNSIGNED;
	switch (condition->op) {
	case CONDITION_GLOB:
	case CONDITION_UNDER:
		*ret_why = "the field is not text";
		if (field.kind != FIELD_TEXT)
			return false;
		/* A program is started as its path says. */
		*ret_why = "starts a program: ask with = or ~";
		return condition->op == CONDITION_GLOB || row->where < NEW_JOB;
	case CONDITION_WITHIN:
		*ret_why = "the field is not a number";
		if (!number)
			return false;
		break;
	case CONDITION_EQUAL:
		break;
	}
	for (const char *value = condition->values; *value; value += strlen(value) + 1)
		if (!value_fits(&field, value, ret_why))
			return false;
	return true;
}

/* The text at *at, which is behind its NUL then; NULL: it has none before end. */
static const char *next_text(const uint8_t **at, const uint8_t *end)
{
	const char *text = (const char *)*at;
	const uint8_t *nul = memchr(*at, 0, (size_t)(end - *at));

	if (!nul)
		return NULL;
	*at = nul + 1;
	return text;
}

bool condition_next(const uint8_t **at, const uint8_t *end, struct condition *ret)
{
	const char *value;

	if (*at >= end)
		return false;
	ret->op = (enum condition_op) * (*at)++;
	ret->field = next_text(at, end);
	ret->values = (const char *)*at;
	do
		value = ret->field ? next_text(at, end) : NULL;
	while (value && *value);
	return value != NULL;
}

enum condition_under condition_under(const char *path, size_t len, const char *folder)
{
	const char *end = path + len;
	bool inside = true;

	folder++;
	while (path < end) {
		size_t n = strcspn(folder, "/"), part;
		const char *slash = memchr(path, '/', (size_t)(end - path));

		part = (size_t)((slash ? slash : end) - path);
		if (part == 2 && memcmp(path, "..", 2) == 0)
			return UNDER_UNKNOWN;
		/* As if it were not there. */
		if (part > 1 || (part == 1 && *path != '.')) {
			if (n > 0 && (n != part || memcmp(path, folder, n) != 0))
				inside = false;
			folder += n + (folder[n] == '/');
		}
		path += part + 1;
	}
	return inside && *folder == '\0' ? UNDER_YES : UNDER_NO;
}
