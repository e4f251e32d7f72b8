/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls with JSON on both sides. */
#include "tests/unit/fake_agent.h"

#include "proto/client/json_call.h"

UNIT(json_parts_are_merged)
{
	struct fake fake;
	json_t *answer = NULL;
	char *text;

	fake_ready(&fake, NULL);
	fake_result(&fake, 1, "\x0a\x02\x08\x01", true); /* mounts: [{id: 1}] */
	fake_result(&fake, 1, "\x0a\x02\x08\x02", false);
	assert_int_equal(json_call(fake.client, "mounts.list", "{\"types\":[\"tmpfs\"]}", 0,
				 &answer, &fake.error),
		0);
	assert_int_equal(json_array_size(json_object_get(answer, "mounts")), 2);
	text = json_dumps(
		json_object_get(json_array_get(json_object_get(answer, "mounts"), 1), "id"),
		JSON_ENCODE_ANY);
	assert_string_equal(text, "2");
	free(text);
	json_decref(answer);
	fake_stop(&fake);
}

UNIT(json_calls_check_before_they_send)
{
	static const struct {
		const char *method, *params, *words;
	} cases[] = {
		{"no.such", "{}", "no such method"},
		{"notify.gap", "{}", "no such method"},
		{"mounts.list", "{", "not JSON"},
		{"mounts.list", "{\"a\":1,\"a\":2}", "not JSON"},
		{"mounts.list", "{\"a\":1}", "no such field"},
		{"mounts.list", "[]", "expected an object"},
		{"mounts.list", "", "not JSON"},
	};
	struct fake fake;

	fake_ready(&fake, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *answer = NULL;

		assert_int_equal(json_call(fake.client, cases[i].method, cases[i].params, 0,
					 &answer, &fake.error),
			-EINVAL);
		assert_int_equal(fake.error.failure, POSTERN_USAGE);
		assert_non_null(strstr(fake.error.message, cases[i].words));
		assert_null(answer);
	}
	assert_int_equal(buffer_len(&fake.client->out), 0);
	fake_stop(&fake);
}

UNIT(json_answers_that_are_none_are_a_breach)
{
	struct fake fake;
	json_t *answer = NULL;

	fake_ready(&fake, NULL);
	fake_result(&fake, 1, "\x0a\x02\x08\x01", true);
	fake_result(&fake, 1, "\x0a\x55", false);
	assert_int_equal(
		json_call(fake.client, "mounts.list", NULL, 0, &answer, &fake.error), -EBADMSG);
	assert_int_equal(fake.error.failure, POSTERN_PROTOCOL);
	assert_null(answer);
	fake_stop(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(json_parts_are_merged),
		RUN(json_calls_check_before_they_send),
		RUN(json_answers_that_are_none_are_a_breach),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
