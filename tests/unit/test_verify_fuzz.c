/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Broken and random messages: what is let through becomes what libprotobuf-c makes of it, and back.
 */
/* needs: gen/verify_test.pb-c.c */
#include "tests/unit/wire_random.h"

#include "messages.h"
#include "proto/arena.h"
#include "proto/cleanup.h"
#include "proto/client/services.h"
#include "proto/encode.h"
#include "proto/limits.h"
#include "proto/verify.h"
#include "verify_test.pb-c.h"

#define MUTATIONS 200000
#define ROOM      16384
#define FRONT     64

static struct guarded guarded;
static struct arena arena, library; /* ours, and libprotobuf-c's */

static void *library_alloc(void *data, size_t n)
{
	return arena_alloc(data, n);
}

static void library_free(void *data, void *memory)
{
	(void)data;
	(void)memory;
}

static ProtobufCAllocator library_allocator = {library_alloc, library_free, &library};

static int set_up(void **state)
{
	(void)state;
	guarded = guarded_new(ROOM);
	arena_init(&arena, 1u << 20);
	arena_init(&library, 4u << 20);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	guarded_free(&guarded);
	arena_done(&arena);
	arena_done(&library);
	return 0;
}

/* Encodes in so much room, and looks whether a byte before it was written. */
static size_t encode_in(uint8_t *area, size_t room, const ProtobufCMessage *message)
{
	uint8_t *start = area + FRONT;
	size_t len;

	memset(area, 0xa5, FRONT);
	len = encode_before(start, start + room, message);
	for (size_t i = 0; i < FRONT; i++)
		assert_int_equal(area[i], 0xa5);
	return len;
}

/* The same bytes, whoever wrote the message: unknown fields, which only the library keeps, are left
 * out. */
static void same(const ProtobufCMessage *ours, const ProtobufCMessage *theirs)
{
	static uint8_t packed[4 * ROOM], area[FRONT + 4 * ROOM + ENCODE_SLACK];
	size_t len = protobuf_c_message_get_packed_size(ours);

	assert_true(len <= sizeof(packed));
	assert_int_equal(protobuf_c_message_pack(ours, packed), len);
	assert_int_equal(encode_in(area, len + ENCODE_SLACK, theirs), len);
	assert_memory_equal(area + FRONT + ENCODE_SLACK, packed, len);
	for (size_t room = 0; room < len; room += 1 + room / 4)
		assert_int_equal(encode_in(area, room, ours), ENCODE_NO_ROOM);
}

/* True when the message is accepted; then the library decodes it too, to the same. */
static bool check(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	const struct verify_limits *limits)
{
	const ProtobufCMessage *ours, *theirs;
	const char *why = NULL, *unpack_why = NULL;

	bytes = guarded_copy(&guarded, bytes, len);
	arena_reset(&arena);
	arena_reset(&library);
	ours = verify_unpack(type, bytes, len, limits, &arena, &unpack_why);
	if (verify_message(type, bytes, len, limits, &why) < 0) {
		assert_non_null(why);
		assert_null(ours);
		assert_string_equal(why, unpack_why);
		return false;
	}
	if (!ours && arena.used < arena.cap - (arena.cap >> 2))
		fail_msg("verified, not decoded: %zu bytes, %zu used", len, arena.used);
	theirs = protobuf_c_message_unpack(type, &library_allocator, len, bytes);
	assert_non_null(theirs);
	if (ours)
		same(ours, theirs);
	return true;
}

static struct buffer random_tree(struct dice *dice, int depth)
{
	struct wire_random how = {.dice = dice, .depth = depth, .most = 3};
	struct buffer bytes = {0};

	do {
		buffer_clear(&bytes);
		random_message(&how, &bytes, &verify_test__tree__descriptor, 1);
	} while (buffer_len(&bytes) == 0 || buffer_len(&bytes) > ROOM / 2);
	return bytes;
}

UNIT(valid_messages_are_accepted)
{
	struct dice dice = dice_new(__func__);

	for (int i = 0; i < 2000; i++) {
		struct buffer bytes = random_tree(&dice, 3);

		assert_true(check(&verify_test__tree__descriptor, buffer_front(&bytes),
			buffer_len(&bytes), &verify_agent_limits));
		buffer_clear(&bytes);
	}
}

UNIT(every_prefix_ends_before_the_end)
{
	struct dice dice = dice_new(__func__);
	size_t accepted = 0, refused = 0;

	for (int i = 0; i < 60; i++) {
		struct buffer bytes = random_tree(&dice, 2);

		for (size_t len = 0; len < buffer_len(&bytes); len++) {
			if (check(&verify_test__tree__descriptor, buffer_front(&bytes), len,
				    &verify_agent_limits))
				accepted++;
			else
				refused++;
		}
		buffer_clear(&bytes);
	}
	assert_true(accepted > 0 && refused > accepted);
}

