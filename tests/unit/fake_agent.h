/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client at one end of a socket pair and, at the other, an agent that the test plays by hand. */
#pragma once

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "messages.h"
#include "proto/client/client_state.h"
#include "proto/frame.h"
#include "proto/limits.h"

struct fake {
	struct postern_client *client;
	struct postern_error error;
	int fd; /* the agent's end */
	struct frame_reader reader;
	Postern__V1__ToAgent *said; /* the last frame that fake_take() took */

	/* What the client's functions were told. */
	unsigned int replies, errors, notifications;
	bool more;
	char result[64];
	struct postern_error answer; /* without .packed */
	struct postern_notification notification;
	char topic[64];
};

/* Dispatches until nothing can be done any more. 0, or what the dispatch said. */
static inline int fake_pump(struct fake *fake)
{
	for (int i = 0; i < 100000; i++) {
		struct pollfd wait = {.fd = postern_client_fd(fake->client),
			.events = postern_client_events(fake->client)};
		int r;

		if (poll(&wait, 1, 0) == 0)
			return 0;
		r = postern_client_dispatch(fake->client, &fake->error);
		if (r < 0)
			return r;
	}
	fail_msg("the client never rests");
	return 0;
}

static inline void fake_start(struct fake *fake, const struct postern_options *options)
{
	int fds[2];

	*fake = (struct fake){.reader.limit = FRAME_CEILING};
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	fake->fd = fds[1];
	assert_int_equal(postern_client_start_fd(fds[0], options, &fake->client, &fake->error), 0);
}

static inline void fake_hang_up(struct fake *fake)
{
	(void)close(fake->fd);
	fake->fd = -1;
}

static inline void fake_stop(struct fake *fake)
{
	postern_client_close(fake->client);
	postern_error_clear(&fake->error);
	frame_reader_done(&fake->reader);
	if (fake->said)
		postern__v1__to_agent__free_unpacked(fake->said, NULL);
	if (fake->fd >= 0)
		(void)close(fake->fd);
}

static inline void fake_raw(struct fake *fake, const void *bytes, size_t n)
{
	assert_int_equal(send(fake->fd, bytes, n, MSG_NOSIGNAL), n);
}

#define FAKE_RAW(fake, bytes) fake_raw(fake, bytes, sizeof(bytes) - 1)

static inline void fake_send(struct fake *fake, const Postern__V1__FromAgent *from)
{
	struct buffer out = {0};

	assert_int_equal(frame_append(&out, &from->base, FRAME_CEILING), 0);
	fake_raw(fake, buffer_front(&out), buffer_len(&out));
	buffer_clear(&out);
}

static inline void fake_hello_of(struct fake *fake, uint32_t major, uint32_t max_frame)
{
	Postern__V1__FromAgent from = POSTERN__V1__FROM_AGENT__INIT;
	Postern__V1__HelloReply reply = POSTERN__V1__HELLO_REPLY__INIT;

	reply.has_major = reply.has_max_frame = reply.has_generation = reply.has_boot_id = true;
	reply.major = major;
	reply.max_frame = max_frame;
	reply.generation = UINT64_C(0xfedcba9876543210);
	reply.boot_id = (ProtobufCBinaryData){16, (uint8_t *)"0123456789abcdef"};
	reply.agent_version = (char *)"9.9\x1b[1m";
	reply.identity = (char *)"host";
	from.kind_case = POSTERN__V1__FROM_AGENT__KIND_HELLO_REPLY;
	from.hello_reply = &reply;
	fake_send(fake, &from);
}

/* A client that is through with its hello. */
static inline void fake_ready(struct fake *fake, const struct postern_options *options)
{
	fake_start(fake, options);
	fake_hello_of(fake, POSTERN_MAJOR, 4096);
	assert_int_equal(fake_pump(fake), 0);
	assert_true(postern_client_ready(fake->client));
}

/* The next frame of the client; it is there already. */
static inline const Postern__V1__ToAgent *fake_take(struct fake *fake)
{
	const uint8_t *body;
	size_t len;

	while (frame_next(&fake->reader, &body, &len) == 0)
		assert_true(frame_read(&fake->reader, fake->fd) > 0);
	if (fake->said)
		postern__v1__to_agent__free_unpacked(fake->said, NULL);
	fake->said = postern__v1__to_agent__unpack(NULL, len, body);
	assert_non_null(fake->said);
	return fake->said;
}

