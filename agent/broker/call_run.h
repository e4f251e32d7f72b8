/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a call to the process that answers it: part of call.c. */
#pragma once

#include "agent/broker/call.h"

/* Who answers it, of enum role. */
enum role call_role(const struct call *call);

/* Gives the call to a process, with all that its row needs, and sets its timer. 0; -ESRCH: there is
 * no such job; -ENOTCONN: it is over; -EUSERS: there are too many jobs or channels; or -errno. */
int call_run(struct call *call);

/* call.c's, for the process that got it. */
void call_worker_exit(struct child *child);
void call_worker_message(struct child *child, const struct inner_message *message, const void *body,
	int fds[INNER_FDS_MAX], size_t n_fds);
