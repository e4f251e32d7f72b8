/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/judge.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/policy/condition.h"
#include "agent/policy/field_part.h"

/* One element of a field. */
struct value {
	const ProtobufCFieldDescriptor *field;
	const void *at;
	bool deny; /* what is not known holds */
};

/* Text with its end; false: the field is none. Bytes may have NUL within. */
static bool text_of(const struct value *value, const char **ret_text, size_t *ret_len)
{
	if (value->field->type == PROTOBUF_C_TYPE_BYTES) {
		const ProtobufCBinaryData *bytes = value->at;

		*ret_text = (const char *)bytes->data;
		*ret_len = bytes->len;
		return true;
	}
	if (value->field->type != PROTOBUF_C_TYPE_STRING)
		return false;
	*ret_text = *(char *const *)value->at;
	*ret_len = strlen(*ret_text);
	return true;
}

/* Bytes need not end in NUL, and a pattern sees no further than the first one: a text that has one
 * matches nothing. */
static bool matches_glob(const char *text, size_t len, const char *pattern)
{
	char *copy = memchr(text, '\0', len) ? NULL : strndup(text, len);
	bool matches = copy && fnmatch(pattern, copy, FNM_NOESCAPE) == 0;

	free(copy);
	return matches;
}

static bool is_signed(const ProtobufCFieldDescriptor *field)
{
	return field->type <= PROTOBUF_C_TYPE_SFIXED64;
}

/* 64 bits, of a number. */
static bool is_wide(const ProtobufCFieldDescriptor *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return true;
	default:
		return false;
	}
}

/* <0, 0, >0: the number is below, equal to, above what the text says. */
static int compare(const struct value *value, const char *text)
{
	bool wide = is_wide(value->field);

	if (is_signed(value->field)) {
		int64_t number = wide ? *(const int64_t *)value->at : *(const int32_t *)value->at;
		int64_t other = strtoimax(text, NULL, 10);

		return (number > other) - (number < other);
	}
	uint64_t number = wide ? *(const uint64_t *)value->at : *(const uint32_t *)value->at;
	uint64_t other = strtoumax(text, NULL, 10);

	return (number > other) - (number < other);
}

static bool equals(const struct value *value, const char *text)
{
	const char *own = NULL;
	size_t len;

	if (text_of(value, &own, &len))
		return len == strlen(text) && memcmp(own, text, len) == 0;
	if (value->field->type == PROTOBUF_C_TYPE_BOOL)
		return *(const protobuf_c_boolean *)value->at == (strcmp(text, "true") == 0);
	if (value->field->type == PROTOBUF_C_TYPE_ENUM) {
		const ProtobufCEnumValue *name = protobuf_c_enum_descriptor_get_value(
			value->field->descriptor, *(const int *)value->at);

		return name && strcmp(name->name, text) == 0;
	}
	return compare(value, text) == 0;
}

static bool holds_for(const struct condition *condition, const struct value *value)
{
	const char *text = NULL, *first = condition->values;
	enum condition_under under;
	size_t len = 0;

	switch (condition->op) {
	case CONDITION_EQUAL:
		for (const char *at = first; *at; at += strlen(at) + 1)
			if (equals(value, at))
				return true;
		return false;
	case CONDITION_WITHIN:
		return compare(value, first) >= 0 && compare(value, first + strlen(first) + 1) <= 0;
	case CONDITION_GLOB:
		return text_of(value, &text, &len) && matches_glob(text, len, first);
	case CONDITION_UNDER:
		if (!text_of(value, &text, &len))
			return false;
		under = condition_under(text, len, first);
		return under == UNDER_YES || (under == UNDER_UNKNOWN && value->deny);
	}
	return false;
}

static bool is_there(const ProtobufCFieldDescriptor *field, const uint8_t *message)
{
	if (field->label == PROTOBUF_C_LABEL_REQUIRED)
		return true;
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return *(char *const *)(message + field->offset) != NULL;
	return *(const protobuf_c_boolean *)(message + field->quantifier_offset) != 0;
}

static size_t size_of(const ProtobufCFieldDescriptor *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_STRING:
		return sizeof(char *);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_ENUM:
		return sizeof(int);
	default:
		return is_wide(field) ? sizeof(uint64_t) : sizeof(uint32_t);
	}
}

/* How many elements; what is not repeated has one, or is absent. */
static size_t count_of(const ProtobufCFieldDescriptor *field, const uint8_t *message)
{
	size_t n;

	if (field->label != PROTOBUF_C_LABEL_REPEATED)
		return is_there(field, message);
	memcpy(&n, message + field->quantifier_offset, sizeof(n));
	return n;
}

static struct value element(
	const ProtobufCFieldDescriptor *field, const uint8_t *message, size_t i, bool deny)
{
	struct value value = {field, message + field->offset, deny};

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		value.at = *(uint8_t *const *)value.at + i * size_of(field);
	return value;
}

static bool holds(const struct condition *condition, const ProtobufCMessage *request, bool deny)
{
	static const ProtobufCFieldDescriptor count = {.type = PROTOBUF_C_TYPE_UINT64};
	const ProtobufCFieldDescriptor *field;
	const uint8_t *message = (const uint8_t *)request;
	size_t len, part, first = 0, n, hold = 0;
	char name[64];

	field_part(condition->field, &len, &part);
	(void)snprintf(name, sizeof(name), "%.*s", (int)len, condition->field);
	field = protobuf_c_message_descriptor_get_field_by_name(request->descriptor, name);
	if (!field)
		return deny;
	n = count_of(field, message);
	if (part == FIELD_COUNT) {
		uint64_t number = n;

		return holds_for(condition, &(struct value){&count, &number, deny});
	}
	if (part != FIELD_ALL) {
		first = part;
		n = part < n ? part + 1 : part;
	}
	for (size_t i = first; i < n; i++) {
		struct value value = element(field, message, i, deny);

		hold += holds_for(condition, &value);
	}
	return deny ? hold > 0 : hold > 0 && hold == n - first;
}

/* All of the clause's conditions. */
static bool clause_holds(
	const struct clause *clause, const ProtobufCMessage *request, bool *ret_by_path)
{
	const uint8_t *at = (const uint8_t *)(clause + 1),
		      *end = (const uint8_t *)clause + clause->size;
	struct condition condition;
	bool all = true;

	while (at < end) {
		if (!condition_next(&at, end, &condition))
			return !clause->allow;
		*ret_by_path |= condition.op == CONDITION_UNDER;
		all = all && holds(&condition, request, !clause->allow);
	}
	return all;
}

bool judge_allows(const uint8_t *clauses, size_t len, enum method method,
	const ProtobufCMessage *request, const char **ret_rule, bool *ret_by_path)
{
	bool allowed = false;

	*ret_rule = "";
	*ret_by_path = false;
	for (size_t at = 0; at + sizeof(struct clause) <= len;) {
		const struct clause *clause = (const struct clause *)(clauses + at);

		if (clause->size < sizeof(*clause) || clause->size > len - at)
			return false;
		at += CLAUSE_ALIGN(clause->size);
		if (!(clause->methods[method / 8] & 1 << method % 8) ||
			!clause_holds(clause, request, ret_by_path))
			continue;
		if (!clause->allow) {
			*ret_rule = clause->rule;
			return false;
		}
		if (!allowed)
			*ret_rule = clause->rule;
		allowed = true;
	}
	return allowed;
}
