/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A virtual machine monitor as the supervisor sees it: how it is started, and what it does while it
 * runs. A new one is one file and one row of vmm_drivers. Operations end later: their function is
 * called once, from the loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "host/common/argv.h"
#include "host/common/vm_config.h"
#include "host/vmm/balloon.h"
#include "proto/loop.h"

/* Descriptors that the VMM is started with, at these numbers. */
enum vmm_fd {
	VMM_FD_MONITOR = 3, /* stream to vmm_driver.attach's other end */
	VMM_FD_CONSOLE = 4, /* stream with the guest's serial port */
	VMM_FD_VSOCK = 5,   /* vhost-user stream to postern-vsockd, or /dev/vhost-vsock */
	VMM_FD_SHARE = 6    /* vhost-user streams of the first shares, one after the other */
};

struct vmm; /* a running VMM */

/* error is NULL on success; borrowed. */
typedef void (*vmm_done_fn)(void *ctx, const struct postern_error *error);
typedef void (*vmm_stats_fn)(
	void *ctx, const struct postern_error *error, const struct balloon_stats *stats);

enum vmm_event {
	VMM_STARTED,      /* the monitor answers: its command line was good */
	VMM_POWERED_DOWN, /* the guest asked for its end */
	VMM_RESET,
	VMM_PANICKED,
	VMM_SILENT,  /* it has not answered in time; what it was asked may be done yet */
	VMM_ANSWERS, /* it does again */
	VMM_LOST,    /* the connection to the VMM has ended */
};

typedef void (*vmm_event_fn)(void *ctx, enum vmm_event event, const char *text);

struct vmm_driver {
	const char *name;

	/* The command line for a VM; config->shares[i] is plugged into slot i from the start. 0 or
	 * -ENOMEM. */
	int (*command)(const struct vm_config *config, struct argv *ret_argv);

	/* Takes the monitor's stream (owned, also on failure). config is borrowed until detach. */
	int (*attach)(struct loop *loop, int fd, const struct vm_config *config,
		vmm_event_fn on_event, void *ctx, struct vmm **ret_vmm);

	/* Frees; open operations end without their function being called. NULL is allowed. */
	void (*detach)(struct vmm *vmm);

	/* The guest answered: from now on it may reset itself. */
	void (*booted)(struct vmm *vmm);

	/* Presses the power button; the guest may ignore it. */
	void (*powerdown)(struct vmm *vmm, vmm_done_fn fn, void *ctx);

	/* Ends the VMM. */
	void (*quit)(struct vmm *vmm, vmm_done_fn fn, void *ctx);

	/* Leaves the guest `left` bytes of memory (see balloon_value()). */
	void (*balloon)(struct vmm *vmm, uint64_t left, vmm_done_fn fn, void *ctx);

	/* Asks the guest for fresh numbers, for about two seconds; shows the old ones then. */
	void (*balloon_stats)(struct vmm *vmm, vmm_stats_fn fn, void *ctx);

	/* Plugs the file system device behind the listening socket into a free slot. On failure
	 * nothing of it is left in the VMM. */
	void (*share_plug)(struct vmm *vmm, unsigned slot, const char *tag, const char *socket_path,
		vmm_done_fn fn, void *ctx);

	/* Unplugs; the guest has to let go, within a deadline. */
	void (*share_unplug)(struct vmm *vmm, unsigned slot, vmm_done_fn fn, void *ctx);
};

extern const struct vmm_driver *const vmm_drivers[]; /* ends with NULL */

/* The row of a name, or NULL. */
const struct vmm_driver *vmm_driver_find(const char *name);
