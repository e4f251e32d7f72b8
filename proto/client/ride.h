/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A channel that an answer of the agent has granted, inside the frames of the client's own
 * connection: for a client that was started with a descriptor, or whose address takes one
 * connection only. channel.h is faster where there can be another.
 */
#pragma once

#include <sys/types.h>

#include "proto/client/channel.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

struct postern_ride;

enum postern_ride_event {
	POSTERN_RIDE_OPEN,   /* the token was taken: bytes can be sent */
	POSTERN_RIDE_DATA,   /* bytes have come */
	POSTERN_RIDE_ROOM,   /* more can be sent than before */
	POSTERN_RIDE_END,    /* the other side sends no more; we still may */
	POSTERN_RIDE_CLOSED, /* it is over; the ride is freed when the function returns */
};

/*
 * Something has happened, out of postern_client_dispatch(). bytes[0..len), borrowed, are those of
 * POSTERN_RIDE_DATA. error, borrowed, is NULL, or why it was closed: the token was not taken, or
 * the connection has ended. The ride may be used in here, and closed.
 */
typedef void (*postern_ride_fn)(void *ctx, struct postern_ride *ride, enum postern_ride_event event,
	const uint8_t *bytes, size_t len, const struct postern_error *error);

/*
 * Presents a token (POSTERN_TOKEN_SIZE bytes), within 10 s of the answer that granted it. The agent
 * sends at most 256 KiB that fn was not told of yet. Does not block. 0 with *ret_ride, which lives
 * until POSTERN_RIDE_CLOSED or postern_ride_close(); or -errno as postern_call_start() does.
 */
int postern_ride_start(struct postern_client *client, const uint8_t *token, postern_ride_fn fn,
	void *ctx, struct postern_ride **ret_ride);

/* How many bytes can be sent now. */
size_t postern_ride_room(const struct postern_ride *ride);

/* Queues bytes[0..len), as many as there is room for (copied). How many, maybe 0; -EPIPE after
 * postern_ride_end(), or -errno as postern_call_start() does. Does not block. */
ssize_t postern_ride_send(struct postern_ride *ride, const uint8_t *bytes, size_t len);

/* We send no more; what the other side sends still comes. 0 or -errno. Does not block. */
int postern_ride_end(struct postern_ride *ride);

/* Ends it in both directions and frees it; fn is not called any more. NULL is allowed. Does not
 * block. */
void postern_ride_close(struct postern_ride *ride);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
