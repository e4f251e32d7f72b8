/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames of a client: hello, calls and their answers, notifications. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cleanup.h"
#include "proto/client/client_state.h"
#include "proto/client/error.h"
#include "proto/client/text.h"
#include "proto/clock.h"
#include "proto/limits.h"
#include "proto/verify.h"

#define TIMEOUT_DEFAULT_MS 300000 /* no method's own default is longer */

int client_end(struct postern_client *client, int negative_errno, struct postern_error *error)
{
	struct postern_error own = {0};

	if (client->phase == CLIENT_ENDED)
		return negative_errno;
	client->phase = CLIENT_ENDED;
	/* Every caller is told something, also when nobody else wants to know. */
	if (!error)
		error = &own;
	if (error->failure == POSTERN_DONE)
		error_set(error, POSTERN_ABSENT, -negative_errno, "the connection ended: %s",
			strerror(-negative_errno));
	LIST_EACH(&client->calls, node)
	{
		struct client_call *call = container_of(node, struct client_call, node);

		list_remove(&call->node);
		call->fn(call->ctx, error, NULL, 0, false);
		free(call);
	}
	client_end_rides(client, error);
	postern_error_clear(&own);
	return negative_errno;
}

static int broke(struct postern_client *client, const char *how, struct postern_error *error)
{
	error_set(error, POSTERN_PROTOCOL, 0, "the agent broke the protocol: %s", how);
	return client_end(client, -EPROTO, error);
}

static int queue(struct postern_client *client, const Postern__V1__ToAgent *message)
{
	return frame_append(&client->out, &message->base, client->agent_max_frame);
}

int client_say_hello(struct postern_client *client)
{
	Postern__V1__ToAgent to = POSTERN__V1__TO_AGENT__INIT;
	Postern__V1__Hello hello = POSTERN__V1__HELLO__INIT;

	hello.has_major = hello.has_minor = hello.has_max_frame = true;
	hello.major = POSTERN_MAJOR;
	hello.minor = POSTERN_MINOR;
	hello.max_frame = client->options.max_frame;
	hello.client = (char *)(client->options.name ? client->options.name : "libpostern");
	to.kind_case = POSTERN__V1__TO_AGENT__KIND_HELLO;
	to.hello = &hello;
	client->phase = CLIENT_HELLO;
	client->agent_max_frame = FRAME_HELLO_MAX;
	return queue(client, &to);
}

static int take_hello(struct postern_client *client, const Postern__V1__HelloReply *reply,
	struct postern_error *error)
{
	if (client->phase != CLIENT_HELLO)
		return broke(client, "a second hello", error);
	if (reply->major != POSTERN_MAJOR)
		return broke(client, "it speaks another version", error);
	client->peer_version = postern_escape_dup(reply->agent_version ? reply->agent_version : "",
		reply->agent_version ? strlen(reply->agent_version) : 0);
	client->peer_identity = postern_escape_dup(reply->identity ? reply->identity : "",
		reply->identity ? strlen(reply->identity) : 0);
	if (!client->peer_version || !client->peer_identity)
		return client_end(client, -ENOMEM, error);
	client->peer = (struct postern_peer){.major = reply->major,
		.minor = reply->minor,
		.agent_version = client->peer_version,
		.identity = client->peer_identity,
		.generation = reply->generation,
		.epoch = reply->epoch};
	if (reply->boot_id.len == sizeof(client->peer.boot_id))
		memcpy(client->peer.boot_id, reply->boot_id.data, sizeof(client->peer.boot_id));
	client->agent_max_frame = reply->max_frame && reply->max_frame < FRAME_CEILING
					  ? reply->max_frame
					  : FRAME_DEFAULT_MAX;
	client->reader.limit = client->options.max_frame;
	client->phase = CLIENT_READY;
	return 0;
}

static struct client_call *find_call(struct postern_client *client, uint64_t id)
{
	LIST_EACH(&client->calls, node)
	{
		struct client_call *call = container_of(node, struct client_call, node);

		if (call->id == id)
			return call;
	}
	return NULL;
}

static int take_response(struct postern_client *client, const Postern__V1__Response *response,
	struct postern_error *error)
{
	struct client_call *call = find_call(client, response->id);
	struct postern_error answer = {0};

	/* One that was given up may still answer: ids are never used twice. */
	if (!call)
		return response->id != 0 && response->id < client->next_id
			       ? 0
			       : broke(client, "an answer to no request", error);
	if (response->outcome_case == POSTERN__V1__RESPONSE__OUTCOME_RESULT) {
		if (!response->more)
			list_remove(&call->node);
		call->fn(call->ctx, NULL, response->result.data, response->result.len,
			response->more);
		if (!response->more)
			free(call);
		return 0;
	}
	if (response->outcome_case != POSTERN__V1__RESPONSE__OUTCOME_ERROR)
		return broke(client, "an answer with neither result nor error", error);
	list_remove(&call->node);
	error_from_agent(&answer, response->error);
	call->fn(call->ctx, &answer, NULL, 0, false);
	postern_error_clear(&answer);
	free(call);
	return 0;
}

