/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/client/ride.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channels.pb-c.h"
#include "proto/cleanup.h"
#include "proto/client/client_state.h"
#include "proto/client/error.h"
#include "proto/encode.h"
#include "proto/limits.h"
#include "proto/verify.h"

#define PIECE      (32u << 10) /* of one frame to the agent */
#define FRAME_HEAD 64          /* of a frame, besides its bytes */

struct postern_ride {
	struct list_node node;
	struct postern_client *client;
	postern_ride_fn fn; /* NULL: closed by its owner, while its call is open */
	void *ctx;
	bool open;
	uint64_t number; /* of the channel, once it is open */
	uint64_t room;   /* bytes that may be sent */
	uint32_t given;  /* bytes that the agent may still send */
	bool ended;      /* we send no more */
	bool heard_end;  /* nor does the agent */
};

static void ride_free(struct postern_ride *ride)
{
	list_remove(&ride->node);
	free(ride);
}

/* The last that its owner hears. */
static void closed(struct postern_ride *ride, const struct postern_error *error)
{
	list_remove(&ride->node);
	if (ride->fn)
		ride->fn(ride->ctx, ride, POSTERN_RIDE_CLOSED, NULL, 0, error);
	free(ride);
}

static int say(struct postern_ride *ride, Postern__V1__ChannelData *data)
{
	Postern__V1__ToAgent to = POSTERN__V1__TO_AGENT__INIT;

	if (ride->client->phase != CLIENT_READY)
		return -ENOTCONN;
	data->has_channel = true;
	data->channel = ride->number;
	to.kind_case = POSTERN__V1__TO_AGENT__KIND_CHANNEL;
	to.channel = data;
	return frame_append(&ride->client->out, &to.base, ride->client->agent_max_frame);
}

static int say_closed(struct postern_ride *ride)
{
	Postern__V1__ChannelData data = POSTERN__V1__CHANNEL_DATA__INIT;

	data.has_closed = data.closed = true;
	return say(ride, &data);
}

/* The answer to channels.open. */
static void on_reply(
	void *ctx, const struct postern_error *error, const uint8_t *result, size_t len, bool more)
{
	struct postern_ride *ride = ctx;
	const Postern__V1__ChannelsOpenReply *reply;
	struct postern_error own = {0};
	const char *why;

	(void)more;
	if (error) {
		closed(ride, error);
		return;
	}
	reply = (const Postern__V1__ChannelsOpenReply *)verify_unpack(
		&postern__v1__channels_open_reply__descriptor, result, len, &verify_host_limits,
		&ride->client->arena, &why);
	if (!reply || reply->channel == 0) {
		error_set(&own, POSTERN_PROTOCOL, 0, "the agent broke the protocol: no channel");
		closed(ride, &own);
		return;
	}
	ride->number = reply->channel;
	ride->room = reply->credit;
	ride->open = true;
	if (ride->fn) {
		ride->fn(ride->ctx, ride, POSTERN_RIDE_OPEN, NULL, 0, NULL);
		return;
	}
	(void)say_closed(ride);
	ride_free(ride);
}

int postern_ride_start(struct postern_client *client, const uint8_t *token, postern_ride_fn fn,
	void *ctx, struct postern_ride **ret_ride)
{
	Postern__V1__ChannelsOpenRequest request = POSTERN__V1__CHANNELS_OPEN_REQUEST__INIT;
	struct postern_ride *ride = calloc(1, sizeof(*ride));
	AUTO_FREE uint8_t *params = NULL;
	uint64_t id;
	size_t len;
	int r;

	if (!ride)
		return -ENOMEM;
	request.has_token = request.has_credit = true;
	request.token = (ProtobufCBinaryData){.data = (uint8_t *)token, .len = POSTERN_TOKEN_SIZE};
	request.credit = RIDE_WINDOW;
	params = encode_new(&request.base, &len);
	*ride = (struct postern_ride){.client = client, .fn = fn, .ctx = ctx, .given = RIDE_WINDOW};
	r = params ? postern_call_start(
			     client, "channels.open", params, len, 0, on_reply, ride, &id)
		   : -ENOMEM;
	if (r < 0) {
		free(ride);
		return r;
	}
	list_append(&client->rides, &ride->node);
	*ret_ride = ride;
	return 0;
}

size_t postern_ride_room(const struct postern_ride *ride)
{
	return ride->open && !ride->ended ? (size_t)ride->room : 0;
}

