/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A running QEMU: what the driver's files share. */
#pragma once

#include "host/vmm/qemu.h"
#include "host/vmm/qmp.h"
#include "host/vmm/stats_wait.h"

#define QEMU_CALL_MS   10000 /* a monitor that takes longer has a problem; the VM goes on */
#define QEMU_UNPLUG_MS 15000 /* for the guest to let a device go */

enum slot_state { SLOT_IDLE, SLOT_PLUGGING, SLOT_UNPLUGGING };

/* One operation on one slot, which is a root port. */
struct slot {
	struct vmm *vmm;
	unsigned index;
	enum slot_state state;
	json_t *device; /* what is added once its back-end stands */
	bool undoing;   /* a plug was late once: what it left goes when the guest lets it */
	struct postern_error error; /* of a plug that is being undone */
	struct loop_timer timer;
	vmm_done_fn fn;
	void *ctx;
};

struct operation; /* a command whose answer is the operation's end */

struct vmm {
	struct loop *loop;
	const struct vm_config *config;
	struct qmp *qmp;
	struct loop_io io;
	struct loop_timer deadline;
	vmm_event_fn on_event;
	void *ctx;
	bool started;
	bool asleep; /* the guest, in S3 */
	struct {
		uint64_t pages;     /* asked for */
		uint64_t requested; /* taken up last; BALLOON_UNKNOWN: the answer was late */
		vmm_done_fn fn;
		void *ctx;
	} balloon;

	struct operation *operations; /* under way; owned */
	struct slot slots[VMM_SLOTS];

	struct stats_wait *memory; /* who waits for plugged memory's statistics */
	struct stats_wait *size;   /* ... for the balloon's size */
	struct stats_wait *stats;  /* ... for its statistics */
	struct loop_timer stats_timer;
	json_int_t stats_before; /* time of the report before this round */
	unsigned stats_looks;    /* in this round */
	struct balloon_stats stats_values;
};

/* Sends a command; arguments is taken over. 0 or -errno of qmp_call(). */
int qemu_call(struct vmm *vmm, const char *command, json_t *arguments, qmp_reply_fn fn, void *ctx);

/* Fills *error for a command that could not be sent (r of qemu_call()). Returns r. */
int qemu_fail(struct postern_error *error, int r, const char *command);

/* Re-arms the loop for the monitor; needed after each qmp_call(). */
void qemu_watch(struct vmm *vmm);

void qemu_plug(struct vmm *vmm, unsigned index, const struct vmm_device *device, vmm_done_fn fn,
	void *ctx);
void qemu_unplug(struct vmm *vmm, unsigned index, vmm_done_fn fn, void *ctx);
void qemu_resize_disk(struct vmm *vmm, unsigned index, uint64_t bytes, vmm_done_fn fn, void *ctx);

/* The event DEVICE_DELETED for a device id. */
void qemu_device_deleted(struct vmm *vmm, const char *device);

void qemu_slots_forget(struct vmm *vmm);

/* One command whose answer is the operation's end; arguments is taken over. */
void qemu_simple(
	struct vmm *vmm, const char *command, json_t *arguments, vmm_done_fn fn, void *ctx);

void qemu_plug_memory(struct vmm *vmm, uint64_t bytes, vmm_done_fn fn, void *ctx);
void qemu_memory_stats(struct vmm *vmm, vmm_stats_fn fn, void *ctx);

/* The event MEMORY_DEVICE_SIZE_CHANGE. */
void qemu_memory_changed(struct vmm *vmm, const json_t *data);

void qemu_balloon_stats(struct vmm *vmm, vmm_stats_fn fn, void *ctx);
void qemu_balloon_size(struct vmm *vmm, vmm_stats_fn fn, void *ctx);
void qemu_stats_forget(struct vmm *vmm);
