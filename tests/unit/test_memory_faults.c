/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each allocation fails once, in turn: nothing crashes, nothing is lost or left. */
/* needs: gen/verify_test.pb-c.c */
/* flags: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc */
#include "tests/unit/wire_random.h"

#include <jansson.h>

#include "messages.h"
#include "proto/arena.h"
#include "proto/client/base64.h"
#include "proto/client/json.h"
#include "proto/client/text.h"
#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/verify.h"
#include "tests/unit/fake_agent.h"
#include "verify_test.pb-c.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *memory, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *memory, size_t n);

static long countdown = -1; /* allocations until the one that fails; negative: none does */
static bool failed;

static bool fails(void)
{
	if (countdown < 0 || countdown-- > 0)
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *memory, size_t n)
{
	return fails() ? NULL : __real_realloc(memory, n);
}

/* Runs it with the first, second, ... allocation failing, until none is left that could. It says
 * whether it came through; it must not when one has failed, unless it can do without. */
static void each_fault(int (*run)(void), bool optional)
{
	unsigned int faults = 0;

	for (long n = 0; n < 100000; n++) {
		int r;

		failed = false;
		countdown = n;
		r = run();
		countdown = -1;
		if (!failed) {
			assert_int_equal(r, 0);
			assert_true(faults > 0);
			return;
		}
		faults++;
		if (!optional && r != -ENOMEM)
			fail_msg("allocation %ld failed, and the answer was %d", n, r);
	}
	fail_msg("it never ends");
}

static int run_buffer(void)
{
	struct buffer buffer = {0};
	static uint8_t bytes[3000];
	size_t whole = 0;
	int r = 0;

	for (int i = 0; i < 20 && r == 0; i++) {
		r = buffer_append(&buffer, bytes, sizeof(bytes));
		if (r == 0)
			whole += sizeof(bytes);
		/* What was there stays there. */
		if (buffer_len(&buffer) != whole)
			abort();
	}
	buffer_clear(&buffer);
	return r;
}

UNIT(buffers)
{
	each_fault(run_buffer, false);
}

static int run_arena(void)
{
	struct arena arena;
	int r = 0;

	arena_init(&arena, 1 << 20);
	for (size_t n = 1; n < 9000 && r == 0; n += 500) {
		size_t used = arena.used;

		if (!arena_alloc(&arena, n)) {
			r = -ENOMEM;
			if (arena.used != used)
				abort();
		}
	}
	if (r == 0 && (!arena_strdup(&arena, "text") || !arena_printf(&arena, "%6000d", 1)))
		r = -ENOMEM;
	arena_reset(&arena);
	arena_done(&arena);
	return r;
}

UNIT(arenas)
{
	each_fault(run_arena, false);
}

static int run_frames(void)
{
	Postern__V1__Goodbye goodbye = POSTERN__V1__GOODBYE__INIT;
	struct frame_reader reader = {.limit = 100000};
	struct buffer out = {0};
	static char text[20000];
	const uint8_t *body;
	int fds[2], r;
	size_t len, at = 0;

	memset(text, 'x', sizeof(text) - 1);
	goodbye.message = text;
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
		abort();
	r = frame_append(&out, &goodbye.base, 100000);
	while (r == 0) {
		ssize_t n;

		if (at < buffer_len(&out)) {
			n = write(fds[1], buffer_front(&out) + at,
				4096 < buffer_len(&out) - at ? 4096 : buffer_len(&out) - at);
			at += (size_t)n;
		}
		n = frame_read(&reader, fds[0]);
		if (n < 0) {
			r = (int)n;
			break;
		}
		r = frame_next(&reader, &body, &len);
	}
	frame_reader_done(&reader);
	buffer_clear(&out);
	(void)close(fds[0]);
	(void)close(fds[1]);
	return r > 0 ? 0 : r;
}

UNIT(frames)
{
	each_fault(run_frames, false);
}

/* A message with every kind of field. */
static struct buffer message;

