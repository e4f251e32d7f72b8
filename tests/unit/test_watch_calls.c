/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Methods in the watcher, and a session that asks for more than it may have. */
/* needs: agent/watch/calls.c agent/watch/subscribers.c agent/watch/ring.c agent/watch/properties.c
 */
/* needs: agent/watch/heartbeat.c agent/watch/heartbeats.c agent/watch/store.c agent/watch/budget.c
 */
/* needs: agent/watch/property_log.c agent/methods/watch agent/methods/call.c agent/row.c */
/* libs: mount */
#include "tests/unit/unit.h"
#include "tests/unit/watch_stubs.h"

#include <sys/socket.h>

#include "agent/watch/watch.h"
#include "envelope.pb-c.h"
#include "proto/encode.h"
#include "proto/frame.h"
#include "proto/verify.h"

#define RUNS_SESSION 0
#define RUNS_READER  0
#define RUNS_WORKER  0
#define RUNS_BROKER  0
#define RUNS_WATCHER 1
#define RUNS_NEW_JOB 0
#define RUNS_JOB     0
#include "agent/methods/handlers.h"

static struct watch watcher;
static int session;
static struct arena arena;

/* A session that serves the host (uid -1), or a user; it may call what the watcher runs, but for
 * heartbeat.end. */
static int join(int64_t uid)
{
	struct subscriber_facts facts = {
		.uid = uid < 0 ? 0 : (uint32_t)uid, .guest = uid >= 0, .topics = UINT64_MAX};
	int pair[2];

	memset(facts.methods, 1, sizeof(facts.methods));
	facts.methods[METHOD_heartbeat_end] = 0;
	(void)snprintf(facts.identity, sizeof(facts.identity), uid < 0 ? "host" : "local");
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	subscriber_add(&watcher, pair[1], &facts);
	return pair[0];
}

static int set_up(void **state)
{
	(void)state;
	watcher = (struct watch){0};
	for (int i = 0; i < WATCH_FD_COUNT; i++)
		watcher.fds[i] = -EBADF;
	list_init(&watcher.subscribers);
	arena_init(&arena, ARENA_HOST_MAX);
	if (loop_init(&watcher.loop) < 0 || ring_init(&watcher.ring) < 0)
		return -1;
	properties_start(&watcher);
	session = join(-1);
	return 0;
}

static void turn(void)
{
	for (int i = 0; i < 8; i++)
		assert_true(loop_once(&watcher.loop, 0) >= 0);
}

static int tear_down(void **state)
{
	(void)state;
	(void)close(session);
	turn();
	assert_true(list_empty(&watcher.subscribers));
	store_clear(&watcher.store);
	free(watcher.heartbeats.programs);
	for (uint64_t seq = watcher.ring.oldest; seq < watcher.ring.next; seq++)
		free(ring_get(&watcher.ring, seq)->payload);
	free(watcher.ring.events);
	loop_timer_del(&watcher.expiry);
	loop_timer_del(&watcher.late);
	arena_done(&arena);
	loop_done(&watcher.loop);
	return 0;
}

static void ask_raw(int fd, const struct events_command *command, const void *params, size_t len)
{
	struct iovec iov[] = {{(void *)command, sizeof(*command)}, {(void *)params, len}};
	const struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	assert_int_equal(sendmsg(fd, &msg, 0), sizeof(*command) + len);
}

static void ask(int fd, uint32_t method, const void *params, size_t len)
{
	const struct events_command command = {.kind = EVENTS_CALL,
		.subscription = 7,
		.method = method,
		.id = 9,
		.max_frame = FRAME_DEFAULT_MAX};

	ask_raw(fd, &command, params, len);
	turn();
}

