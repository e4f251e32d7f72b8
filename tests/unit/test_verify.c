/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The check before decoding: each rule at its edge. */
/* needs: gen/verify_test.pb-c.c */
#include "tests/unit/wire_build.h"

#include "proto/arena.h"
#include "proto/limits.h"
#include "proto/verify.h"
#include "verify_test.pb-c.h"

static const char *why;

static int verify_with(struct buffer *bytes, const struct verify_limits *limits)
{
	int r;

	why = NULL;
	r = verify_message(&verify_test__tree__descriptor, buffer_front(bytes), buffer_len(bytes),
		limits, &why);
	assert_true(r == 0 || (r == -EBADMSG && why && *why));
	buffer_clear(bytes);
	return r;
}

static int verify(struct buffer *bytes)
{
	return verify_with(bytes, &verify_agent_limits);
}

#define ACCEPTED(bytes)                                                                            \
	do {                                                                                       \
		if (verify(bytes) != 0)                                                            \
			fail_msg("refused: %s", why);                                              \
	} while (0)

#define REFUSED(bytes, words)                                                                      \
	do {                                                                                       \
		assert_int_equal(verify(bytes), -EBADMSG);                                         \
		assert_string_equal(why, words);                                                   \
	} while (0)

/* So many messages, one in the other, through this field. Written from the inside, backwards. */
static struct buffer nested(uint32_t field, unsigned int depth)
{
	struct buffer bytes = {0};

	for (unsigned int i = 1; i < depth; i++) {
		struct buffer outer = {0};

		put_message(&outer, field, &bytes);
		bytes = outer;
	}
	return bytes;
}

UNIT(nothing_is_a_message)
{
	struct buffer bytes = {0};

	ACCEPTED(&bytes);
}

UNIT(depth_16_passes_and_17_does_not)
{
	static const uint32_t fields[] = {1, 2, 9};

	for (size_t i = 0; i < 3; i++) {
		struct buffer bytes = nested(fields[i], VERIFY_DEPTH);

		ACCEPTED(&bytes);
		bytes = nested(fields[i], VERIFY_DEPTH + 1);
		REFUSED(&bytes, "nested too deep");
	}
}

UNIT(any_depth_ends_at_the_same_place)
{
	/* Lengths from the inside out first, so that 100 000 levels are written in one go. */
	enum { LEVELS = 100000 };
	static uint32_t lengths[LEVELS];
	uint32_t len = 0;
	struct buffer bytes = {0};

	for (int i = 0; i < LEVELS; i++) {
		lengths[i] = len;
		len += 1U + (len < 128 ? 1 : len < 16384 ? 2 : len < 2097152 ? 3 : 4);
	}
	for (int i = LEVELS - 1; i >= 0; i--) {
		put_tag(&bytes, 1, BYTES);
		put_varint(&bytes, lengths[i]);
	}
	assert_int_equal(buffer_len(&bytes), len);
	REFUSED(&bytes, "nested too deep");
}

UNIT(elements_of_a_field_are_counted)
{
	for (unsigned int n = VERIFY_ELEMENTS; n <= VERIFY_ELEMENTS + 1; n++) {
		struct buffer bytes = {0}, packed = {0}, mixed = {0};

		for (unsigned int i = 0; i < n; i++) {
			put_number(&bytes, 11, i);
			put_varint(&packed, i);
		}
		/* Numbers alone and in runs, with an empty run, come to the same sum. */
		put_number(&mixed, 12, 1);
		put_bytes(&mixed, 12, "", 0);
		put_bytes(&mixed, 12, buffer_front(&packed) + 1, buffer_len(&packed) - 1);
		buffer_clear(&packed);
		if (n == VERIFY_ELEMENTS) {
			ACCEPTED(&bytes);
			ACCEPTED(&mixed);
		} else {
			REFUSED(&bytes, "too many elements in a field");
			REFUSED(&mixed, "too many elements in a field");
		}
	}
}

UNIT(empty_messages_count_as_elements)
{
	struct buffer bytes = {0};

	for (int i = 0; i < VERIFY_ELEMENTS; i++)
		put_bytes(&bytes, 2, "", 0);
	put_bytes(&bytes, 2, "", 0);
	REFUSED(&bytes, "too many elements in a field");
}