static int run_unpack(void)
{
	struct arena arena;
	const char *why;
	bool ok;

	arena_init(&arena, ARENA_REQUEST_MAX);
	ok = verify_unpack(&verify_test__tree__descriptor, buffer_front(&message),
		buffer_len(&message), &verify_agent_limits, &arena, &why);
	arena_done(&arena);
	return ok ? 0 : -ENOMEM;
}

static int run_json_out(void)
{
	const char *why;
	json_t *json;
	int r = json_from_message(&verify_test__tree__descriptor, buffer_front(&message),
		buffer_len(&message), &json, &why);

	if (r == 0)
		json_decref(json);
	/* Too little memory to decode is told as a message that needs too much. */
	return r == -EBADMSG && strcmp(why, "more memory than a message may need") == 0 ? -ENOMEM
											: r;
}

static json_t *json_of_message;

static int run_json_in(void)
{
	char problem[256];
	uint8_t *bytes;
	size_t len;
	int r = json_to_message(&verify_test__tree__descriptor, json_of_message, &bytes, &len,
		problem, sizeof(problem));

	if (r == 0)
		free(bytes);
	return r;
}

UNIT(messages_and_json)
{
	struct dice dice = {12345};
	struct wire_random how = {.dice = &dice, .depth = 3, .most = 3};
	const char *why;

	/* Jansson's own allocations fail as well. */
	json_set_alloc_funcs(__wrap_malloc, free);
	for (int round = 0; round < 5; round++) {
		random_message(&how, &message, &verify_test__tree__descriptor, 1);
		assert_int_equal(
			json_from_message(&verify_test__tree__descriptor, buffer_front(&message),
				buffer_len(&message), &json_of_message, &why),
			0);
		each_fault(run_unpack, false);
		each_fault(run_json_out, false);
		each_fault(run_json_in, false);
		json_decref(json_of_message);
		buffer_clear(&message);
	}
}

static int run_text(void)
{
	char *text = postern_escape_dup("a\x1b", 2), *digits;
	uint8_t *bytes = NULL;
	size_t len;
	int r = text ? 0 : -ENOMEM;

	free(text);
	digits = r == 0 ? base64_encode((const uint8_t *)"abc", 3) : NULL;
	if (r == 0 && !digits)
		r = -ENOMEM;
	if (r == 0)
		r = base64_decode(digits, &bytes, &len);
	free(digits);
	free(bytes);
	return r;
}

UNIT(text)
{
	each_fault(run_text, false);
}

/* A whole conversation; the agent's side is made before the faults begin. */
static struct buffer said;

static int run_client(void)
{
	struct postern_error error = {0};
	struct postern_client *client = NULL;
	struct fake fake = {0};
	int fds[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		abort();
	r = postern_client_start_fd(fds[0], NULL, &client, &error);
	if (r == 0) {
		uint64_t id;

		/* The hello's bytes first, the answers to the call later. */
		if (write(fds[1], buffer_front(&said), buffer_len(&said)) !=
			(ssize_t)buffer_len(&said))
			abort();
		while (r == 0 && !postern_client_ready(client))
			r = postern_client_dispatch(client, &error);
		if (r == 0)
			r = postern_call_start(
				client, "system.ping", NULL, 0, 0, fake_on_reply, &fake, &id);
		if (r == 0 && write(fds[1], "\x06\x12\x04\x08\x01\x1a\x00", 7) != 7)
			abort();
		while (r == 0 && fake.errors == 0)
			r = postern_client_dispatch(client, &error);
	}
	postern_client_close(client);
	postern_error_clear(&error);
	(void)close(fds[1]);
	return r;
}

UNIT(clients)
{
	struct buffer hello = {0}, body = {0};

	put_number(&hello, 1, POSTERN_MAJOR);
	put_bytes(&hello, 3, "1.0", 3);
	put_message(&body, 1, &hello);
	put_varint(&said, buffer_len(&body));
	put_raw(&said, buffer_front(&body), buffer_len(&body));
	buffer_clear(&body);
	/* Without memory a client ends in one way or another, or does without an error's details.
	 */
	each_fault(run_client, true);
	buffer_clear(&said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(buffers),
		RUN(arenas),
		RUN(frames),
		RUN(messages_and_json),
		RUN(text),
		RUN(clients),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