static inline void fake_result(struct fake *fake, uint64_t id, const char *result, bool more)
{
	Postern__V1__FromAgent from = POSTERN__V1__FROM_AGENT__INIT;
	Postern__V1__Response response = POSTERN__V1__RESPONSE__INIT;

	response.has_id = response.has_more = true;
	response.id = id;
	response.more = more;
	response.outcome_case = POSTERN__V1__RESPONSE__OUTCOME_RESULT;
	response.result = (ProtobufCBinaryData){strlen(result), (uint8_t *)result};
	from.kind_case = POSTERN__V1__FROM_AGENT__KIND_RESPONSE;
	from.response = &response;
	fake_send(fake, &from);
}

static inline void fake_error(struct fake *fake, uint64_t id, Postern__V1__Error *error)
{
	Postern__V1__FromAgent from = POSTERN__V1__FROM_AGENT__INIT;
	Postern__V1__Response response = POSTERN__V1__RESPONSE__INIT;

	response.has_id = true;
	response.id = id;
	response.outcome_case = POSTERN__V1__RESPONSE__OUTCOME_ERROR;
	response.error = error;
	from.kind_case = POSTERN__V1__FROM_AGENT__KIND_RESPONSE;
	from.response = &response;
	fake_send(fake, &from);
}

static inline void fake_goodbye(struct fake *fake, Postern__V1__GoodbyeReason reason, char *message)
{
	Postern__V1__FromAgent from = POSTERN__V1__FROM_AGENT__INIT;
	Postern__V1__Goodbye goodbye = POSTERN__V1__GOODBYE__INIT;

	goodbye.has_reason = true;
	goodbye.reason = reason;
	goodbye.message = message;
	from.kind_case = POSTERN__V1__FROM_AGENT__KIND_GOODBYE;
	from.goodbye = &goodbye;
	fake_send(fake, &from);
}

static inline void fake_notify_of(struct fake *fake, uint64_t subscription, char *topic)
{
	Postern__V1__FromAgent from = POSTERN__V1__FROM_AGENT__INIT;
	Postern__V1__Notification notification = POSTERN__V1__NOTIFICATION__INIT;

	notification.has_subscription = notification.has_seq = notification.has_payload = true;
	notification.subscription = subscription;
	notification.seq = 17;
	notification.payload = (ProtobufCBinaryData){2, (uint8_t *)"pl"};
	notification.topic = topic;
	from.kind_case = POSTERN__V1__FROM_AGENT__KIND_NOTIFICATION;
	from.notification = &notification;
	fake_send(fake, &from);
}

static inline void fake_notify(struct fake *fake, char *topic)
{
	fake_notify_of(fake, 3, topic);
}

/* postern_reply_fn */
static inline void fake_on_reply(
	void *ctx, const struct postern_error *error, const uint8_t *result, size_t len, bool more)
{
	struct fake *fake = ctx;

	if (error) {
		fake->errors++;
		fake->answer = *error;
		fake->answer.packed = NULL;
		assert_false(more);
		return;
	}
	fake->replies++;
	fake->more = more;
	assert_true(len < sizeof(fake->result));
	if (len > 0)
		memcpy(fake->result, result, len);
	fake->result[len] = '\0';
}

/* Starts a call whose answer goes into fake; the agent takes the request. Returns its id. */
static inline uint64_t fake_call(struct fake *fake, const char *method, uint32_t timeout_ms)
{
	const Postern__V1__ToAgent *to;
	uint64_t id;

	assert_int_equal(postern_call_start(fake->client, method, (const uint8_t *)"par", 3,
				 timeout_ms, fake_on_reply, fake, &id),
		0);
	assert_int_equal(fake_pump(fake), 0);
	do
		to = fake_take(fake);
	while (to->kind_case == POSTERN__V1__TO_AGENT__KIND_HELLO);
	assert_int_equal(to->kind_case, POSTERN__V1__TO_AGENT__KIND_REQUEST);
	assert_int_equal(to->request->id, id);
	assert_string_equal(to->request->method, method);
	return id;
}

/* The client has ended, for this reason. */
#define ENDED(fake, why)                                                                           \
	do {                                                                                       \
		assert_true(fake_pump(fake) < 0);                                                  \
		if ((fake)->error.failure != (why))                                                \
			fail_msg("failure %d: %s", (fake)->error.failure, (fake)->error.message);  \
		assert_true((fake)->error.message[0] != '\0');                                     \
		assert_int_equal(                                                                  \
			postern_client_dispatch((fake)->client, &(fake)->error), -ENOTCONN);       \
	} while (0)