/* Changes up to four places: bits, bytes, pieces gone, doubled, or moved. */
static size_t mutate(struct dice *dice, uint8_t *bytes, size_t len)
{
	static const uint8_t evil[] = {0x00, 0x7f, 0x80, 0xff, 0x01, 0x0a, 0x12, 0x0b, 0x0c};

	for (uint64_t n = 1 + dice_below(dice, 4); n > 0 && len > 0; n--) {
		size_t at = dice_below(dice, len), piece = 1 + dice_below(dice, 16);

		piece = piece > len - at ? len - at : piece;
		switch (dice_below(dice, 6)) {
		case 0:
			bytes[at] ^= (uint8_t)(1u << dice_below(dice, 8));
			break;
		case 1:
			bytes[at] = (uint8_t)dice_roll(dice);
			break;
		case 2:
			bytes[at] = evil[dice_below(dice, sizeof(evil))];
			break;
		case 3:
			memmove(bytes + at, bytes + at + piece, len - at - piece);
			len -= piece;
			break;
		case 4:
			if (len + piece > ROOM)
				break;
			memmove(bytes + at + piece, bytes + at, len - at);
			len += piece;
			break;
		default:
			bytes[at] = (uint8_t)(bytes[at] + (dice_below(dice, 2) ? 1 : -1));
			break;
		}
	}
	return len;
}

UNIT(mutated_messages_never_surprise_the_decoder)
{
	struct dice dice = dice_new(__func__);
	static uint8_t bytes[ROOM];
	unsigned int accepted = 0;

	for (int i = 0; i < MUTATIONS;) {
		struct buffer valid = random_tree(&dice, 2 + (int)dice_below(&dice, 2));

		for (int j = 0; j < 50; j++, i++) {
			size_t len = buffer_len(&valid);

			memcpy(bytes, buffer_front(&valid), len);
			len = mutate(&dice, bytes, len);
			accepted += check(&verify_test__tree__descriptor, bytes, len,
				dice_below(&dice, 2) ? &verify_agent_limits : &verify_host_limits);
		}
		buffer_clear(&valid);
	}
	print_message("# %u of %d accepted\n", accepted, MUTATIONS);
	/* Both ways must have been taken often for this to say anything. */
	assert_in_range(accepted, MUTATIONS / 100, MUTATIONS - MUTATIONS / 100);
}

/* All envelopes, requests and replies of the protocol itself. */
UNIT(mutated_messages_of_the_protocol)
{
	struct dice dice = dice_new(__func__);
	struct wire_random how = {.dice = &dice, .depth = 6, .most = 3};
	static uint8_t bytes[ROOM];
	const ProtobufCMessageDescriptor *types[1024] = {
		&postern__v1__to_agent__descriptor, &postern__v1__from_agent__descriptor};
	size_t n = 2;

	for (size_t i = 0; postern_services[i]; i++)
		for (unsigned int j = 0; j < postern_services[i]->n_methods; j++) {
			assert_true(n + 2 <= ARRAY_SIZE(types));
			types[n++] = postern_services[i]->methods[j].input;
			types[n++] = postern_services[i]->methods[j].output;
		}
	for (int i = 0; i < MUTATIONS / 4; i++) {
		const ProtobufCMessageDescriptor *type = types[dice_below(&dice, n)];
		struct buffer valid = {0};
		size_t len;

		random_message(&how, &valid, type, 1);
		len = buffer_len(&valid);
		if (len > 0 && len <= ROOM) {
			memcpy(bytes, buffer_front(&valid), len);
			assert_true(check(type, bytes, len, &verify_agent_limits));
			len = mutate(&dice, bytes, len);
			(void)check(type, bytes, len, &verify_agent_limits);
			(void)check(type, bytes, len, &verify_host_limits);
		}
		buffer_clear(&valid);
	}
}

UNIT(noise_is_no_danger)
{
	struct dice dice = dice_new(__func__);

	for (int i = 0; i < MUTATIONS; i++) {
		uint8_t bytes[64];
		size_t len = dice_below(&dice, sizeof(bytes));

		for (size_t j = 0; j < len; j++)
			bytes[j] = (uint8_t)dice_roll(&dice);
		(void)check(&verify_test__tree__descriptor, bytes, len, &verify_agent_limits);
		(void)check(&postern__v1__to_agent__descriptor, bytes, len, &verify_agent_limits);
		(void)check(&postern__v1__from_agent__descriptor, bytes, len, &verify_host_limits);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(valid_messages_are_accepted),
		RUN(every_prefix_ends_before_the_end),
		RUN(mutated_messages_never_surprise_the_decoder),
		RUN(mutated_messages_of_the_protocol),
		RUN(noise_is_no_danger),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
