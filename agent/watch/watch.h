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
#include "messages.h"
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

#define NETWORK_LINKS_MAX 32 /* that are named in one event */

struct nl_sock;
struct snapshot;

struct watch {
	struct loop loop;
	struct watch_facts facts;
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
	uint64_t history_due_ns; /* CLOCK_MONOTONIC: the next sample that goes into the history */
	uint64_t save_due_ns;
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

/* Events of these topics (a mask) were lost, it is not known how many: a gap for who wants them. */
void ring_add_gap(struct watch *watch, uint64_t topics);

/* The event of this number, NULL where it is gone. */
const struct event *ring_get(const struct ring *ring, uint64_t seq);

/* ---- subscribers.c ---- */

/* Takes a pair's end (owned) for the topics of the mask. */
void subscriber_add(struct watch *watch, int fd, uint64_t allowed);

/* Sends what is new to everybody. */
void subscribers_pump(struct watch *watch);

/* The shortest interval that somebody wants load events at, ns; 0: nobody does. */
uint64_t subscribers_load_interval(const struct watch *watch);

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
 * The current state of the topics that have one, as a file of packets (events.h) that the session
 * reads at its peer's pace; taken at one point with the ring's cursor. *ret_fd is the caller's. 0
 * or -errno.
 */
int snapshot_take(struct watch *watch, uint64_t topics, int *ret_fd);

/* Adds one event; called by those who know the state. */
void snapshot_add(struct snapshot *snapshot, enum topic topic, const ProtobufCMessage *message);

/* ---- sampler.c ---- */

/* Adds the last sample. */
void sampler_snapshot(struct snapshot *snapshot);

int sampler_start(struct watch *watch);

/* Looks again at when the next sample is due. */
void sampler_schedule(struct watch *watch);
