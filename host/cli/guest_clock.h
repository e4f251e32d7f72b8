/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest's clock beside this host's. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "proto/client/client.h"

struct guest_clock {
	int64_t guest_ns;     /* since 1970, as the guest said */
	int64_t offset_ns;    /* the guest's clock minus ours */
	uint64_t accuracy_ns; /* that may be wrong by so much: half of the time that the answer took
			       */
	json_t *said;         /* owned; the answer of time.get */
};

/* Asks a few times and keeps the answer that came fastest. The caller frees ret->said. Blocks for
 * as many round trips, each for at most timeout_ms (0: the method's own time). 0 or -errno with
 * *error. */
int guest_clock_read(struct postern_client *client, uint32_t timeout_ms, struct guest_clock *ret,
	struct postern_error *error);

/* Adds to the guest's clock what takes the offset away (time.set with adjust_ns). slew: gradually.
 * hardware: the machine's own clock as well, where it has one. 0 or -errno with *error. */
int guest_clock_correct(struct postern_client *client, const struct guest_clock *clock, bool slew,
	bool hardware, struct postern_error *error);

/* After the machine stood still: steps the guest's clock when it is more than a second off. 0 with
 * the offset that was taken away in *ret_ns (0: there was none), or -errno with *error. */
int guest_clock_after_pause(const char *vm, int64_t *ret_ns, struct postern_error *error);
