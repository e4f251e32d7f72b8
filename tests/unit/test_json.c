/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages to JSON and back: every type of the protocol, and what is refused with which words. */
/* needs: gen/verify_test.pb-c.c */
#include "tests/unit/wire_random.h"

#include <jansson.h>

#include "messages.h"
#include "proto/client/json.h"
#include "proto/client/json_call.h"
#include "proto/client/services.h"
#include "verify_test.pb-c.h"

/* Of ids most have their length. */
static size_t random_length(struct dice *dice, const ProtobufCFieldDescriptor *field)
{
	return strcmp(field->name, "boot_id") == 0 && dice_below(dice, 3) ? 16
									  : dice_below(dice, 40);
}

/* The bytes as libprotobuf-c itself writes them. */
static struct buffer canonical(
	const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len)
{
	ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, len, bytes);
	struct buffer out = {0};
	uint8_t *at;

	assert_non_null(message);
	len = protobuf_c_message_get_packed_size(message);
	at = buffer_reserve(&out, len + 1);
	assert_non_null(at);
	buffer_commit(&out, protobuf_c_message_pack(message, at));
	protobuf_c_message_free_unpacked(message, NULL);
	return out;
}

static void round_trip(const ProtobufCMessageDescriptor *type, const struct buffer *bytes)
{
	struct buffer before = canonical(type, buffer_front(bytes), buffer_len(bytes)), after;
	const char *why = "";
	char problem[256] = "", *text;
	uint8_t *back;
	size_t len;
	json_t *json;

	if (json_from_message(type, buffer_front(&before), buffer_len(&before), &json, &why) != 0)
		fail_msg("%s: %s", type->name, why);
	/* Through text, as a person or a script has it. */
	text = json_dumps(json, 0);
	assert_non_null(text);
	json_decref(json);
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	if (json_to_message(type, json, &back, &len, problem, sizeof(problem)) != 0)
		fail_msg("%s: %s: %s", type->name, problem, text);
	after = canonical(type, back, len);
	if (buffer_len(&after) != buffer_len(&before) ||
		memcmp(buffer_front(&after), buffer_front(&before), buffer_len(&before)) != 0)
		fail_msg("%s changed: %s", type->name, text);
	free(text);
	free(back);
	json_decref(json);
	buffer_clear(&before);
	buffer_clear(&after);
}

static void random_round_trips(struct dice *dice, const ProtobufCMessageDescriptor *type)
{
	struct wire_random how = {.dice = dice, .depth = 8, .most = 3, .bytes_len = random_length};

	for (int round = 0; round < 20; round++) {
		struct buffer bytes = {0};

		random_message(&how, &bytes, type, 1);
		round_trip(type, &bytes);
		buffer_clear(&bytes);
	}
}

/* What no service names are the envelope's own messages. */
UNIT(every_message_of_the_protocol_comes_back)
{
	struct dice dice = dice_new(__func__);

	random_round_trips(&dice, &postern__v1__to_agent__descriptor);
	random_round_trips(&dice, &postern__v1__from_agent__descriptor);
	random_round_trips(&dice, &postern__v1__ready__descriptor);
	for (size_t i = 0; postern_services[i]; i++)
		for (unsigned int j = 0; j < 2 * postern_services[i]->n_methods; j++) {
			const ProtobufCMethodDescriptor *rpc = &postern_services[i]->methods[j / 2];

			random_round_trips(&dice, j % 2 ? rpc->output : rpc->input);
		}
}

UNIT(every_kind_of_field_comes_back)
{
	struct dice dice = dice_new(__func__);
	struct wire_random how = {.dice = &dice, .depth = 3, .most = 3};

	for (int round = 0; round < 300; round++) {
		struct buffer bytes = {0};

		random_message(&how, &bytes,
			round % 2 ? &verify_test__tree__descriptor
				  : &verify_test__every__descriptor,
			1);
		round_trip(round % 2 ? &verify_test__tree__descriptor
				     : &verify_test__every__descriptor,
			&bytes);
		buffer_clear(&bytes);
	}
}

