/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* UTF-8, text that may reach a terminal, base64. */
#include "tests/unit/unit.h"

#include <locale.h>

#include "proto/client/base64.h"
#include "proto/client/text.h"
#include "proto/utf8.h"

static size_t decode(const char *bytes, size_t len, uint32_t *ret_char)
{
	struct guarded guarded = guarded_new(16);
	size_t n = utf8_next(guarded_copy(&guarded, bytes, len), len, ret_char);

	guarded_free(&guarded);
	return n;
}

UNIT(utf8_takes_the_first_and_last_of_each_length)
{
	static const struct {
		const char *bytes;
		size_t n;
		uint32_t c;
	} cases[] = {{"\x00", 1, 0}, {"\x7f", 1, 0x7f}, {"\xc2\x80", 2, 0x80},
		{"\xdf\xbf", 2, 0x7ff}, {"\xe0\xa0\x80", 3, 0x800}, {"\xed\x9f\xbf", 3, 0xd7ff},
		{"\xee\x80\x80", 3, 0xe000}, {"\xef\xbf\xbf", 3, 0xffff},
		{"\xf0\x90\x80\x80", 4, 0x10000}, {"\xf4\x8f\xbf\xbf", 4, 0x10ffff}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t c = 77;

		assert_int_equal(decode(cases[i].bytes, cases[i].n, &c), cases[i].n);
		assert_int_equal(c, cases[i].c);
		/* The same, cut short at the edge of readable memory. */
		for (size_t n = 1; n < cases[i].n; n++)
			assert_int_equal(decode(cases[i].bytes, n, &c), 0);
	}
}

UNIT(utf8_refuses_what_is_none)
{
	static const char *const cases[] = {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf",
		"\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
		"\xf8\x88\x80\x80\x80", "\xfe", "\xff", "\xc2\x41", "\xe2\x82\x41",
		"\xf0\x9f\x98\x41"};
	uint32_t c;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(decode(cases[i], strlen(cases[i]), &c), 0);
}

/* Every character there is, and every surrogate. */
UNIT(utf8_knows_every_character)
{
	for (uint32_t c = 0x80; c < 0x120000; c++) {
		uint8_t b[4] = {(uint8_t)(0xf0 | c >> 18), (uint8_t)(0x80 | (c >> 12 & 63)),
			(uint8_t)(0x80 | (c >> 6 & 63)), (uint8_t)(0x80 | (c & 63))};
		size_t skip = c < 0x800 ? 2 : c < 0x10000 ? 1 : 0, n;
		bool valid = c <= 0x10ffff && !(c >= 0xd800 && c < 0xe000);
		uint32_t back = 0;

		if (skip > 0)
			b[skip] = (uint8_t)(skip == 2 ? 0xc0 | c >> 6 : 0xe0 | c >> 12);
		n = utf8_next(b + skip, 4 - skip, &back);
		if (n != (valid ? 4 - skip : 0) || (valid && back != c))
			fail_msg("U+%04X", c);
	}
}

static void expect(const char *text, size_t len, const char *escaped)
{
	char out[256];
	char *copy = postern_escape_dup(text, len);

	assert_int_equal(postern_escape(text, len, out, sizeof(out)), strlen(escaped));
	assert_string_equal(out, escaped);
	assert_string_equal(copy, escaped);
	free(copy);
}

#define EXPECT(text, escaped) expect(text, sizeof(text) - 1, escaped)

