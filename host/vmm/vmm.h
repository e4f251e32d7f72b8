/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A virtual machine monitor as the supervisor sees it: how it is started, and what it does while it
 * runs. A new one is a row of vmm_kinds (what it cannot do), one file, and a row of vmm_drivers.
 * Operations end later: their function is called once, from the loop, or at once where nothing
 * could be sent.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "host/common/argv.h"
#include "host/common/vm_config.h"
#include "host/vmm/balloon.h"
#include "host/vmm/memory.h"
#include "host/vmm/vmm_kind.h"
#include "proto/loop.h"

#define VMM_FDS   4
#define VMM_SLOTS (VM_SHARES_MAX + VM_DISKS_MAX) /* for shares, and behind these for disks */

struct vmm; /* a running VMM */

/* error is NULL on success; borrowed. stats are struct balloon_stats or struct memory_stats, by
 * what was asked. */
typedef void (*vmm_done_fn)(void *ctx, const struct postern_error *error);
typedef void (*vmm_stats_fn)(void *ctx, const struct postern_error *error, const void *stats);

enum vmm_event {
	VMM_STARTED,      /* the guest runs; what the VMM was to connect to, it has connected to */
	VMM_REFUSED,      /* it does not start the guest; why is the text */
	VMM_POWERED_DOWN, /* the guest asked for its end */
	VMM_RESET,
	VMM_PANICKED,
	VMM_ASLEEP,  /* the guest sleeps, by its own will (ACPI S3); resume() wakes it */
	VMM_AWAKE,   /* it does not any more */
	VMM_MEMORY,  /* so many bytes are plugged: the text */
	VMM_SILENT,  /* it has not answered in time; what it was asked may be done yet */
	VMM_ANSWERS, /* it does again */
	VMM_LOST,    /* the connection to the VMM has ended */
};

/* text is escaped. */
typedef void (*vmm_event_fn)(void *ctx, enum vmm_event event, const char *text);

/* What a VMM is to run, and where. The texts and config are borrowed until close. */
struct vmm_setup {
	struct loop *loop;
	const struct vm_config *config; /* config->shares[i] is in slot i from the start */
	const char *dir;                /* of the VM: its sockets (vm_files.h) */
	int console;        /* the VMM's end of the guest's serial port; borrowed during open */
	int virtio_console; /* of its virtio console; as console. -EBADF: it has none */
	int vsock;          /* vhost-user stream to postern-vsockd, or /dev/vhost-vsock; as console.
			       -EBADF where the VMM serves VM_FILE_VSOCK itself */
	vmm_event_fn on_event;
	void *ctx;
};

/* What is plugged into a slot while the guest runs. */
struct vmm_device {
	const char *tag, *socket; /* a share, and where its virtiofsd listens */
	const char *disk;         /* a disk's image, in a slot for disks */
	bool disk_read_only, disk_qcow2;
};

/* The name that VMM and guest (a disk's serial number) have for what is in a slot: "share0",
 * "disk8". At least 16 bytes; returns name. */
const char *vmm_slot_name(unsigned slot, char name[16]);

/* How its process is started. */
struct vmm_process {
	struct argv argv;
	int fds[VMM_FDS]; /* its descriptors 3, 4, ...; owned */
	size_t n_fds;
};

struct vmm_driver {
	const struct vmm_kind *kind;

	/* Makes what is needed to talk to the VMM, and says how its process is to be started, which
	 * happens then. *ret_process is vmm_process_done()'s in any case. 0 or -errno with *error.
	 */
	int (*open)(const struct vmm_setup *setup, struct vmm **ret_vmm,
		struct vmm_process *ret_process, struct postern_error *error);

	/* Frees; open operations end without their function being called. NULL is allowed. */
	void (*close)(struct vmm *vmm);

	/* The guest answered: from now on it may reset itself. May be NULL. */
	void (*booted)(struct vmm *vmm);

	/* Presses the power button; the guest may ignore it. */
	void (*powerdown)(struct vmm *vmm, vmm_done_fn fn, void *ctx);

	/* Ends the VMM. NULL: SIGTERM does. */
	void (*quit)(struct vmm *vmm, vmm_done_fn fn, void *ctx);

	/* Stops the guest's processors, and lets them go on. */
	void (*pause)(struct vmm *vmm, vmm_done_fn fn, void *ctx);
	void (*resume)(struct vmm *vmm, vmm_done_fn fn, void *ctx);

	/* Writes the paused guest's state into an empty folder. NULL where the kind cannot. */
	void (*snapshot)(struct vmm *vmm, const char *dir, vmm_done_fn fn, void *ctx);

	/* Has the balloon take so many pages of 4 KiB (see vmm_check_balloon()). One at a time. */
	void (*balloon)(struct vmm *vmm, uint64_t pages, vmm_done_fn fn, void *ctx);

	/* What the balloon has taken (current_pages alone), at no cost for the guest. NULL: that
	 * cannot be told. */
	void (*balloon_size)(struct vmm *vmm, vmm_stats_fn fn, void *ctx);

	/* Asks the guest for fresh numbers, for two seconds or less; shows the old ones then. */
	void (*balloon_stats)(struct vmm *vmm, vmm_stats_fn fn, void *ctx);

	/* Asks the guest to have so many bytes plugged (see vmm_check_plug()). */
	void (*plug_memory)(struct vmm *vmm, uint64_t bytes, vmm_done_fn fn, void *ctx);

	/* What has become of that. */
	void (*memory_stats)(struct vmm *vmm, vmm_stats_fn fn, void *ctx);

	/* Plugs the device (borrowed) into a free slot. On failure nothing of it is left in the
	 * VMM. Both are NULL where the kind can neither share folders nor plug disks. */
	void (*plug)(struct vmm *vmm, unsigned slot, const struct vmm_device *device,
		vmm_done_fn fn, void *ctx);

	/* Unplugs; the guest has to let go, within a deadline. */
	void (*unplug)(struct vmm *vmm, unsigned slot, vmm_done_fn fn, void *ctx);

	/* Makes the disk in a slot, and its image, this large, in bytes, and tells the guest. NULL
	 * where the kind cannot plug disks. */
	void (*resize_disk)(
		struct vmm *vmm, unsigned slot, uint64_t bytes, vmm_done_fn fn, void *ctx);
};

extern const struct vmm_driver *const vmm_drivers[]; /* ends with NULL */

/* The row of a name, or NULL. */
const struct vmm_driver *vmm_driver_find(const char *name);

/* Gives the process a copy of the descriptor: its number there, or -errno. */
int vmm_process_add(struct vmm_process *process, int fd);

/* Frees the words and closes the descriptors. */
void vmm_process_done(struct vmm_process *process);