static char *shown(const ProtobufCMessageDescriptor *type, struct buffer *bytes)
{
	const char *why;
	json_t *json;
	char *text;

	assert_int_equal(
		json_from_message(type, buffer_front(bytes), buffer_len(bytes), &json, &why), 0);
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	buffer_clear(bytes);
	return text;
}

static void expect_json(
	const ProtobufCMessageDescriptor *type, struct buffer *bytes, const char *expected)
{
	char *text = shown(type, bytes);

	assert_string_equal(text, expected);
	free(text);
}

UNIT(bytes_are_text_or_base64)
{
	const ProtobufCMessageDescriptor *type = &postern__v1__system_ping_request__descriptor;
	struct buffer bytes = {0};

	expect_json(type, &bytes, "{}");
	put_bytes(&bytes, 1, "", 0);
	expect_json(type, &bytes, "{\"payload\":\"\"}");
	put_bytes(&bytes, 1, "gr\xc3\xbc\xc3\x9f", 6);
	expect_json(type, &bytes, "{\"payload\":\"gr\xc3\xbc\xc3\x9f\"}");
	put_bytes(&bytes, 1, "a\0b", 3);
	expect_json(type, &bytes, "{\"payload\":{\"base64\":\"YQBi\"}}");
	put_bytes(&bytes, 1, "\xff", 1);
	expect_json(type, &bytes, "{\"payload\":{\"base64\":\"/w==\"}}");
	/* Sixteen bytes alone make no id. */
	put_bytes(&bytes, 1, "0123456789abcdef", 16);
	expect_json(type, &bytes, "{\"payload\":\"0123456789abcdef\"}");
}

UNIT(ids_are_shown_as_uuid)
{
	struct buffer bytes = {0};
	char *text;

	put_bytes(
		&bytes, 5, "\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef", 16);
	text = shown(&postern__v1__system_info_reply__descriptor, &bytes);
	assert_non_null(strstr(text, "\"boot_id\":\"01234567-89ab-cdef-0123-456789abcdef\""));
	free(text);
}

UNIT(numbers_of_64_bits_stay_exact)
{
	struct buffer bytes = {0};

	put_number(&bytes, 4, INT64_MAX);
	put_number(&bytes, 2, (uint64_t)INT64_MIN);
	expect_json(&verify_test__every__descriptor, &bytes,
		"{\"b\":-9223372036854775808,\"d\":9223372036854775807,\"ra\":[],\"rb\":[],\"rc\":["
		"],"
		"\"rd\":[],\"re\":[],\"rf\":[],\"rg\":[],\"rh\":[],\"ri\":[],\"rj\":[],\"rk\":[],"
		"\"rl\":[],\"rm\":[],\"pg\":[],\"ph\":[],\"pl\":[],\"pm\":[]}");
	put_number(&bytes, 1, UINT64_MAX);
	expect_json(&postern__v1__notify_gap__descriptor, &bytes,
		"{\"missed\":\"18446744073709551615\"}");
}

UNIT(what_no_json_number_can_say_is_null)
{
	struct buffer bytes = {0};
	static const uint64_t bits[] = {UINT64_C(0x7ff8000000000000), UINT64_C(0x7ff0000000000000),
		UINT64_C(0xfff0000000000000)};

	for (size_t i = 0; i < 3; i++) {
		put_tag(&bytes, 1, WIRE64);
		put_raw(&bytes, &bits[i], 8);
		expect_json(
			&postern__v1__load_threshold__descriptor, &bytes, "{\"load1_above\":null}");
	}
}

UNIT(enums_are_names_and_unknown_ones_numbers)
{
	struct buffer bytes = {0};

	put_number(&bytes, 1, 2);
	expect_json(
		&postern__v1__power_shutdown_request__descriptor, &bytes, "{\"mode\":\"REBOOT\"}");
	put_number(&bytes, 1, 77);
	expect_json(&postern__v1__power_shutdown_request__descriptor, &bytes, "{\"mode\":77}");
}

