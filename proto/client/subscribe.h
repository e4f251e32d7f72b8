/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Subscriptions to the guest's events, part of a client (client.h). Any number may stand on one
 * connection, each with a function of its own. They end with the connection.
 */
#pragma once

#include "proto/client/client.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* A place in the order of the guest's events. */
struct postern_cursor {
	uint64_t epoch; /* another one: the agent's watcher began anew, and nothing can be replayed
			 */
	uint64_t seq;
};

struct postern_notification {
	uint64_t subscription;
	const char *topic; /* checked: [a-z0-9_.] only */
	uint64_t epoch, seq;
	uint64_t time_ns;
	bool snapshot;
	const uint8_t *payload; /* borrowed during the callback */
	size_t payload_len;
};

typedef void (*postern_notify_fn)(void *ctx, const struct postern_notification *notification);

enum postern_condition {
	POSTERN_IF_LOAD1 = 1,
	POSTERN_IF_MEMORY = 2,
	POSTERN_IF_CPU_PRESSURE = 4,
	POSTERN_IF_MEMORY_PRESSURE = 8,
	POSTERN_IF_IO_PRESSURE = 16,
};

/* Conditions for notify.system_load; one that holds is enough. */
struct postern_threshold {
	unsigned int which; /* enum postern_condition, or-ed; 0: none, each interval is told */
	double load1_above; /* 1-minute load average */
	uint64_t memory_available_below; /* bytes */
	double cpu_pressure_above, memory_pressure_above,
		io_pressure_above; /* percent, over 10 s */
};

/* Zero means the default, throughout. */
struct postern_subscribe {
	const char *const *topics; /* patterns: "notify.mounts.*"; at least one */
	size_t n_topics;
	bool snapshot;        /* the current state first */
	uint32_t interval_ms; /* between load events, at least 1000; 0: the sampler's. Also between
			       * notify.heartbeat.agent; 0: none */
	struct postern_threshold threshold;
	const struct postern_cursor *after; /* go on behind this event; not with snapshot */
	uint64_t reserved[4];               /* zero */
};

struct postern_subscription {
	uint64_t id;
	struct postern_cursor cursor; /* what is told comes behind it; a snapshot is of it */
};

/* How it began; error is NULL where it did. Both are borrowed. */
typedef void (*postern_subscribed_fn)(void *ctx, const struct postern_error *error,
	const struct postern_subscription *subscription);

/*
 * Subscribes. options is copied. fn is called with ctx for each event (out of
 * postern_client_dispatch()); begun, which may be NULL, once before that with the same ctx. Returns
 * 0, or -errno as postern_call_start() does. Does not block.
 */
int postern_subscribe_start(struct postern_client *client, const struct postern_subscribe *options,
	postern_notify_fn fn, postern_subscribed_fn begun, void *ctx);

/* Ends it: its function is not called any more from here on, and the agent is told. 0; -ENOENT for
 * an id that is none, or -errno as postern_call_start() does. Does not block. */
int postern_unsubscribe(struct postern_client *client, uint64_t id);

/* The blocking form of postern_subscribe_start(). Events come out of postern_client_wait().
 * ret_subscription may be NULL. 0, or -errno with *error: -EREMOTEIO when the agent refused. */
int postern_subscribe(struct postern_client *client, const struct postern_subscribe *options,
	postern_notify_fn fn, void *ctx, struct postern_subscription *ret_subscription,
	struct postern_error *error);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
