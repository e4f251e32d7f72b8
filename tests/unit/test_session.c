/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A session and its peer's socket: what waits for the peer to read goes on when it has. */
/* needs: agent/session agent/methods/session agent/methods/call.c agent/methods/sample.c */
/* needs: agent/methods/job_message.c */
/* needs: agent/inner.c agent/row.c agent/sandbox/confine.c agent/sandbox/families.c */
#include "tests/unit/unit.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include "agent/session/session.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define RUNS_SESSION 1
#define RUNS_READER  0
#define RUNS_WORKER  0
#define RUNS_BROKER  1
#define RUNS_WATCHER 0
#define RUNS_NEW_JOB 0
#define RUNS_JOB     0
#include "agent/methods/handlers.h"

#define ROOM    (16 << 20) /* the kernel's, for all that is sent here */
#define ENTRIES 100
#define PAYLOAD 30000
#define ROUNDS  100

static struct session session;
static int peer;

static int set_up(void **state)
{
	const int room = ROOM;
	int pair[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	memset(&session, 0, sizeof(session));
	session.socket = pair[0];
	peer = pair[1];
	/* Root's, else the socket takes 200 KiB and the loop is told when there is room again. */
	(void)setsockopt(session.socket, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	session.events = session.broker = -EBADF;
	for (int i = 0; i < SUBSCRIPTIONS_MAX; i++)
		session.subscriptions[i].snapshot = -EBADF;
	list_init(&session.requests);
	list_init(&session.lanes);
	list_init(&session.rides);
	arena_init(&session.arena, ARENA_REQUEST_MAX);
	if (loop_init(&session.loop) < 0 || conn_start(&session) < 0)
		return -1;
	session.phase = SERVING;
	loop_timer_del(&session.timer);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	loop_io_del(&session.io);
	loop_done(&session.loop);
	buffer_clear(&session.out);
	frame_reader_done(&session.reader);
	arena_done(&session.arena);
	(void)close(session.socket);
	(void)close(peer);
	return 0;
}

static int make_snapshot(void)
{
	static uint8_t payload[PAYLOAD];
	struct events_packet packet = {
		.kind = EVENTS_EVENT, .topic = TOPIC_mounts_mount, .payload_len = PAYLOAD};
	int fd = memfd_create("snapshot", MFD_CLOEXEC);

	assert_true(fd >= 0);
	for (int i = 0; i < ENTRIES; i++) {
		assert_int_equal(write(fd, &packet, sizeof(packet)), sizeof(packet));
		assert_int_equal(write(fd, payload, PAYLOAD), PAYLOAD);
	}
	return fd;
}

static size_t read_all(void)
{
	static uint8_t bytes[65536];
	size_t total = 0;
	ssize_t n;

	while ((n = recv(peer, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		total += (size_t)n;
	return total;
}

/* Three megabytes of it, to a peer that never makes us wait. */
static void test_a_snapshot_goes_on_without_a_pause(void **state)
{
	size_t total = 0;

	(void)state;
	session.subscriptions[0] = (struct subscription){.number = 1, .snapshot = make_snapshot()};
	events_resume(&session);
	assert_true(conn_paused(&session));
	conn_update(&session);
	for (int i = 0; i < ROUNDS && total < ENTRIES * PAYLOAD; i++) {
		total += read_all();
		assert_int_equal(loop_once(&session.loop, 1), 0);
	}
	assert_true(total > ENTRIES * PAYLOAD);
	assert_int_equal(session.subscriptions[0].snapshot, -EBADF);
}

static void fill(void)
{
	static uint8_t bytes[3 * ROOM];

	assert_int_equal(buffer_append(&session.out, bytes, sizeof(bytes)), 0);
	conn_update(&session);
	assert_true(buffer_len(&session.out) > 0);
}

/* Thirty seconds without a byte taken are the end, with one they begin anew. */
static void test_who_reads_nothing_is_cut_off(void **state)
{
	const uint64_t limit = OUTPUT_STALLED_MS * NSEC_PER_MSEC;
	uint64_t from;

	(void)state;
	fill();
	from = monotonic_ns();
	assert_ptr_equal(session.stall.loop, &session.loop);
	assert_true(session.stall.at <= from + limit && session.stall.at > from + limit / 2);
	session.written++;
	loop_timer_del(&session.stall);
	session.stall.fn(&session.stall);
	assert_false(session.loop.stop);
	assert_true(session.stall.at > from + limit / 2);
	loop_timer_del(&session.stall);
	session.stall.fn(&session.stall);
	assert_true(session.loop.stop);
}

static void test_who_has_read_all_is_not(void **state)
{
	(void)state;
	fill();
	for (int i = 0; i < ROUNDS && buffer_len(&session.out) > 0; i++) {
		(void)read_all();
		assert_int_equal(loop_once(&session.loop, 1), 0);
	}
	assert_null(session.stall.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_snapshot_goes_on_without_a_pause, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_who_reads_nothing_is_cut_off, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_who_has_read_all_is_not, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
