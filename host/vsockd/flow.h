/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A flow: one stream between a host socket and the guest, from accept() or the guest's request to
 * its end. See README.md for the states. Flows own their socket, timer and buffer; whoever ends a
 * flow calls flow_reset() or flow_free() and does not touch it again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "host/vsockd/credit.h"
#include "host/vsockd/packet.h"
#include "host/vsockd/spill.h"
#include "proto/list.h"
#include "proto/loop.h"

struct device;

enum flow_state {
	FLOW_LINE,        /* a host client that has not sent its CONNECT line */
	FLOW_CONNECTING,  /* waits for the guest's answer */
	FLOW_ESTABLISHED, /* data may pass */
	FLOW_CLOSING,     /* all directions shut towards the guest, which should reset it */
	FLOW_DRAINING,    /* over for the guest; the host has yet to take its last bytes */
};

struct flow {
	struct device *device;
	enum flow_state state;
	int fd;
	struct loop_io io;
	struct loop_timer timer; /* its purpose follows from the state */

	struct list_node all;   /* in flows.all, always */
	struct list_node run;   /* in flows.run while it has something for the guest */
	struct flow *hash_next; /* while in_table */
	bool in_table;
	uint32_t guest_port, host_port;

	struct credit credit;
	struct spill spill;

	uint8_t owed;      /* control packets to send: bits 1 << OP_... */
	uint8_t shut_want; /* SHUTDOWN_* to tell the guest */
	uint8_t shut_sent;
	uint8_t guest_shut; /* SHUTDOWN_* heard from the guest */

	bool announced;  /* the guest knows of it */
	bool readable;   /* the host socket may have bytes, or its end */
	bool eof;        /* the host sends no more */
	bool host_gone;  /* the host takes no more: bytes for it are dropped */
	bool asked;      /* a CREDIT_REQUEST went out since credit last came */
	uint32_t ask_ms; /* time until the next one */
};

struct flows {
	struct list all;
	struct list run;
	unsigned count, max;
	struct flow **table;
	uint32_t table_mask;
	uint32_t seed;
	uint32_t next_port;      /* for host clients */
	uint32_t next_root_port; /* for host clients with uid 0 that ask */
	struct spill_pool pool;
};

#define FLOW_PORT_FIRST     (UINT32_C(1) << 30)
#define FLOW_PORT_LAST      (UINT32_MAX >> 1)
#define FLOW_ROOT_PORT_LAST UINT32_C(1023)

#define FLOW_CONNECT_TIMEOUT_MS  2000
#define FLOW_SHUTDOWN_TIMEOUT_MS 2000

/* Prepares an empty table for at most max flows. 0 or -ENOMEM. */
int flows_init(struct flows *flows, unsigned max);

/* Ends all flows without a word to the guest, and frees the table. */
void flows_done(struct flows *flows);

enum flows_kind {
	FLOWS_ANNOUNCED, /* of which the guest knows */
	FLOWS_LIVE,      /* all that are not draining */
	FLOWS_ALL,
};

/* Ends flows without a word to the guest. */
void flows_drop(struct flows *flows, enum flows_kind kind);

/* Makes a flow of a connected, non-blocking socket, which it owns from here on, also on failure.
 * 0; -EMFILE at the limit; -errno. */
int flow_new(struct device *device, int fd, enum flow_state state, struct flow **ret_flow);

/* Enters it under its two ports. -EADDRINUSE when there is one. */
int flow_bind(struct flow *flow, uint32_t guest_port, uint32_t host_port);

/* Like flow_bind() with a free port of the host's side, below 1024 for root. -EADDRINUSE when none
 * is free. */
int flow_bind_auto(struct flow *flow, uint32_t guest_port, bool root);

struct flow *flow_find(struct flows *flows, uint32_t guest_port, uint32_t host_port);

/* Puts it on the run list if it has something for the guest. */
void flow_wake(struct flow *flow);

/* Takes it out of the table; its ports are free again. */
void flow_unbind(struct flow *flow);

/* True when bytes of the host may go to the guest now. */
bool flow_may_send(const struct flow *flow);

/* A host client's CONNECT was accepted and the flow is bound: asks the guest. */
void flow_request(struct flow *flow);

/* Callbacks of the loop. */
void flow_on_socket(struct loop_io *io, uint32_t events);
void flow_on_timer(struct loop_timer *timer);

/* Sends a control packet at its next turn. */
void flow_owe(struct flow *flow, enum packet_op op);

/* Data may pass from now on. */
void flow_establish(struct flow *flow);

/* Sends pieces of count and bytes in all to the host; what it does not take is kept. The flow may
 * be gone afterwards (returns false then). */
bool flow_to_host(struct flow *flow, const struct iovec *iov, unsigned count, size_t bytes);

/* The guest shut directions. The flow may be gone afterwards. */
void flow_guest_shutdown(struct flow *flow, uint32_t flags);

/* The host's end of data, or its whole end, was seen. */
void flow_host_eof(struct flow *flow);

/* A packet's credit fields changed what may be sent. */
void flow_credit_changed(struct flow *flow);

/* Nothing can be sent for want of credit: see to it that the guest is asked. */
void flow_starved(struct flow *flow, bool of_packets);

/* A SHUTDOWN packet with all of shut_want went out. */
void flow_shutdown_sent(struct flow *flow);

/* Tells the guest, if it knows of the flow, that it is over, and frees it. */
void flow_reset(struct flow *flow);

/* Closes the host socket and frees everything, without a word to the guest. */
void flow_free(struct flow *flow);