ssize_t postern_ride_send(struct postern_ride *ride, const uint8_t *bytes, size_t len)
{
	size_t sent = 0, most = postern_ride_room(ride);
	size_t largest = ride->client->agent_max_frame - FRAME_HEAD;

	if (ride->ended)
		return -EPIPE;
	len = len < most ? len : most;
	largest = largest < PIECE ? largest : PIECE;
	while (sent < len) {
		Postern__V1__ChannelData data = POSTERN__V1__CHANNEL_DATA__INIT;
		size_t piece = len - sent < largest ? len - sent : largest;
		int r;

		data.has_data = true;
		data.data = (ProtobufCBinaryData){.data = (uint8_t *)bytes + sent, .len = piece};
		r = say(ride, &data);
		if (r < 0)
			return sent > 0 ? (ssize_t)sent : r;
		ride->room -= piece;
		sent += piece;
	}
	return (ssize_t)sent;
}

int postern_ride_end(struct postern_ride *ride)
{
	Postern__V1__ChannelData data = POSTERN__V1__CHANNEL_DATA__INIT;

	if (!ride->open)
		return -ENOTCONN;
	if (ride->ended)
		return 0;
	ride->ended = true;
	data.has_end = data.end = true;
	return say(ride, &data);
}

void postern_ride_close(struct postern_ride *ride)
{
	if (!ride)
		return;
	/* Its call still has it. */
	if (!ride->open) {
		ride->fn = NULL;
		return;
	}
	(void)say_closed(ride);
	ride_free(ride);
}

static struct postern_ride *find(const struct postern_client *client, uint64_t number)
{
	LIST_EACH(&client->rides, node)
	{
		struct postern_ride *ride = container_of(node, struct postern_ride, node);

		if (ride->open && ride->number == number)
			return ride;
	}
	return NULL;
}

/* Its owner is told of them now, so they count as taken. */
static void give_back(struct postern_ride *ride)
{
	Postern__V1__ChannelData data = POSTERN__V1__CHANNEL_DATA__INIT;

	if (ride->given > RIDE_WINDOW / 4 * 3)
		return;
	data.has_credit = true;
	data.credit = RIDE_WINDOW - ride->given;
	if (say(ride, &data) == 0)
		ride->given = RIDE_WINDOW;
}

/* The function may have closed it: each step looks for it again. */
static void tell(struct postern_client *client, uint64_t number, enum postern_ride_event event,
	const ProtobufCBinaryData *data)
{
	struct postern_ride *ride = find(client, number);

	if (ride)
		ride->fn(ride->ctx, ride, event, data ? data->data : NULL, data ? data->len : 0,
			NULL);
}

const char *client_take_ride(struct postern_client *client, const Postern__V1__ChannelData *from)
{
	struct postern_ride *ride = find(client, from->channel);

	/* One that we have closed, or whose answer we did not wait for. */
	if (!ride)
		return NULL;
	if (from->data.len > ride->given)
		return "more bytes of a channel than its credit";
	if (ride->heard_end && from->data.len > 0)
		return "bytes of a channel behind its end";
	ride->given -= (uint32_t)from->data.len;
	ride->room += from->credit;
	ride->heard_end |= from->end;
	if (from->data.len > 0 && !ride->heard_end)
		give_back(ride);
	if (from->data.len > 0)
		tell(client, from->channel, POSTERN_RIDE_DATA, &from->data);
	if (from->credit > 0)
		tell(client, from->channel, POSTERN_RIDE_ROOM, NULL);
	if (from->end)
		tell(client, from->channel, POSTERN_RIDE_END, NULL);
	ride = find(client, from->channel);
	if (from->closed && ride)
		closed(ride, NULL);
	return NULL;
}

static struct postern_ride *first_open(const struct postern_client *client)
{
	LIST_EACH(&client->rides, node)
	{
		struct postern_ride *ride = container_of(node, struct postern_ride, node);

		if (ride->open)
			return ride;
	}
	return NULL;
}

/* One that is told may close another. Their memory goes with the client's. */
void client_end_rides(struct postern_client *client, const struct postern_error *error)
{
	struct postern_ride *ride;

	while ((ride = first_open(client))) {
		postern_ride_fn fn = take_ptr(ride->fn);

		ride->open = false;
		fn(ride->ctx, ride, POSTERN_RIDE_CLOSED, NULL, 0, error);
	}
}

void client_drop_rides(struct postern_client *client)
{
	LIST_EACH(&client->rides, node)
	ride_free(container_of(node, struct postern_ride, node));
}
