/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is typed at a guest: which of it is the guest's, and what is asked of us. */
/* needs: host/cli/escape.c */
#include "unit.h"

#include "host/cli/escape.h"

static const struct {
	const char *typed, *guest;
	enum escape_wish wish;
} cases[] = {
	{"ls\r", "ls\r", ESCAPE_NONE},
	{"~.", "", ESCAPE_LEAVE},
	{"ls\r~.", "ls\r", ESCAPE_LEAVE},
	{"ls\n~.exit\r", "ls\n", ESCAPE_LEAVE},
	{"a~.", "a~.", ESCAPE_NONE},
	{"~~", "~", ESCAPE_NONE},
	{"~~.", "~.", ESCAPE_NONE},
	{"~~~.", "~~.", ESCAPE_NONE},
	{"~x", "~x", ESCAPE_NONE},
	{"~\r~.", "~\r", ESCAPE_LEAVE},
	{"~?ls\r", "ls\r", ESCAPE_HELP},
	{"~?~?~.", "", ESCAPE_LEAVE},
	{"~?~", "", ESCAPE_HELP},
	{"~", "", ESCAPE_NONE},
	{"\r\r~\x1b[A", "\r\r~\x1b[A", ESCAPE_NONE},
	{"", "", ESCAPE_NONE},
};

/* Whole, and in two parts cut anywhere: keys come as they like. */
UNIT(every_sequence_in_parts_of_any_size)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const uint8_t *typed = (const uint8_t *)cases[i].typed;
		size_t len = strlen(cases[i].typed);

		for (size_t cut = 0; cut <= len; cut++) {
			struct escape escape = {0};
			uint8_t out[32], *second = out;
			size_t first_len, second_len = 0;
			enum escape_wish wish, then = ESCAPE_NONE;

			wish = escape_take(&escape, typed, cut, out, &first_len);
			second += first_len;
			if (wish != ESCAPE_LEAVE)
				then = escape_take(
					&escape, typed + cut, len - cut, second, &second_len);
			assert_int_equal(wish > then ? wish : then, cases[i].wish);
			assert_int_equal(first_len + second_len, strlen(cases[i].guest));
			assert_memory_equal(out, cases[i].guest, first_len + second_len);
		}
	}
}

/* A tilde that was held back makes one byte more than came. */
UNIT(what_comes_out_fits)
{
	struct guarded memory = guarded_new(64);
	struct escape escape = {.state = ESCAPE_TILDE};
	uint8_t *out = guarded_copy(&memory, "....", 4);
	size_t len;

	assert_int_equal(escape_take(&escape, (const uint8_t *)"a~b", 3, out, &len), ESCAPE_NONE);
	assert_int_equal(len, 4);
	assert_memory_equal(out, "~a~b", 4);
	guarded_free(&memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(every_sequence_in_parts_of_any_size),
		RUN(what_comes_out_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
