/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Channels: connections that a process of the agent has granted to a caller, from the token to the
 * end. The broker reads the token, hands the socket to the process, and keeps no copy; bytes are
 * counted by the process, which says so now and then.
 */
#pragma once

#include "agent/broker/broker.h"

struct channel {
	struct list_node node; /* broker->channels, in the order of the grants */
	struct broker *broker;
	struct grant grant;       /* its token is zero once it was used */
	struct identity identity; /* whom it was granted to */
	struct child *child;      /* who serves it */
	enum method method;       /* which granted it */
	uint64_t job;             /* whose stream it is; 0: none */
	uint64_t
		call; /* the broker's number of the call whose answer grants it; 0: granted later */
	unsigned int place; /* among the grants of that */
	bool kept;          /* the answer has it */
	bool open; /* perhaps before we know that: the caller may be faster than our child */
	uint64_t granted_ns; /* CLOCK_MONOTONIC */
	uint64_t from_caller, to_caller;
	struct loop_timer timer; /* armed from the answer to the token's use */
};

/* Grants a channel that is served by the child, at a place of a call's answer. 0; -EUSERS when
 * there are too many; -ENOMEM, or -errno of getrandom(). */
int channel_grant(struct child *child, const struct identity *identity, enum method method,
	uint64_t job, uint64_t call, unsigned int place, struct grant *ret_grant);

/* INNER_WANT_GRANT of a child whose open channel's row GRANTS_MORE: answers it with a channel of
 * the same caller, whose time begins now, or with none. */
void channel_more(struct child *child, uint64_t id);

/* The answer is about to be written, or there is none (0); of the grants it was given, it used
 * those at the places whose bits are set: their time begins, the others are taken back. */
void channel_keep(struct child *child, uint64_t call, uint64_t used);

/* The channels that were granted for a call are open already: their caller's own connection has
 * them.
 */
void channel_opened(struct child *child, uint64_t call);

/* A connection that began with a channel's preamble: hands the socket (owned) to whom it belongs,
 * or closes it. token[0..TOKEN_SIZE). The channel's number; 0: it is nobody's. */
uint64_t channel_present(
	struct broker *broker, int fd, const struct identity *identity, const uint8_t *token);

/* INNER_COUNT and INNER_CLOSED of the child that serves it. */
void channel_count(struct child *child, const struct inner_message *message);

/* The child is gone: its channels are. */
void channel_drop_all(const struct child *child);

/* Has an open channel cut, or takes back one that is granted. 0; -ENOENT: that identity has none of
 * this number. */
int channel_kill(struct broker *broker, const struct identity *identity, uint64_t number);

/* Those of an identity into facts[0..CHANNELS_MAX); how many. */
size_t channel_list(const struct broker *broker, const struct identity *identity,
	struct channel_facts facts[CHANNELS_MAX]);

/* The child's answer is written: it serves its channels from here on, and ends by itself. */
void channel_release(struct child *child);

/* How many of the child's are open. */
size_t channel_open_of(const struct child *child);
