/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every message and method of the protocol has to keep to. */
/* needs: agent/row.c */
#include "tests/unit/unit.h"

#include "agent/row.h"
#include "messages.h"
#include "proto/client/json.h"
#include "proto/client/services.h"
#include "proto/limits.h"

#define TYPES_MAX 512

/* The types from a root down to the one at hand, and all that were seen. */
static const ProtobufCMessageDescriptor *path[VERIFY_DEPTH + 1];
static const ProtobufCMessageDescriptor *seen[TYPES_MAX];
static size_t n_seen, deepest;

static void note(const ProtobufCMessageDescriptor *type)
{
	for (size_t i = 0; i < n_seen; i++)
		if (seen[i] == type)
			return;
	assert_true(n_seen < TYPES_MAX);
	seen[n_seen++] = type;
}

static void walk(const ProtobufCMessageDescriptor *type, size_t depth)
{
	for (size_t i = 0; i < depth; i++)
		if (path[i] == type)
			fail_msg("%s holds itself", type->name);
	if (depth == VERIFY_DEPTH)
		fail_msg("%s is nested too deep", type->name);
	path[depth] = type;
	deepest = depth + 1 > deepest ? depth + 1 : deepest;
	note(type);
	for (unsigned int i = 0; i < type->n_fields; i++)
		if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
			walk(type->fields[i].descriptor, depth + 1);
}

static int walk_all(void **state)
{
	(void)state;
	walk(&postern__v1__to_agent__descriptor, 0);
	walk(&postern__v1__from_agent__descriptor, 0);
	walk(&postern__v1__ready__descriptor, 0);
	for (size_t i = 0; postern_services[i]; i++)
		for (unsigned int j = 0; j < postern_services[i]->n_methods; j++) {
			walk(postern_services[i]->methods[j].input, 0);
			walk(postern_services[i]->methods[j].output, 0);
		}
	return 0;
}

UNIT(no_message_is_recursive_or_deep)
{
	/* walk_all() has looked; this is that it looked at something. */
	assert_true(n_seen > 50);
	assert_in_range(deepest, 3, VERIFY_DEPTH);
}

UNIT(no_message_has_more_fields_than_are_checked)
{
	for (size_t i = 0; i < n_seen; i++)
		if (seen[i]->n_fields > VERIFY_FIELDS)
			fail_msg("%s has %u fields", seen[i]->name, seen[i]->n_fields);
}

UNIT(no_field_is_required)
{
	for (size_t i = 0; i < n_seen; i++)
		for (unsigned int j = 0; j < seen[i]->n_fields; j++)
			if (seen[i]->fields[j].label == PROTOBUF_C_LABEL_REQUIRED)
				fail_msg("%s.%s is required", seen[i]->name,
					seen[i]->fields[j].name);
}

UNIT(every_enum_has_a_zero_that_says_nothing)
{
	for (size_t i = 0; i < n_seen; i++)
		for (unsigned int j = 0; j < seen[i]->n_fields; j++) {
			const ProtobufCFieldDescriptor *field = &seen[i]->fields[j];
			const ProtobufCEnumValue *zero;

			if (field->type != PROTOBUF_C_TYPE_ENUM)
				continue;
			zero = protobuf_c_enum_descriptor_get_value(field->descriptor, 0);
			assert_non_null(zero);
			assert_non_null(strstr(zero->name, "UNSPECIFIED"));
		}
}

/* No fewer rows than rpcs, topics aside; and, below, none without an rpc of its name. */
UNIT(every_rpc_has_a_row)
{
	unsigned int count = 0;

	for (size_t i = 0; postern_services[i]; i++)
		if (strncmp(postern_services[i]->short_name, "Notify", 6) != 0)
			count += postern_services[i]->n_methods;
	assert_int_equal(count, METHOD_COUNT);
}

UNIT(every_row_has_an_rpc)
{
	for (int i = 0; i < METHOD_COUNT; i++) {
		struct method_schema schema;

		if (schema_find(method_rows[i].name, &schema) != 0)
			fail_msg("%s has no rpc", method_rows[i].name);
		assert_non_null(schema.request);
		assert_non_null(schema.reply);
	}
}

UNIT(every_topic_has_a_message)
{
	for (int i = 0; i < TOPIC_COUNT; i++) {
		struct method_schema schema;

		if (schema_find(topic_rows[i].name, &schema) != 0)
			fail_msg("%s has no message", topic_rows[i].name);
		assert_int_equal(schema.request->n_fields, 0);
		assert_true(strncmp(topic_rows[i].name, "notify.", 7) == 0);
	}
}

UNIT(every_topic_of_the_protocol_has_a_row)
{
	unsigned int topics = 0;

	for (size_t i = 0; postern_services[i]; i++)
		if (strncmp(postern_services[i]->short_name, "Notify", 6) == 0)
			topics += postern_services[i]->n_methods;
	assert_int_equal(topics, TOPIC_COUNT);
}

UNIT(names_are_found_by_their_exact_bytes)
{
	struct method_schema schema;

	assert_int_equal(method_find("mounts.list, and more", 11), METHOD_mounts_list);
	assert_int_equal(method_find("mounts.list", 10), METHOD_COUNT);
	assert_int_equal(method_find("", 0), METHOD_COUNT);
	assert_int_equal(method_find("Mounts.List", 11), METHOD_COUNT);
	assert_int_equal(schema_find("system_load.historical", &schema), 0);
	assert_ptr_equal(schema.request, &postern__v1__system_load_historical_request__descriptor);
	assert_int_equal(schema_find("notify.mounts.mount", &schema), 0);
	assert_ptr_equal(schema.reply, &postern__v1__notify_mounts_mount__descriptor);
	assert_int_equal(schema_find("SystemLoad.Historical", &schema), -ENOENT);
	assert_int_equal(schema_find("", &schema), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(no_message_is_recursive_or_deep),
		RUN(no_message_has_more_fields_than_are_checked),
		RUN(no_field_is_required),
		RUN(every_enum_has_a_zero_that_says_nothing),
		RUN(every_rpc_has_a_row),
		RUN(every_row_has_an_rpc),
		RUN(every_topic_has_a_message),
		RUN(every_topic_of_the_protocol_has_a_row),
		RUN(names_are_found_by_their_exact_bytes),
	};

	return cmocka_run_group_tests(tests, walk_all, NULL);
}
