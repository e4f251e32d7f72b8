/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What happened so far, for one log line. */
#pragma once

#include <stdint.h>

/* name, as the line shows it; X(field) */
#define COUNTERS(X)                                                                                \
	X(to_guest_packets)   /* of any kind */                                                    \
	X(to_guest_bytes)     /* payload */                                                        \
	X(from_guest_packets) /* of any kind */                                                    \
	X(from_guest_bytes)   /* payload accepted */                                               \
	X(host_connects)      /* CONNECT lines accepted */                                         \
	X(guest_connects)     /* requests of the guest accepted */                                 \
	X(refused)            /* either kind, refused */                                           \
	X(resets_sent)                                                                             \
	X(dropped)       /* packets not for us, or malformed beyond an answer */                   \
	X(credit_abuse)  /* streams reset because the guest broke the credit rules */              \
	X(bad_buffers)   /* receive buffers too small for a packet */                              \
	X(paused)        /* times the guest's packets had to wait for receive buffers */           \
	X(spilled_bytes) /* that a host socket did not take at once */                             \
	X(interrupts)                                                                              \
	X(rings_broken)                                                                            \
	X(sessions) /* front-ends seen */

struct counters {
#define COUNTER_FIELD(name) uint64_t name;
	COUNTERS(COUNTER_FIELD)
#undef COUNTER_FIELD
};

/* Logs all of them in one line at level info, with the number of open streams. */
void counters_log(const struct counters *counters, unsigned streams);
