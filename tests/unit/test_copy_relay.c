/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A copy between two guests of which one does nothing: who it was. */
/* needs: host/cli/copy_relay.c */
#include "tests/unit/unit.h"

#include <sys/socket.h>
#include <unistd.h>

#include "host/cli/copy_relay.h"
#include "proto/cleanup.h"

#define IDLE_MS 20

static struct copy_stream streams[2];       /* the host's ends */
static struct copy_stream sender, receiver; /* the guests' */
static const struct copy_guest from = {"from", &streams[0]}, to = {"to", &streams[1]};

static void begin(void)
{
	struct copy_stream *guests[] = {&sender, &receiver};

	for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
		int pair[2];

		assert_int_equal(
			socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			0);
		copy_stream_init(&streams[i], pair[0]);
		copy_stream_init(guests[i], pair[1]);
		streams[i].idle_ms = guests[i]->idle_ms = IDLE_MS;
	}
}

static void end(void)
{
	struct copy_stream *all[] = {&streams[0], &streams[1], &sender, &receiver};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		copy_stream_done(all[i]);
		all[i]->fd = fd_close(all[i]->fd);
	}
}

static const struct copy_guest *relay(int expected)
{
	static const struct copy_watch watch;
	static const char *const paths[] = {"/a"};
	struct copy_asked asked = {.paths = paths, .n_paths = 1};
	const struct copy_guest *guilty = NULL;
	struct copy_counts counts;

	assert_int_equal(copy_relay(&from, &to, &asked, &watch, &counts, &guilty), expected);
	return guilty;
}

static void send_file(bool may_resume, uint64_t size)
{
	Postern__V1__CopyFile file = POSTERN__V1__COPY_FILE__INIT;

	file.has_name = file.has_size = file.has_may_resume = true;
	file.name = (ProtobufCBinaryData){.data = (uint8_t *)"a", .len = 1};
	file.size = size;
	file.may_resume = may_resume;
	assert_int_equal(copy_put(&sender, POSTERN__V1__COPY_RECORD__KIND_FILE, &file), 0);
	assert_int_equal(copy_flush(&sender), 0);
}

UNIT(a_sender_that_says_nothing)
{
	begin();
	assert_ptr_equal(relay(-ETIMEDOUT), &from);
	send_file(false, 1);
	assert_ptr_equal(relay(-ETIMEDOUT), &from);
	end();
}

UNIT(a_receiver_that_does_not_say_what_it_has)
{
	begin();
	send_file(true, 1);
	assert_ptr_equal(relay(-ETIMEDOUT), &to);
	end();
}

UNIT(a_receiver_that_does_not_say_that_all_is_there)
{
	Postern__V1__CopyProblem problem = POSTERN__V1__COPY_PROBLEM__INIT;
	Postern__V1__CopyDone done = POSTERN__V1__COPY_DONE__INIT;

	begin();
	assert_int_equal(copy_put(&sender, POSTERN__V1__COPY_RECORD__KIND_PROBLEM, &problem), 0);
	assert_int_equal(copy_put(&sender, POSTERN__V1__COPY_RECORD__KIND_DONE, &done), 0);
	assert_int_equal(copy_flush(&sender), 0);
	/* That the sender goes is not what is missing. */
	assert_int_equal(shutdown(sender.fd, SHUT_RDWR), 0);
	assert_ptr_equal(relay(-ETIMEDOUT), &to);
	end();
}

UNIT(a_receiver_that_takes_nothing)
{
	static const uint8_t bytes[COPY_PIECE];
	uint64_t sent = 0;
	int r = 0, small = 4096;

	begin();
	/* The host has less room there than the sender here. */
	assert_int_equal(
		setsockopt(streams[1].fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	send_file(false, UINT64_C(1) << 40);
	while (r == 0) {
		r = copy_put_data(&sender, sent, bytes, sizeof(bytes));
		sent += sizeof(bytes);
		assert_true(sent < 1000 * sizeof(bytes));
	}
	assert_int_equal(r, -ETIMEDOUT);
	assert_ptr_equal(relay(-ETIMEDOUT), &to);
	assert_true(buffer_len(&streams[1].out) <= 4 * COPY_PIECE);
	end();
}

UNIT(a_sender_that_hears_nothing)
{
	Postern__V1__CopyProblem problem = POSTERN__V1__COPY_PROBLEM__INIT;
	int r = 0, small = 4096;

	begin();
	assert_int_equal(
		setsockopt(streams[0].fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	problem.message = (char[8192]){0};
	memset(problem.message, 'm', 8191);
	for (int i = 0; r == 0 && i < 10000; i++)
		r = copy_put(&receiver, POSTERN__V1__COPY_RECORD__KIND_PROBLEM, &problem);
	assert_int_equal(r, -ETIMEDOUT);
	assert_ptr_equal(relay(-ETIMEDOUT), &from);
	assert_true(buffer_len(&streams[0].out) <= 4 * COPY_PIECE);
	end();
}

UNIT(both_go)
{
	begin();
	assert_int_equal(shutdown(receiver.fd, SHUT_RDWR), 0);
	assert_ptr_equal(relay(-ECONNRESET), &to);
	assert_int_equal(shutdown(sender.fd, SHUT_RDWR), 0);
	assert_ptr_equal(relay(-ECONNRESET), &from);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(a_sender_that_says_nothing),
		RUN(a_receiver_that_does_not_say_what_it_has),
		RUN(a_receiver_that_does_not_say_that_all_is_there),
		RUN(a_receiver_that_takes_nothing),
		RUN(a_sender_that_hears_nothing),
		RUN(both_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