UNIT(printable_text_stays)
{
	EXPECT("", "");
	EXPECT("plain text ~!", "plain text ~!");
	EXPECT("\xc3\xa4\xe2\x82\xac\xf0\x9f\x9a\xaa", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x9a\xaa");
	EXPECT("\xc2\xa0", "\xc2\xa0");
}

UNIT(control_characters_do_not_pass)
{
	EXPECT("\x1b[2J", "\\x1b[2J");
	EXPECT("\x1b]0;title\a", "\\x1b]0;title\\x07");
	EXPECT("a\nb\tc\rd", "a\\nb\\tc\\x0dd");
	EXPECT("\x00\x7f", "\\x00\\x7f");
	EXPECT("back\\slash", "back\\\\slash");
}

UNIT(c1_controls_do_not_pass_in_either_form)
{
	EXPECT("\xc2\x9b"
	       "31m",
		"\\u{9b}31m");
	EXPECT("\xc2\x80\xc2\x9f", "\\u{80}\\u{9f}");
	EXPECT("\x9b"
	       "31m",
		"\\x9b31m");
}

UNIT(text_cannot_turn_or_hide)
{
	EXPECT("\xe2\x80\xae"
	       "txt.exe",
		"\\u{202e}txt.exe");
	EXPECT("\xe2\x81\xa6\xe2\x81\xa9", "\\u{2066}\\u{2069}");
	EXPECT("\xe2\x80\x8b\xef\xbb\xbf", "\\u{200b}\\u{feff}");
	EXPECT("\xe2\x80\xa8\xe2\x80\xa9", "\\u{2028}\\u{2029}");
	EXPECT("\xd8\x9c\xc2\xad", "\\u{61c}\\u{ad}");
	EXPECT("\xf3\xa0\x81\x81", "\\u{e0041}");
}

UNIT(invalid_bytes_are_shown_one_by_one)
{
	EXPECT("\xff\xfe", "\\xff\\xfe");
	EXPECT("\xc0\x80", "\\xc0\\x80");
	EXPECT("\xed\xa0\x80", "\\xed\\xa0\\x80");
	EXPECT("\xe2\x82", "\\xe2\\x82");
	EXPECT("\xe2\x82z", "\\xe2\\x82z");
}

UNIT(text_is_cut_at_whole_characters)
{
	const char *text = "a\xe2\x82\xac\x1b";
	static const char *const fits[] = {[1] = "",
		[2] = "a",
		[3] = "a",
		[4] = "a",
		[5] = "a\xe2\x82\xac",
		[8] = "a\xe2\x82\xac",
		[9] = "a\xe2\x82\xac\\x1b"};

	for (size_t size = 1; size < sizeof(fits) / sizeof(fits[0]); size++) {
		char out[16];

		memset(out, '#', sizeof(out));
		if (!fits[size])
			continue;
		assert_int_equal(postern_escape(text, 5, out, size), strlen(fits[size]));
		assert_string_equal(out, fits[size]);
		assert_int_equal(out[size], '#');
	}
}

UNIT(no_room_means_no_write)
{
	char out = '#';

	assert_int_equal(postern_escape("abc", 3, &out, 0), 0);
	assert_int_equal(out, '#');
	assert_int_equal(postern_escape("abc", 3, &out, 1), 0);
	assert_int_equal(out, '\0');
}

UNIT(no_byte_string_makes_a_dangerous_one)
{
	struct dice dice = dice_new(__func__);

	for (int round = 0; round < 20000; round++) {
		uint8_t bytes[24];
		size_t len = dice_below(&dice, sizeof(bytes)), n;
		char *out;

		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)dice_roll(&dice);
		out = postern_escape_dup(bytes, len);
		assert_non_null(out);
		n = strlen(out);
		for (size_t i = 0; i < n;) {
			uint32_t c = 0;
			size_t m = utf8_next((uint8_t *)out + i, n - i, &c);

			assert_true(m > 0 && c >= 0x20 && !(c >= 0x7f && c < 0xa0));
			i += m;
		}
		free(out);
	}
}

UNIT(columns_are_counted_as_a_terminal_does)
{
	assert_int_equal(postern_columns(""), 0);
	assert_int_equal(postern_columns("abc"), 3);
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		skip();
	assert_int_equal(postern_columns("\xc3\xa4z"), 2);
	assert_int_equal(postern_columns("\xe6\xbc\xa2"), 2);
	assert_int_equal(postern_columns("e\xcc\x81"), 1);
	(void)setlocale(LC_CTYPE, "C");
}

/* RFC 4648, section 10. */
static const struct {
	const char *bytes, *text;
} vectors[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};

UNIT(base64_of_the_standard)
{
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		char *text =
			base64_encode((const uint8_t *)vectors[i].bytes, strlen(vectors[i].bytes));
		uint8_t *bytes;
		size_t len;

		assert_string_equal(text, vectors[i].text);
		assert_int_equal(base64_decode(text, &bytes, &len), 0);
		assert_int_equal(len, strlen(vectors[i].bytes));
		assert_memory_equal(bytes, vectors[i].bytes, len);
		free(text);
		free(bytes);
	}
}

UNIT(base64_carries_every_byte)
{
	struct dice dice = dice_new(__func__);

	for (int round = 0; round < 5000; round++) {
		uint8_t bytes[100], *back;
		size_t len = dice_below(&dice, sizeof(bytes)), n;
		char *text;

		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)dice_roll(&dice);
		text = base64_encode(bytes, len);
		assert_int_equal(base64_decode(text, &back, &n), 0);
		assert_int_equal(n, len);
		assert_memory_equal(back, bytes, len);
		free(text);
		free(back);
	}
}

UNIT(base64_refuses_what_is_none)
{
	static const char *const cases[] = {"Z", "Zg", "Zg=", "Zg===", "=",
		"==", "===", "====", "Z===", "=Zg=", "Zg=g",
		"Zg==Zg==", "Zm9v=", "Zm9v====", "Zm 9", "Zm9v\n", "Zm-_", "Zm9\xc3", "A=BC",
		"AA=A"};
	uint8_t *bytes;
	size_t len;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (base64_decode(cases[i], &bytes, &len) != -EINVAL)
			fail_msg("accepted: %s", cases[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(utf8_takes_the_first_and_last_of_each_length),
		RUN(utf8_refuses_what_is_none),
		RUN(utf8_knows_every_character),
		RUN(printable_text_stays),
		RUN(control_characters_do_not_pass),
		RUN(c1_controls_do_not_pass_in_either_form),
		RUN(text_cannot_turn_or_hide),
		RUN(invalid_bytes_are_shown_one_by_one),
		RUN(text_is_cut_at_whole_characters),
		RUN(no_room_means_no_write),
		RUN(no_byte_string_makes_a_dangerous_one),
		RUN(columns_are_counted_as_a_terminal_does),
		RUN(base64_of_the_standard),
		RUN(base64_carries_every_byte),
		RUN(base64_refuses_what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