UNIT(elements_of_the_whole_message_are_counted)
{
	for (unsigned int extra = 0; extra < 2; extra++) {
		struct buffer bytes = {0}, run = {0};

		for (int i = 0; i < VERIFY_ELEMENTS; i++)
			put_varint(&run, 1);
		/* Four messages of 4095 numbers and themselves: 16384. */
		for (int i = 0; i < 4; i++) {
			struct buffer inner = {0};

			put_bytes(&inner, 12, buffer_front(&run), VERIFY_ELEMENTS - 1);
			put_message(&bytes, 2, &inner);
		}
		buffer_clear(&run);
		if (extra)
			put_number(&bytes, 11, 1);
		if (extra)
			REFUSED(&bytes, "too many elements in a message");
		else
			ACCEPTED(&bytes);
	}
}

UNIT(the_host_takes_more_elements)
{
	struct buffer bytes = {0};

	for (int i = 0; i < VERIFY_HOST_ELEMENTS; i++)
		put_number(&bytes, 11, 1);
	assert_int_equal(verify_with(&bytes, &verify_host_limits), 0);
	for (int i = 0; i <= VERIFY_HOST_ELEMENTS; i++)
		put_number(&bytes, 11, 1);
	assert_int_equal(verify_with(&bytes, &verify_host_limits), -EBADMSG);
}

UNIT(singular_fields_may_repeat_a_little)
{
	for (int n = VERIFY_SINGULAR_REPEATS; n <= VERIFY_SINGULAR_REPEATS + 1; n++) {
		struct buffer bytes = {0};

		for (int i = 0; i < n; i++)
			put_number(&bytes, 3, 1);
		if (n == VERIFY_SINGULAR_REPEATS)
			ACCEPTED(&bytes);
		else
			REFUSED(&bytes, "too many elements in a field");
	}
}

/* Two would have to become one. No one sends that. */
UNIT(singular_messages_come_once)
{
	static const uint32_t fields[] = {1, 9, 100};

	for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
		struct buffer once = {0}, twice = {0};

		put_bytes(&once, fields[f], "", 0);
		ACCEPTED(&once);
		put_bytes(&twice, fields[f], "", 0);
		put_bytes(&twice, fields[f], "", 0);
		REFUSED(&twice, "a message comes twice in a field");
	}
}

UNIT(unknown_fields_are_counted_over_all_levels)
{
	for (int n = VERIFY_UNKNOWN; n <= VERIFY_UNKNOWN + 1; n++) {
		struct buffer bytes = {0}, inner = {0};

		for (int i = 0; i < n; i++)
			put_number(i < 10 ? &inner : &bytes, 5000, 1);
		put_message(&bytes, 1, &inner);
		if (n == VERIFY_UNKNOWN)
			ACCEPTED(&bytes);
		else
			REFUSED(&bytes, "too many unknown fields");
	}
}

UNIT(unknown_fields_are_skipped_by_their_wire_type)
{
	struct buffer bytes = {0};

	put_number(&bytes, 60, UINT64_MAX);
	put_tag(&bytes, 61, WIRE64);
	put_raw(&bytes, "12345678", 8);
	put_bytes(&bytes, 62, "\xff\x00\xff", 3);
	put_tag(&bytes, 63, WIRE32);
	put_raw(&bytes, "1234", 4);
	put_number(&bytes, 3, 1);
	ACCEPTED(&bytes);
}

UNIT(tags_of_one_to_five_bytes)
{
	for (int n = 1; n <= 6; n++) {
		struct buffer bytes = {0};

		put_long_varint(&bytes, 3 << 3, n);
		put_varint(&bytes, 1);
		if (n <= 5)
			ACCEPTED(&bytes);
		else
			REFUSED(&bytes, "bad tag");
	}
}

UNIT(the_highest_field_number)
{
	struct buffer bytes = {0};

	put_number(&bytes, 536870911, 1);
	ACCEPTED(&bytes);
	/* One more does not fit into 32 bits any more. */
	put_varint(&bytes, UINT64_C(536870912) << 3);
	put_varint(&bytes, 1);
	REFUSED(&bytes, "bad tag");
}

UNIT(field_zero_is_none)
{
	for (unsigned int wire = 0; wire < 8; wire++) {
		struct buffer bytes = {0};

		put_tag(&bytes, 0, wire);
		put_raw(&bytes, "\0\0\0\0\0\0\0\0", 8);
		REFUSED(&bytes, "bad tag");
	}
}

