/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inside of a client, shared by its own files only. */
#pragma once

#include "envelope.pb-c.h"
#include "proto/arena.h"
#include "proto/buffer.h"
#include "proto/client/client.h"
#include "proto/client/stream.h"
#include "proto/client/subscribe.h"
#include "proto/frame.h"
#include "proto/list.h"

enum client_phase {
	CLIENT_CONNECTING,
	CLIENT_HELLO, /* Hello was sent */
	CLIENT_READY,
	CLIENT_ENDED,
};

struct client_call {
	struct list_node node;
	uint64_t id;
	uint64_t deadline; /* CLOCK_MONOTONIC ns; given up then */
	postern_reply_fn fn;
	void *ctx;
};

struct postern_client {
	struct stream stream;
	enum client_phase phase;
	struct postern_options options;
	uint64_t deadline; /* of connect and hello */
	struct frame_reader reader;
	struct buffer out;
	struct arena arena; /* of the frame at hand */
	size_t agent_max_frame;
	struct postern_peer peer;
	char *peer_version, *peer_identity; /* owned */
	struct list calls;
	uint64_t next_id;
	struct list subscriptions;
	struct list rides;
};

/* Ends the connection: every open call is told, with *error. Returns negative_errno. */
int client_end(struct postern_client *client, int negative_errno, struct postern_error *error);

/* Takes one frame. 0, or -errno through client_end(). */
int client_take_frame(struct postern_client *client, const uint8_t *body, size_t len,
	struct postern_error *error);

/* Tells the subscription that it belongs to; nobody, where that has ended. */
void client_notify(struct postern_client *client, const struct postern_notification *notification);

void client_drop_subscriptions(struct postern_client *client);

/* A part of a channel that rides in the frames. NULL, or how the agent broke the protocol. */
const char *client_take_ride(struct postern_client *client, const Postern__V1__ChannelData *from);

/* The connection has ended: those that are open are told. */
void client_end_rides(struct postern_client *client, const struct postern_error *error);

/* Frees them without a word. */
void client_drop_rides(struct postern_client *client);

/* ---- blocking.c ---- */

/* Tells why a call could not be begun (-errno), and returns that. */
int client_fail_start(struct postern_error *error, const char *method, int r);

/* Dispatches until *done, 0, or until the connection has ended: -errno, and every call was told. */
int client_run_until(struct postern_client *client, const bool *done, struct postern_error *error);

/* ---- call.c ---- */

/* Queues a Hello. */
int client_say_hello(struct postern_client *client);
