/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much memory a guest is left with while its balloon is followed. A guest's word alone takes
 * nothing and gives nothing: memory is taken where this host has little, and given back where the
 * guest's kernel says that programs wait for it and this host has it, and both in steps, between
 * two bounds. What a guest says of itself can only keep something from being taken.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BALLOON_UNKNOWN_BYTES UINT64_MAX

struct balloon_bounds {
	uint64_t total;          /* bytes that the machine has */
	uint64_t floor, ceiling; /* bytes that the guest is left with: at least, at most */
	unsigned host_low;       /* percent: less of this host's memory available is little */
};

/* How things are, once in a while. */
struct balloon_view {
	uint64_t now_ms;
	uint64_t left;            /* bytes that the guest has now, by the VMM */
	uint64_t guest_available; /* bytes, by the guest; BALLOON_UNKNOWN_BYTES */
	unsigned host_available;  /* percent, 0 to 100 */
	unsigned pressure;        /* since the last view: 0 none, 1 some waited, 2 all waited */
	bool heard;               /* the guest could have told of pressure */
};

struct balloon_rule {
	struct balloon_bounds bounds;
	uint64_t target;     /* bytes */
	uint64_t pressed_ms; /* when pressure was told last; 0: never */
	uint64_t changed_ms; /* when the target was; 0: never */
};

enum balloon_reason {
	BALLOON_KEPT,      /* nothing to change */
	BALLOON_BOUNDS,    /* the guest had more or less than the bounds allow */
	BALLOON_GIVEN,     /* programs of the guest wait for memory */
	BALLOON_TAKEN,     /* this host has little, and the guest goes without pressure */
	BALLOON_HOST_FULL, /* programs of the guest wait, and this host has nothing to give */
};

/* What the guest should be left with from now on is rule->target; the reason says why. */
enum balloon_reason balloon_rule_next(struct balloon_rule *rule, const struct balloon_view *view);
