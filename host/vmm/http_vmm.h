/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A running VMM that is driven over HTTP: what the drivers of such have in common. */
#pragma once

#include "host/vmm/event_stream.h"
#include "host/vmm/http.h"
#include "host/vmm/stats_wait.h"

#define API_CALL_MS     10000  /* a VMM that takes longer has a problem; the guest goes on */
#define API_START_MS    20000  /* to its first answer, and for each step of a guest's start */
#define API_SNAPSHOT_MS 600000 /* the guest's whole memory goes to a disk, or comes from there */

/* One request of a guest's start. */
struct start_step {
	const char *method, *path;
	json_t *(*body)(const struct vmm *vmm); /* NULL: none; returns NULL without memory */
	bool (*wanted)(const struct vmm *vmm);  /* NULL: always */
	uint32_t timeout_ms;
};

enum slot_state { SLOT_IDLE, SLOT_PLUGGING, SLOT_UNPLUGGING };

/* One operation on one slot. */
struct slot {
	struct vmm *vmm;
	unsigned index;
	enum slot_state state;
	bool gone; /* the device was let go when nobody waited any more */
	struct loop_timer timer;
	vmm_done_fn fn;
	void *ctx;
};

struct vmm {
	struct vmm_setup setup; /* its descriptors are no longer there */
	struct http *http;
	const struct start_step *steps; /* that are still to be done; ends with an empty one */

	struct stats_wait *memory; /* who waits for plugged memory's statistics */
	struct stats_wait *stats;  /* ... for the balloon's */
	struct balloon_stats stats_values;
	struct loop_timer stats_timer;

	struct event_stream events; /* Cloud Hypervisor's */
	struct slot slots[VMM_SLOTS];
};

/* A VMM that serves its interface at VM_FILE_API, below the path base (static). 0, or -errno with
 * *error. */
int http_vmm_new(const struct vmm_setup *setup, const char *base, struct vmm **ret_vmm,
	struct postern_error *error);

/* Frees. NULL is allowed. */
void http_vmm_free(struct vmm *vmm);

/* Does the steps one after the other; VMM_STARTED or VMM_REFUSED follows. */
void http_vmm_start(struct vmm *vmm, const struct start_step *steps);

/* A request whose answer is the operation's end. body is taken over; NULL, which is what
 * json_pack() makes of a path that is not UTF-8, fails. */
void http_vmm_send(struct vmm *vmm, const char *method, const char *path, json_t *body,
	uint32_t timeout_ms, vmm_done_fn fn, void *ctx);

/* A PUT without a body. */
void http_vmm_tell(struct vmm *vmm, const char *path, vmm_done_fn fn, void *ctx);

/* A question. */
void http_vmm_get(struct vmm *vmm, const char *path, http_answer_fn fn, void *ctx);

/* "DIR/NAME" with a prefix as a JSON string. A new reference; NULL: no memory, or no UTF-8. */
json_t *http_vmm_path(const char *prefix, const char *dir, const char *name);