UNIT(hostile_bytes_are_refused_with_a_reason)
{
	const char *why = NULL;
	json_t *json = NULL;

	assert_int_equal(json_from_message(&postern__v1__notify_gap__descriptor,
				 (const uint8_t *)"\x08", 1, &json, &why),
		-EBADMSG);
	assert_string_equal(why, "truncated");
	assert_null(json);
}

/* 0, or -EINVAL with the words in problem. */
static int take(
	const ProtobufCMessageDescriptor *type, const char *text, char *problem, size_t size)
{
	json_t *json = json_loads(text, JSON_ALLOW_NUL, NULL);
	uint8_t *bytes = NULL;
	size_t len;
	int r;

	assert_non_null(json);
	problem[0] = '\0';
	r = json_to_message(type, json, &bytes, &len, problem, size);
	if (r == 0)
		free(bytes);
	json_decref(json);
	return r;
}

static void refused(const ProtobufCMessageDescriptor *type, const char *text, const char *words)
{
	char problem[256];

	if (take(type, text, problem, sizeof(problem)) != -EINVAL)
		fail_msg("accepted: %s", text);
	assert_string_equal(problem, words);
}

static void accepted(const ProtobufCMessageDescriptor *type, const char *text)
{
	char problem[256];

	if (take(type, text, problem, sizeof(problem)) != 0)
		fail_msg("%s: %s", text, problem);
}

/* As text they are UUIDs only, so that what is shown says how it is to be read. */
UNIT(ids_are_taken_as_uuid)
{
	static const char *const bad[] = {"", "\\u0000", "0123456789abcdef",
		"01234567-89ab-cdef-0123-456789abcde", "01234567-89ab-cdef-0123-456789abcdef0",
		"01234567-89ab-cdef-0123-456789abcdeg", "0123456789ab-cdef-0123-456789abcdef--",
		"01234567-89ab-cdef-0123-456789ABCD F"};
	const ProtobufCMessageDescriptor *type = &postern__v1__ready__descriptor;
	char text[128];

	accepted(type, "{\"boot_id\":\"01234567-89ab-cdef-0123-456789ABCDEF\"}");
	accepted(type, "{\"boot_id\":{\"base64\":\"Zm9v\"}}");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(text, sizeof(text), "{\"boot_id\":\"%s\"}", bad[i]);
		refused(type, text, "boot_id: expected a UUID, or {\"base64\": \"...\"}");
	}
}

UNIT(refusals_name_field_and_expectation)
{
	const ProtobufCMessageDescriptor *mount = &postern__v1__mounts_mount_request__descriptor;

	refused(mount, "[]", "MountsMountRequest: expected an object");
	refused(mount, "{\"nope\":1}", "nope: MountsMountRequest has no such field");
	refused(mount, "{\"Target\":\"/\"}", "Target: MountsMountRequest has no such field");
	refused(mount, "{\"type\":1}", "type: expected a string");
	refused(mount, "{\"type\":null}", "type: expected a string");
	refused(mount, "{\"type\":\"a\\u0000b\"}", "type: expected a string");
	refused(mount, "{\"target\":1}", "target: expected a string, or {\"base64\": \"...\"}");
	refused(mount, "{\"target\":{}}", "target: expected a string, or {\"base64\": \"...\"}");
	refused(mount, "{\"target\":{\"base64\":\"Z\"}}",
		"target: expected a string, or {\"base64\": \"...\"}");
	refused(mount, "{\"create_target\":1}", "create_target: expected true or false");
	refused(mount, "{\"create_target\":\"true\"}", "create_target: expected true or false");
	refused(mount, "{\"options\":{}}", "options: expected an array");
	refused(mount, "{\"options\":[1]}", "MountOption: expected an object");
	refused(mount, "{\"options\":[{\"key\":\"a\"},{\"x\":1}]}",
		"x: MountOption has no such field");
	refused(&postern__v1__load_threshold__descriptor, "{\"load1_above\":\"1\"}",
		"load1_above: expected a number");
	refused(&postern__v1__power_shutdown_request__descriptor, "{\"mode\":\"reboot\"}",
		"mode: expected one of POWER_OFF, REBOOT, HALT");
	refused(&postern__v1__power_shutdown_request__descriptor, "{\"mode\":2}",
		"mode: expected one of POWER_OFF, REBOOT, HALT");
}