UNIT(groups_and_unknown_wire_types_are_refused)
{
	static const unsigned int wires[] = {GROUP, GROUP_END, 6, 7};
	static const uint32_t fields[] = {3, 1, 5000};

	for (size_t w = 0; w < 4; w++)
		for (size_t f = 0; f < 3; f++) {
			struct buffer bytes = {0};

			put_tag(&bytes, fields[f], wires[w]);
			put_tag(&bytes, fields[f], GROUP_END);
			REFUSED(&bytes, "bad wire type");
		}
}

UNIT(known_fields_keep_their_wire_type)
{
	struct buffer bytes = {0};

	put_bytes(&bytes, 3, "\x01", 1);
	REFUSED(&bytes, "wrong wire type of a field");
	put_number(&bytes, 4, 1);
	REFUSED(&bytes, "wrong wire type of a field");
	put_number(&bytes, 15, 1);
	REFUSED(&bytes, "wrong wire type of a field");
	put_tag(&bytes, 11, WIRE32);
	put_raw(&bytes, "1234", 4);
	REFUSED(&bytes, "wrong wire type of a field");
}

UNIT(varints_of_one_to_ten_bytes)
{
	for (int n = 1; n <= 11; n++) {
		struct buffer bytes = {0};

		put_tag(&bytes, 3, VARINT);
		put_long_varint(&bytes, 1, n);
		if (n <= 10)
			ACCEPTED(&bytes);
		else
			REFUSED(&bytes, "truncated");
	}
}

/* libprotobuf-c reads at most five bytes of a length. */
UNIT(lengths_of_one_to_five_bytes)
{
	for (int n = 1; n <= 6; n++) {
		struct buffer bytes = {0};

		put_tag(&bytes, 4, BYTES);
		put_long_varint(&bytes, 2, n);
		put_raw(&bytes, "ab", 2);
		if (n <= 5)
			ACCEPTED(&bytes);
		else
			REFUSED(&bytes, "truncated");
	}
}

UNIT(lengths_beyond_the_end_are_truncated)
{
	static const uint64_t lengths[] = {1, 127, UINT32_MAX, INT64_MAX, UINT64_MAX};

	for (size_t i = 0; i < 5; i++) {
		struct buffer bytes = {0};

		put_tag(&bytes, 5, BYTES);
		put_varint(&bytes, lengths[i]);
		REFUSED(&bytes, "truncated");
	}
}

UNIT(an_inner_message_cannot_read_on_in_the_outer_one)
{
	struct buffer bytes = {0};

	/* The child is two bytes: a number's tag and the first byte of its varint. */
	put_bytes(&bytes, 1, "\x18\x80", 2);
	put_number(&bytes, 3, 1);
	REFUSED(&bytes, "truncated");
}

UNIT(unknown_enum_values)
{
	static const uint64_t values[] = {
		2, 8, INT32_MAX, UINT32_MAX, UINT64_MAX, (uint64_t)1 << 32};
	static const uint32_t fields[] = {6, 13};

	for (size_t v = 0; v < 6; v++)
		for (size_t f = 0; f < 2; f++) {
			struct buffer bytes = {0};

			put_number(&bytes, fields[f], values[v]);
			REFUSED(&bytes, "unknown value of an enumeration");
			put_number(&bytes, fields[f], values[v]);
			assert_int_equal(verify_with(&bytes, &verify_host_limits), 0);
		}
}

UNIT(known_enum_values)
{
	struct buffer bytes = {0};

	put_number(&bytes, 6, 7);
	put_number(&bytes, 13, 0);
	put_bytes(&bytes, 14, "\x00\x01\x07", 3);
	ACCEPTED(&bytes);
	put_bytes(&bytes, 14, "\x00\x02", 2);
	REFUSED(&bytes, "unknown value of an enumeration");
}

UNIT(strings_are_utf8_without_nul)
{
	struct buffer bytes = {0};
	static const uint32_t fields[] = {4, 8, 15};

	for (size_t f = 0; f < 3; f++) {
		put_bytes(&bytes, fields[f], "gr\xc3\xbc\xc3\x9f", 6);
		ACCEPTED(&bytes);
		put_bytes(&bytes, fields[f], "", 0);
		ACCEPTED(&bytes);
		put_bytes(&bytes, fields[f], "a\0b", 3);
		REFUSED(&bytes, "a string holds a NUL byte");
		put_bytes(&bytes, fields[f], "\xc3", 1);
		REFUSED(&bytes, "a string is not UTF-8");
		put_bytes(&bytes, fields[f], "\xed\xa0\x80", 3);
		REFUSED(&bytes, "a string is not UTF-8");
	}
	put_bytes(&bytes, 5, "a\0\xff", 3);
	ACCEPTED(&bytes);
}