/* The next whole answer; NULL: the connection is over. */
static const Postern__V1__Response *answer(int fd)
{
	static uint8_t payload[EVENT_PAYLOAD_MAX];
	struct buffer all = {0};
	struct events_packet packet = {0};
	const Postern__V1__FromAgent *from;
	const char *why;
	size_t head = 0;

	while (packet.arg != 1) {
		struct iovec iov[] = {{&packet, sizeof(packet)}, {payload, sizeof(payload)}};
		struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
		ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);

		if (n == 0)
			return NULL;
		assert_true(n >= (ssize_t)sizeof(packet));
		assert_int_equal(packet.kind, EVENTS_ANSWER);
		assert_int_equal(packet.subscription, 7);
		assert_int_equal(packet.payload_len, (size_t)n - sizeof(packet));
		assert_int_equal(buffer_append(&all, payload, packet.payload_len), 0);
		turn();
	}
	while (buffer_front(&all)[head++] & 0x80)
		;
	from = (const Postern__V1__FromAgent *)verify_unpack(&postern__v1__from_agent__descriptor,
		buffer_front(&all) + head, buffer_len(&all) - head, &verify_host_limits, &arena,
		&why);
	buffer_clear(&all);
	assert_non_null(from);
	assert_int_equal(from->kind_case, POSTERN__V1__FROM_AGENT__KIND_RESPONSE);
	assert_int_equal(from->response->id, 9);
	return from->response;
}

static Postern__V1__Code code_of(int fd, uint32_t method, const ProtobufCMessage *request)
{
	size_t len;
	uint8_t *params = encode_new(request, &len);
	const Postern__V1__Response *response;

	assert_non_null(params);
	ask(fd, method, params, len);
	free(params);
	response = answer(fd);
	assert_non_null(response);
	return response->outcome_case == POSTERN__V1__RESPONSE__OUTCOME_ERROR
		       ? response->error->code
		       : POSTERN__V1__CODE__CODE_UNSPECIFIED;
}

static Postern__V1__Code set(int fd, const char *key, Postern__V1__PropertiesSetRequest request)
{
	request.key = (char *)key;
	return code_of(fd, METHOD_properties_set, &request.base);
}

static const Postern__V1__PropertiesSetRequest plain = POSTERN__V1__PROPERTIES_SET_REQUEST__INIT;

UNIT(the_host_and_a_user_keep_each_other_from_changing)
{
	Postern__V1__PropertiesSetRequest ours = plain, theirs = plain;
	int user = join(1000), root = join(0);

	ours.has_read_only_guest = ours.read_only_guest = true;
	theirs.has_read_only_host = theirs.read_only_host = true;
	assert_int_equal(set(session, "a", ours), 0);
	assert_int_equal(set(root, "a", plain), POSTERN__V1__CODE__PERMISSION_DENIED);
	assert_int_equal(set(user, "user/1000/a", theirs), 0);
	assert_int_equal(set(session, "user/1000/a", plain), POSTERN__V1__CODE__PERMISSION_DENIED);
	assert_int_equal(set(session, "b", theirs), POSTERN__V1__CODE__PERMISSION_DENIED);
	assert_int_equal(set(user, "user/1000/b", ours), POSTERN__V1__CODE__PERMISSION_DENIED);
	assert_int_equal(set(user, "a", plain), POSTERN__V1__CODE__PERMISSION_DENIED);
	assert_int_equal(watcher.store.n, 2);
	(void)close(user);
	(void)close(root);
}

UNIT(only_programs_of_the_guest_give_signs_of_life)
{
	Postern__V1__HeartbeatBeatRequest request = POSTERN__V1__HEARTBEAT_BEAT_REQUEST__INIT;
	int root = join(0);

	request.name = (char *)"web";
	request.has_deadline_ms = true;
	request.deadline_ms = 1000;
	assert_int_equal(code_of(session, METHOD_heartbeat_beat, &request.base),
		POSTERN__V1__CODE__FAILED_PRECONDITION);
	assert_int_equal(code_of(root, METHOD_heartbeat_beat, &request.base), 0);
	assert_int_equal(watcher.heartbeats.n, 1);
	(void)close(root);
	turn();
	assert_int_equal(heartbeats_missed(&watcher.heartbeats), 1);
}

/* A session of ours does not; one that was taken over has nothing of it. */
UNIT(what_it_may_not_ask_for_ends_it)
{
	static const uint32_t methods[] = {METHOD_heartbeat_end, METHOD_mounts_list,
		METHOD_system_ping, METHOD_filesystems_extend, METHOD_COUNT, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		int fd = join(0);

		ask(fd, methods[i], NULL, 0);
		assert_null(answer(fd));
		(void)close(fd);
	}
	assert_int_equal(set(session, "a", plain), 0);
}