UNIT(long_keys_are_cut_in_refusals)
{
	char text[600], problem[256], small[16];

	(void)snprintf(text, sizeof(text), "{\"%0500d\":1}", 0);
	assert_int_equal(
		take(&postern__v1__mount_option__descriptor, text, problem, sizeof(problem)),
		-EINVAL);
	assert_true(strlen(problem) < 120);
	assert_int_equal(
		take(&postern__v1__mount_option__descriptor, text, small, sizeof(small)), -EINVAL);
	assert_int_equal(strlen(small), sizeof(small) - 1);
}

UNIT(whole_numbers_stay_in_their_range)
{
	static const struct {
		const char *field, *least, *most, *below, *above;
	} cases[] = {
		{"a", "-2147483648", "2147483647", "-2147483649", "2147483648"},
		{"e", "-2147483648", "2147483647", "-2147483649", "2147483648"},
		{"c", "0", "4294967295", "-1", "4294967296"},
		{"g", "0", "4294967295", "-1", "4294967296"},
		{"b", "-9223372036854775808", "9223372036854775807", "-9223372036854775809",
			"9223372036854775808"},
		{"d", "0", "18446744073709551615", "-1", "18446744073709551616"},
	};
	const ProtobufCMessageDescriptor *type = &verify_test__every__descriptor;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *const good[] = {cases[i].least, cases[i].most};
		const char *const bad[] = {cases[i].below, cases[i].above};
		char text[128], words[128];

		(void)snprintf(words, sizeof(words), "%s: expected a whole number from %s to %s",
			cases[i].field, cases[i].least, cases[i].most);
		for (int j = 0; j < 2; j++) {
			(void)snprintf(
				text, sizeof(text), "{\"%s\":\"%s\"}", cases[i].field, good[j]);
			accepted(type, text);
			(void)snprintf(
				text, sizeof(text), "{\"%s\":\"%s\"}", cases[i].field, bad[j]);
			refused(type, text, words);
			/* As numbers too, where JSON's own are large enough. */
			if (strlen(bad[j]) > 15)
				continue;
			(void)snprintf(text, sizeof(text), "{\"%s\":%s}", cases[i].field, good[j]);
			accepted(type, text);
			(void)snprintf(text, sizeof(text), "{\"%s\":%s}", cases[i].field, bad[j]);
			refused(type, text, words);
		}
	}
}

UNIT(only_whole_numbers_are_whole_numbers)
{
	static const char *const cases[] = {"1.0", "1e3", "\"\"", "\" 1\"", "\"1 \"", "\"+1\"",
		"\"0x1\"", "\"1.0\"", "\"-\"", "\" -1\"", "\"--1\"", "true", "null", "[]", "{}",
		"\"1\\u00002\""};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (int field = 0; field < 4; field++) {
			char text[64], problem[256];

			(void)snprintf(text, sizeof(text), "{\"%c\":%s}", 'a' + field, cases[i]);
			if (take(&verify_test__every__descriptor, text, problem, sizeof(problem)) !=
				-EINVAL)
				fail_msg("accepted: %s", text);
		}
}

