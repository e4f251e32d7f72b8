/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON as text that may be shown. */
#include "tests/unit/unit.h"

#include "proto/client/json_text.h"

UNIT(any_string_is_ascii_and_comes_back)
{
	static const char *const strings[] = {"", "plain", "\x1b[31m\a\n\r\t\"\\", "\x7f",
		"a\x7f\x7f\x7f\x62", "\xc2\x9b", "\xe2\x80\xae", "\xf0\x9f\x9a\xaa", "\\u007f",
		"\\\x7f"};

	for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++)
		for (unsigned int indent = 0; indent < 4; indent += 2) {
			json_t *json = json_pack("{s:[s]}", strings[i], strings[i]), *again;
			char *text = json_text(json, indent);

			assert_non_null(text);
			for (const char *at = text; *at; at++)
				assert_true((*at >= ' ' && *at < 0x7f) || (*at == '\n' && indent));
			again = json_loads(text, 0, NULL);
			assert_non_null(again);
			assert_true(json_equal(json, again));
			json_decref(again);
			json_decref(json);
			free(text);
		}
}

UNIT(other_values)
{
	json_t *number = json_integer(7);
	char *text = json_text(number, 0);

	assert_string_equal(text, "7");
	free(text);
	json_decref(number);
	assert_null(json_text(NULL, 0));
}

UNIT(what_is_not_written_is_told)
{
	FILE *full = fopen("/dev/full", "w"), *null = fopen("/dev/null", "w");
	json_t *object = json_object();

	assert_non_null(full);
	assert_non_null(null);
	(void)setvbuf(full, NULL, _IONBF, 0);
	assert_int_equal(json_print(object, 0, full), -EIO);
	assert_int_equal(json_print(object, 0, null), 0);
	assert_int_equal(json_print(NULL, 0, null), -ENOMEM);
	(void)fclose(full);
	(void)fclose(null);
	json_decref(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {RUN(any_string_is_ascii_and_comes_back),
		RUN(other_values), RUN(what_is_not_written_is_told)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
