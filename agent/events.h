/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between a session and the watcher: one SOCK_SEQPACKET pair that the broker made for the topics
 * the policy allows. The session sends commands; the watcher answers each and sends events. The
 * watcher believes only what it checks; topics beyond the allowed ones are refused.
 */
#pragma once

#include <stdint.h>

#define EVENT_PAYLOAD_MAX 32768
#define EVENT_PARAMS_MAX  40960 /* of a method that runs in the watcher */

enum events_kind {
	/* to the watcher */
	EVENTS_SUBSCRIBE = 1,
	EVENTS_UNSUBSCRIBE,
	EVENTS_CALL, /* method, id and max_frame; the parameters, which were checked, follow */
	/* to the session */
	EVENTS_SUBSCRIBED, /* epoch, seq: the cursor; fd: the snapshot, when it was asked for */
	EVENTS_REFUSED,    /* arg: errno */
	EVENTS_EVENT,
	EVENTS_ANSWER, /* a piece of the frame that answers a call; arg 1: the last one */
};

enum events_flags {
	EVENTS_SNAPSHOT = 1 << 0,
	EVENTS_AFTER = 1 << 1, /* epoch and seq are valid */
	EVENTS_LOAD1 = 1 << 2, /* thresholds that are set */
	EVENTS_MEMORY = 1 << 3,
	EVENTS_CPU_PRESSURE = 1 << 4,
	EVENTS_MEMORY_PRESSURE = 1 << 5,
	EVENTS_IO_PRESSURE = 1 << 6,
};

struct events_command {
	uint32_t kind;
	uint32_t flags;
	uint64_t subscription; /* the session's own number; of a call, its serial */
	uint64_t topics;       /* mask of enum topic */
	uint64_t epoch, seq;
	uint32_t interval_ms; /* of load events, 0: the sampler's; of heartbeats, 0: none */
	uint32_t method;      /* enum method */
	uint64_t id;          /* that the answer bears */
	uint64_t max_frame;   /* bytes */
	double load1_above;
	uint64_t memory_below;    /* bytes */
	double pressure_above[3]; /* percent: cpu, memory, io */
};

/* A packet to the session, and a record of a snapshot: payload follows. */
struct events_packet {
	uint32_t kind;
	uint32_t topic;
	uint64_t subscription; /* or the serial of a call */
	uint64_t epoch, seq;
	uint64_t time_ns; /* wall clock */
	uint64_t arg;
	uint32_t payload_len;
	uint32_t reserved;
};
