/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The first channel of a forward, in an event loop: its records, both ways. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "forward.pb-c.h"
#include "proto/loop.h"
#include "proto/record.h"

struct forward_control {
	int fd; /* borrowed */
	struct loop_io io;
	struct record_reader in;
	struct buffer out;
	/* A record that was checked, borrowed. 0; -EBADMSG for what does not belong here: the end.
	 */
	int (*take)(struct forward_control *control, const Postern__V1__ForwardRecord *record);
	/* It has ended: 0, or -errno. Nothing is called after it. */
	void (*ended)(struct forward_control *control, int r);
};

/* Takes records from the socket (non-blocking). take and ended are set already. 0 or -errno. */
int forward_control_start(struct forward_control *control, struct loop *loop, int fd);

/* Says one: exactly one of the record's kinds. 0; -ENOBUFS: the other side reads nothing; or -errno
 */
int forward_control_say(struct forward_control *control, const Postern__V1__ForwardRecord *record);

/* Safe on what was never started (all zero), and twice. The socket stays open. */
void forward_control_stop(struct forward_control *control);