UNIT(one_member_of_a_oneof_is_set)
{
	json_t *json = json_loads("{\"one_number\":5,\"one_text\":\"t\"}", 0, NULL);
	VerifyTest__Tree *tree;
	char problem[256];
	uint8_t *bytes;
	size_t len;

	assert_int_equal(json_to_message(&verify_test__tree__descriptor, json, &bytes, &len,
				 problem, sizeof(problem)),
		0);
	tree = verify_test__tree__unpack(NULL, len, bytes);
	assert_int_equal(tree->one_case, VERIFY_TEST__TREE__ONE_ONE_TEXT);
	assert_string_equal(tree->one_text, "t");
	verify_test__tree__free_unpacked(tree, NULL);
	free(bytes);
	json_decref(json);
}

UNIT(deep_json_ends_in_a_refusal)
{
	enum { LEVELS = 1500 };
	json_t *json = json_object();
	char problem[256] = "";
	uint8_t *bytes = NULL;
	size_t len;

	/* Jansson parses 2048 levels; the schema ends the way at the first that it does not know.
	 */
	for (int i = 0; i < LEVELS; i++) {
		json_t *outer = json_object();

		assert_int_equal(json_object_set_new(outer, "mount", json), 0);
		json = outer;
	}
	assert_int_equal(json_to_message(&postern__v1__notify_mounts_mount__descriptor, json,
				 &bytes, &len, problem, sizeof(problem)),
		-EINVAL);
	assert_string_equal(problem, "mount: MountEntry has no such field");
	json_decref(json);
}

UNIT(messages_over_the_memory_are_refused)
{
	json_t *json = json_object(), *array = json_array();
	char problem[256] = "", *text = malloc(9 << 20);
	uint8_t *bytes = NULL;
	size_t len;

	memset(text, 'x', 9 << 20);
	for (int i = 0; i < 8; i++)
		assert_int_equal(json_array_append_new(array, json_stringn(text, 9 << 20)), 0);
	assert_int_equal(json_object_set_new(json, "names", array), 0);
	assert_int_equal(json_to_message(&verify_test__tree__descriptor, json, &bytes, &len,
				 problem, sizeof(problem)),
		-ENOMEM);
	json_decref(json);
	free(text);
}

UNIT(errors_as_json)
{
	struct postern_error error = {
		.failure = POSTERN_TIMED_OUT, .sys_errno = ETIMEDOUT, .message = "late"};
	json_t *json = json_from_error(&error);
	struct buffer bytes = {0};

	assert_string_equal(json_string_value(json_object_get(json, "failure")), "timed out");
	assert_string_equal(json_string_value(json_object_get(json, "message")), "late");
	assert_int_equal(json_integer_value(json_object_get(json, "sys_errno")), ETIMEDOUT);
	json_decref(json);
	put_number(&bytes, 1, 7);
	put_bytes(&bytes, 6, "50-default.policy:3", 19);
	error = (struct postern_error){.failure = POSTERN_REFUSED,
		.packed = buffer_front(&bytes),
		.packed_len = buffer_len(&bytes)};
	json = json_from_error(&error);
	assert_string_equal(json_string_value(json_object_get(json, "failure")), "refused");
	assert_string_equal(json_string_value(json_object_get(json, "code")), "PERMISSION_DENIED");
	assert_string_equal(
		json_string_value(json_object_get(json, "rule")), "50-default.policy:3");
	json_decref(json);
	buffer_clear(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(every_message_of_the_protocol_comes_back),
		RUN(every_kind_of_field_comes_back),
		RUN(bytes_are_text_or_base64),
		RUN(ids_are_shown_as_uuid),
		RUN(ids_are_taken_as_uuid),
		RUN(numbers_of_64_bits_stay_exact),
		RUN(what_no_json_number_can_say_is_null),
		RUN(enums_are_names_and_unknown_ones_numbers),
		RUN(hostile_bytes_are_refused_with_a_reason),
		RUN(refusals_name_field_and_expectation),
		RUN(long_keys_are_cut_in_refusals),
		RUN(whole_numbers_stay_in_their_range),
		RUN(only_whole_numbers_are_whole_numbers),
		RUN(one_member_of_a_oneof_is_set),
		RUN(deep_json_ends_in_a_refusal),
		RUN(messages_over_the_memory_are_refused),
		RUN(errors_as_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
