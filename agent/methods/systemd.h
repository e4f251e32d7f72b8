/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Process 1, where it is systemd, through its private socket: no message bus is needed for that.
 * The library (sd-bus of libsystemd) is opened only when it is used, so that a guest without
 * systemd needs none of it. All functions block, and return 0 or -errno (-ENOPKG: no library).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whether systemd answers. */
int systemd_available(void);

/* Has it read its unit files again. */
int systemd_reload(void);

/* Queues the start of a unit, in a way that no later job takes back: "poweroff.target". Does not
 * wait for it. */
int systemd_start_for_good(const char *name);

/* Queues the start or the stop of a unit; does not wait for it. */
int systemd_start(const char *name);
int systemd_stop(const char *name);

/* Restarts a unit, unless it does not run, and waits until it is active again: -EIO when it failed,
 * -ETIMEDOUT after 20 s. */
int systemd_restart(const char *name);

struct mount_unit {
	const char *name; /* "mnt-data.mount" */
	const char *what;
	const char *type;
	const char *options; /* comma-separated; NULL: none */
};

/* Starts a transient mount unit, or (transient false) the one of this name from its file, and waits
 * until it is mounted: -EIO when it failed, with the unit's state reset. -ETIMEDOUT after 20 s. */
int systemd_mount_start(const struct mount_unit *unit, bool transient);

/* 1 when the unit is active, else 0. */
int systemd_unit_is_active(const char *name);

/* Forgets a failed unit. */
void systemd_reset_failed(const char *name);