/* Topics are names, so that they can be printed and looked up as they are. */
static bool topic_is_clean(const char *topic)
{
	return topic && topic[0] != '\0' && strlen(topic) < 64 &&
	       topic[strspn(topic, "abcdefghijklmnopqrstuvwxyz0123456789_.")] == '\0';
}

static int take_notification(struct postern_client *client, const Postern__V1__Notification *from,
	struct postern_error *error)
{
	struct postern_notification notification = {.subscription = from->subscription,
		.topic = from->topic,
		.epoch = from->epoch,
		.seq = from->seq,
		.time_ns = from->time_ns,
		.snapshot = from->snapshot,
		.payload = from->payload.data,
		.payload_len = from->payload.len};

	if (!topic_is_clean(from->topic))
		return broke(client, "a notification without a proper topic", error);
	client_notify(client, &notification);
	return 0;
}

static int take_goodbye(struct postern_client *client, const Postern__V1__Goodbye *goodbye,
	struct postern_error *error)
{
	enum postern_failure failure = POSTERN_PROTOCOL;
	char text[256] = "";

	if (goodbye->message)
		postern_escape(goodbye->message, strlen(goodbye->message), text, sizeof(text));
	if (goodbye->reason == POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_REFUSED)
		failure = POSTERN_REFUSED;
	else if (goodbye->reason == POSTERN__V1__GOODBYE_REASON__GOODBYE_REASON_STOPPING)
		failure = POSTERN_ABSENT;
	error_set(error, failure, 0, "the agent said goodbye: %s", text);
	return client_end(client, -ECONNABORTED, error);
}

int client_take_frame(
	struct postern_client *client, const uint8_t *body, size_t len, struct postern_error *error)
{
	Postern__V1__FromAgent *from;
	const char *why;

	arena_reset(&client->arena);
	from = (Postern__V1__FromAgent *)verify_unpack(&postern__v1__from_agent__descriptor, body,
		len, &verify_host_limits, &client->arena, &why);
	if (!from)
		return broke(client, why, error);
	switch (from->kind_case) {
	case POSTERN__V1__FROM_AGENT__KIND_HELLO_REPLY:
		return take_hello(client, from->hello_reply, error);
	case POSTERN__V1__FROM_AGENT__KIND_GOODBYE:
		return take_goodbye(client, from->goodbye, error);
	default:
		break;
	}
	if (client->phase != CLIENT_READY)
		return broke(client, "something came before its hello", error);
	if (from->kind_case == POSTERN__V1__FROM_AGENT__KIND_RESPONSE)
		return take_response(client, from->response, error);
	if (from->kind_case == POSTERN__V1__FROM_AGENT__KIND_NOTIFICATION)
		return take_notification(client, from->notification, error);
	if (from->kind_case == POSTERN__V1__FROM_AGENT__KIND_CHANNEL) {
		why = client_take_ride(client, from->channel);
		return why ? broke(client, why, error) : 0;
	}
	return broke(client, "an empty frame", error);
}

int postern_call_start(struct postern_client *client, const char *method, const uint8_t *params,
	size_t len, uint32_t timeout_ms, postern_reply_fn fn, void *ctx, uint64_t *ret_id)
{
	Postern__V1__ToAgent to = POSTERN__V1__TO_AGENT__INIT;
	Postern__V1__Request request = POSTERN__V1__REQUEST__INIT;
	uint64_t wait_ms =
		(timeout_ms ? timeout_ms : TIMEOUT_DEFAULT_MS) + client->options.call_grace_ms;
	struct client_call *call;
	int r;

	if (client->phase != CLIENT_READY)
		return -ENOTCONN;
	call = calloc(1, sizeof(*call));
	if (!call)
		return -ENOMEM;
	request.has_id = request.has_params = true;
	request.id = client->next_id;
	request.method = (char *)method;
	request.params.data = (uint8_t *)params;
	request.params.len = len;
	request.has_timeout_ms = timeout_ms != 0;
	request.timeout_ms = timeout_ms;
	to.kind_case = POSTERN__V1__TO_AGENT__KIND_REQUEST;
	to.request = &request;
	r = queue(client, &to);
	if (r < 0) {
		free(call);
		return r;
	}
	*call = (struct client_call){.id = client->next_id++,
		.deadline = monotonic_ns() + wait_ms * NSEC_PER_MSEC,
		.fn = fn,
		.ctx = ctx};
	list_append(&client->calls, &call->node);
	*ret_id = call->id;
	return 0;
}

int postern_call_cancel(struct postern_client *client, uint64_t id)
{
	Postern__V1__ToAgent to = POSTERN__V1__TO_AGENT__INIT;
	Postern__V1__Cancel cancel = POSTERN__V1__CANCEL__INIT;

	if (client->phase != CLIENT_READY)
		return -ENOTCONN;
	cancel.has_id = true;
	cancel.id = id;
	to.kind_case = POSTERN__V1__TO_AGENT__KIND_CANCEL;
	to.cancel = &cancel;
	return queue(client, &to);
}