UNIT(packed_runs_hold_whole_numbers)
{
	struct buffer bytes = {0}, every = {0};

	put_bytes(&bytes, 12, "\x01\x80", 2);
	REFUSED(&bytes, "a packed field is truncated");
	put_bytes(&bytes, 12, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11);
	REFUSED(&bytes, "a packed field is truncated");
	put_bytes(&every, 37, "12345678", 8);
	put_bytes(&every, 38, "12345678", 8);
	put_bytes(&every, 42, "1234567812345678", 16);
	put_message(&bytes, 100, &every);
	ACCEPTED(&bytes);
	put_bytes(&every, 37, "1234567", 7);
	put_message(&bytes, 100, &every);
	REFUSED(&bytes, "a packed field is truncated");
	put_bytes(&every, 38, "123456781234", 12);
	put_message(&bytes, 100, &every);
	REFUSED(&bytes, "a packed field is truncated");
}

/* A caller may pack what the schema does not, and the other way round. */
UNIT(either_form_of_repeated_numbers)
{
	struct buffer bytes = {0};

	put_bytes(&bytes, 11, "\x01\x02", 2);
	put_number(&bytes, 12, 1);
	put_bytes(&bytes, 13, "\x01\x07", 2);
	put_number(&bytes, 14, 7);
	ACCEPTED(&bytes);
}

UNIT(unpacking_needs_both_checks_and_memory)
{
	struct buffer bytes = {0};
	struct arena arena;
	VerifyTest__Tree *tree;

	put_number(&bytes, 3, 42);
	arena_init(&arena, 4096);
	tree = (VerifyTest__Tree *)verify_unpack(&verify_test__tree__descriptor,
		buffer_front(&bytes), buffer_len(&bytes), &verify_agent_limits, &arena, &why);
	assert_non_null(tree);
	assert_int_equal(tree->value, 42);
	arena_reset(&arena);
	for (int i = 0; i < 1000; i++)
		put_bytes(&bytes, 2, "", 0);
	assert_null(verify_unpack(&verify_test__tree__descriptor, buffer_front(&bytes),
		buffer_len(&bytes), &verify_agent_limits, &arena, &why));
	assert_string_equal(why, "more memory than a message may need");
	assert_true(arena.used <= arena.cap);
	buffer_clear(&bytes);
	arena_reset(&arena);
	put_number(&bytes, 3, 42);
	put_tag(&bytes, 0, VARINT);
	assert_null(verify_unpack(&verify_test__tree__descriptor, buffer_front(&bytes),
		buffer_len(&bytes), &verify_agent_limits, &arena, &why));
	assert_string_equal(why, "bad tag");
	buffer_clear(&bytes);
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(nothing_is_a_message),
		RUN(depth_16_passes_and_17_does_not),
		RUN(any_depth_ends_at_the_same_place),
		RUN(elements_of_a_field_are_counted),
		RUN(empty_messages_count_as_elements),
		RUN(elements_of_the_whole_message_are_counted),
		RUN(the_host_takes_more_elements),
		RUN(singular_fields_may_repeat_a_little),
		RUN(singular_messages_come_once),
		RUN(unknown_fields_are_counted_over_all_levels),
		RUN(unknown_fields_are_skipped_by_their_wire_type),
		RUN(tags_of_one_to_five_bytes),
		RUN(the_highest_field_number),
		RUN(field_zero_is_none),
		RUN(groups_and_unknown_wire_types_are_refused),
		RUN(known_fields_keep_their_wire_type),
		RUN(varints_of_one_to_ten_bytes),
		RUN(lengths_of_one_to_five_bytes),
		RUN(lengths_beyond_the_end_are_truncated),
		RUN(an_inner_message_cannot_read_on_in_the_outer_one),
		RUN(unknown_enum_values),
		RUN(known_enum_values),
		RUN(strings_are_utf8_without_nul),
		RUN(packed_runs_hold_whole_numbers),
		RUN(either_form_of_repeated_numbers),
		RUN(unpacking_needs_both_checks_and_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
