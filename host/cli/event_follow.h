/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shows events as they happen: the guest's, the machine's own, or both. */
#pragma once

#include "host/cli/command.h"
#include "host/lib/postern.h"

struct event_wish {
	struct postern_subscribe subscribe; /* no topics: none of the guest */
	bool machine;                       /* those that wants_vm() lets through */
	bool (*wants_vm)(const struct cli *cli, const char *topic);
	/* Those of the guest that are shown; NULL: all. */
	bool (*wants)(const struct cli *cli, const struct postern_notification *notification);
	uint64_t most;       /* events, UINT64_MAX: all */
	uint64_t until_ns;   /* CLOCK_MONOTONIC, UINT64_MAX: for ever */
	uint64_t silence_ns; /* the guest tells something as often; 0: it may not */
};

/*
 * Follows what the command's first word names (a VM or an address) until a signal, the wish's
 * bounds, or the end of the machine. An agent that is lost while its machine goes on is waited for,
 * and events go on behind the last one; one at an address is not. A guest that is silent for too
 * long is an error, POSTERN_TIMED_OUT. An exit code, after saying why.
 */
int event_follow(struct cli *cli, const struct event_wish *wish);
