/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The watcher: sees mounts, devices and load change, and owns the order of events. Unprivileged, in
 * the guest's own namespaces. It keeps the last events in a bounded ring; each subscription is a
 * place in that ring, so one that reads slowly costs nothing and is told what it missed.
 */
#pragma once

#include <libmount/libmount.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/events.h"
#include "agent/history.h"
#include "agent/inner.h"
#include "agent/row.h"
#include "agent/watch/heartbeats.h"
#include "agent/watch/property_log.h"
#include "agent/watch/store.h"
#include "messages.h"
#include "proto/buffer.h"
#include "proto/cleanup.h"
#include "proto/limits.h"
#include "proto/list.h"
#include "proto/loop.h"

struct event {
	uint64_t seq;
	uint64_t time_ns; /* wall clock, as told */
	uint64_t at_ns;   /* CLOCK_MONOTONIC */
	enum topic topic;
	uint64_t concerns; /* mask of the topics whose subscribers are told */
	uint32_t uid;      /* of the guest's users only this one and root are; EVERYBODY: all are */
	uint8_t *payload;  /* owned */
	size_t len;
	struct load_sample sample; /* TOPIC_system_load: what thresholds look at */
};

/* The last events, oldest dropped first. */
struct ring {
	uint64_t epoch;
	uint64_t next;   /* seq of the next event; the first is 1 */
	uint64_t oldest; /* seq of the oldest one kept; next when there is none */
	size_t bytes;    /* of payloads */
	struct event
		*events; /* EVENT_RING_ENTRIES, by seq modulo; allocated with the first event */
};

#define EVERYBODY UINT32_MAX

#define NETWORK_LINKS_MAX 32 /* that are named in one event */

struct nl_sock;
struct snapshot;

struct watch {
	struct loop loop;
	struct watch_facts facts;
	uint64_t started_ns;     /* CLOCK_MONOTONIC */
	int fds[WATCH_FD_COUNT]; /* owned; -EBADF: not there */
	struct loop_io broker_io;
	struct ring ring;
	struct list subscribers;

	struct libmnt_table *mounts; /* as last told */
	struct loop_io mounts_io;
	struct loop_timer mounts_retry;
	bool mounts_late; /* the last look failed */

	struct nl_sock *uevents;
	struct loop_io uevents_io;

	struct nl_sock *network; /* NULL: nobody may be told yet */
	struct loop_io network_io;
	struct loop_timer network_settle; /* armed while something changed is not told yet */
	Postern__V1__NotifyNetworkChanged changed; /* ... and this is it */
	uint32_t changed_links[NETWORK_LINKS_MAX];
	bool changed_any; /* it is not known of which links, or they are too many */

	struct loop_io pressure_io[2]; /* some, full */

	struct loop_timer sampler;
	struct store store;
	struct property_log log;
	struct loop_timer expiry;

	struct heartbeats heartbeats;
	struct loop_timer late;
	struct loop_timer agent_beat;
	uint64_t agent_beat_ns; /* CLOCK_MONOTONIC, of the last one */

	uint64_t history_due_ns; /* CLOCK_MONOTONIC: the next sample that goes into the history */
	uint64_t save_due_ns;
};

struct subscription {
	struct events_command wish; /* subscription 0: free slot */
	uint64_t next;              /* seq to be looked at next */
	uint64_t load_sent_ns;      /* CLOCK_MONOTONIC of the last load event sent */
	uint64_t beat_sent_ns;      /* the same of the agent's heartbeat */
	bool holds;                 /* a threshold held at the last sample */
};

/* A session, and whom it serves. */
struct subscriber {
	struct list_node node;
	struct watch *watch;
	int fd; /* owned */
	struct loop_io io;
	struct caller caller;
	uint64_t allowed; /* mask of enum topic */
	uint8_t methods[METHOD_COUNT];
	struct subscription subscriptions[SUBSCRIPTIONS_MAX];
	struct buffer answer; /* of the last call, as far as it is not sent yet: until then no other
			       * command is taken */
	uint64_t answer_serial;
};

#define TOPIC_BIT(topic) (UINT64_C(1) << TOPIC_##topic)

/* ---- ring.c ---- */

int ring_init(struct ring *ring);

/* Adds an event with a packed payload (copied) and wakes the subscribers. Lost without memory,
 * which leaves a gap. */
void ring_add(struct watch *watch, enum topic topic, const uint8_t *payload, size_t len,
	const struct load_sample *sample);

/* The same for a message. */
void ring_add_message(struct watch *watch, enum topic topic, const ProtobufCMessage *message,
	const struct load_sample *sample);