UNIT(what_is_no_command_ends_it)
{
	struct events_command command = {.kind = EVENTS_CALL,
		.subscription = 7,
		.method = METHOD_properties_list,
		.max_frame = FRAME_CEILING + 1};
	static uint8_t large[EVENT_PARAMS_MAX + 1];
	int fd = join(0);

	ask_raw(fd, &command, NULL, 0);
	turn();
	assert_null(answer(fd));
	(void)close(fd);
	fd = join(0);
	command.max_frame = FRAME_DEFAULT_MAX;
	ask_raw(fd, &command, large, sizeof(large));
	turn();
	assert_null(answer(fd));
	(void)close(fd);
	fd = join(0);
	assert_int_equal(send(fd, &command, sizeof(command) - 1, 0), sizeof(command) - 1);
	turn();
	assert_null(answer(fd));
	(void)close(fd);
}

UNIT(any_bytes_have_one_answer)
{
	static const uint32_t methods[] = {METHOD_properties_get, METHOD_properties_list,
		METHOD_properties_set, METHOD_properties_remove, METHOD_heartbeat_list,
		METHOD_heartbeat_beat};
	struct dice dice = dice_new("parameters");
	int root = join(0);

	for (int i = 0; i < 30000; i++) {
		uint8_t params[64] = {0x0a, 0x02, 'k', 'a'};
		size_t len = dice_below(&dice, sizeof(params));

		/* From the beginning of a good one, or of none. */
		for (size_t at = dice_below(&dice, 2) ? 4 : 0; at < len; at++)
			params[at] = (uint8_t)dice_below(&dice, dice_below(&dice, 2) ? 256 : 0x60);
		ask(i % 2 ? root : session, methods[dice_below(&dice, ARRAY_SIZE(methods))], params,
			len);
		assert_non_null(answer(i % 2 ? root : session));
		arena_reset(&arena);
	}
	(void)close(root);
}

UNIT(who_does_not_read_has_one_answer_waiting)
{
	Postern__V1__PropertiesSetRequest request = plain;
	static uint8_t value[PROPERTY_VALUE_MAX];
	const struct events_command command = {.kind = EVENTS_CALL,
		.subscription = 7,
		.method = METHOD_properties_get,
		.id = 9,
		.max_frame = FRAME_DEFAULT_MAX};
	static const uint8_t get[] = {0x0a, 0x01, 'a'};
	const struct subscriber *deaf;
	size_t asked = 0;
	int fd = join(0);

	request.has_value = true;
	request.value = (ProtobufCBinaryData){.len = sizeof(value), .data = value};
	assert_int_equal(set(session, "a", request), 0);
	deaf = container_of(watcher.subscribers.head.prev, struct subscriber, node);
	for (; asked < 100; asked++)
		ask_raw(fd, &command, get, sizeof(get));
	for (int i = 0; i < 100; i++)
		turn();
	assert_true(buffer_len(&deaf->answer) > 0);
	assert_true(buffer_len(&deaf->answer) < 2 * sizeof(value));
	assert_int_equal(set(session, "b", plain), 0);
	/* When it reads, all of them come. */
	for (size_t i = 0; i < asked; i++) {
		assert_non_null(answer(fd));
		arena_reset(&arena);
		turn();
	}
	(void)close(fd);
}

int main(void)
{
#define CALLS_TEST(name)                                                                           \
	{                                                                                          \
#name, test_##name, set_up, tear_down, NULL                                        \
	}
	const struct CMUnitTest tests[] = {
		CALLS_TEST(the_host_and_a_user_keep_each_other_from_changing),
		CALLS_TEST(only_programs_of_the_guest_give_signs_of_life),
		CALLS_TEST(what_it_may_not_ask_for_ends_it),
		CALLS_TEST(what_is_no_command_ends_it),
		CALLS_TEST(any_bytes_have_one_answer),
		CALLS_TEST(who_does_not_read_has_one_answer_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