/* The same for a message that of the guest's users only root and this one may see. */
void ring_add_private(
	struct watch *watch, enum topic topic, const ProtobufCMessage *message, uint32_t uid);

/* Events of these topics (a mask) were lost, it is not known how many: a gap for who wants them. */
void ring_add_gap(struct watch *watch, uint64_t topics);

/* The event of this number, NULL where it is gone. */
const struct event *ring_get(const struct ring *ring, uint64_t seq);

/* ---- subscribers.c ---- */

/* Takes a pair's end (owned), for these topics and methods. */
void subscriber_add(struct watch *watch, int fd, const struct subscriber_facts *facts);

/* Sends what is new to everybody. */
void subscribers_pump(struct watch *watch);

/* The shortest interval that somebody wants load events at, ns; 0: nobody does. */
uint64_t subscribers_load_interval(const struct watch *watch);

/* The same for the agent's heartbeat. */
uint64_t subscribers_beat_interval(const struct watch *watch);

/* ---- calls.c ---- */

/* Runs a method for the subscriber; its answer is in subscriber->answer. 0, or -errno where the
 * session has asked for what it may not have, or there is no memory. */
int call_take(struct subscriber *subscriber, const struct events_command *command,
	const uint8_t *params, size_t len);

/* ---- properties.c ---- */

void properties_start(struct watch *watch);

/* What the store goes by. */
struct store_now properties_now(void);

/* Takes out those whose time is over, and looks when the next one's will be. */
void properties_expire(struct watch *watch);

/* One has changed; by: who did it, NULL: nobody. */
void properties_changed(struct watch *watch, const struct property *property,
	Postern__V1__PropertyChange change, const char *by);

/* One as the protocol has it; borrows key and value. */
void property_to_message(const struct property *property, Postern__V1__Property *ret_message);

/* The connection is over. */
void properties_disconnect(struct watch *watch, const void *connection);

/* Adds each that the caller may see. */
void properties_snapshot(
	struct watch *watch, const struct caller *caller, struct snapshot *snapshot);

/* ---- heartbeat.c ---- */

/* Looks who is late, and when the next one will be. */
void heartbeat_check(struct watch *watch);

/* Looks again at when the agent's next beat is due. */
void heartbeat_schedule(struct watch *watch);

/* One that was missed for so long is there again. */
void heartbeat_recovered(
	struct watch *watch, const struct heartbeat *heartbeat, uint64_t silent_ns);

/* The connection is over. */
void heartbeat_disconnect(struct watch *watch, const void *connection);

/* Adds each that is missed, and that the caller may see. */
void heartbeat_snapshot(
	struct watch *watch, const struct caller *caller, struct snapshot *snapshot);

/* ---- mounts.c ---- */

int mounts_start(struct watch *watch);

/* Adds each mount as last told. */
void mounts_snapshot(struct watch *watch, struct snapshot *snapshot);

/* ---- shares.c ---- */

/* Adds each recorded share that is mounted. */
void shares_snapshot(struct watch *watch, struct snapshot *snapshot);

/* ---- uevents.c ---- */

int uevents_start(struct watch *watch);

/* Text as a field that is there; borrowed. */
ProtobufCBinaryData uevents_text(char *text, protobuf_c_boolean *ret_has);

/* Takes one KEY=VALUE of a uevent (both kept as they are, '=' becomes NUL). */
void uevents_take_pair(char *pair, Postern__V1__Device *device, const char **action);

/* ---- network.c ---- */

/* Begins to tell changes of the network, if it was not begun yet; a guest without rtnetlink goes
 * without. */
void network_start(struct watch *watch);

/* ---- pressure.c ---- */

/* The same for pressure on memory. */
void pressure_start(struct watch *watch);

/* ---- devices.c ---- */

/* Adds each device that sysfs shows, of the subsystems whose events are told. */
void devices_snapshot(struct snapshot *snapshot);

/* ---- snapshot.c ---- */

/*
 * The current state of the topics that have one, as far as the subscriber may see it, as a file of
 * packets (events.h) that the session reads at its peer's pace; taken at one point with the ring's
 * cursor. *ret_fd is the caller's. 0 or -errno.
 */
int snapshot_take(const struct subscriber *subscriber, uint64_t topics, int *ret_fd);

/* Adds one event; called by those who know the state. */
void snapshot_add(struct snapshot *snapshot, enum topic topic, const ProtobufCMessage *message);

/* ---- sampler.c ---- */

/* Adds the last sample. */
void sampler_snapshot(struct snapshot *snapshot);

int sampler_start(struct watch *watch);

/* Looks again at when the next sample is due. */
void sampler_schedule(struct watch *watch);
