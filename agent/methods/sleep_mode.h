/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ways in which this guest's kernel can sleep, as /sys/power tells them
 * (Documentation/admin-guide/pm/sleep-states.rst of the kernel). */
#pragma once

#include <stdbool.h>

#include "messages.h"

/* Whether the kernel offers it here and now: one of the disk needs swap, too, which only the act
 * finds out. */
bool sleep_mode_is_offered(Postern__V1__SuspendMode mode);

/* The driver, as /sys/bus/virtio/drivers names it, of a device that keeps the guest awake; NULL:
 * there is none that is known. */
const char *sleep_blocking_driver(void);

/* Sleeps, without process 1. Blocks until the guest is awake again: 0; -errno: it did not fall
 * asleep. */
int sleep_by_kernel(Postern__V1__SuspendMode mode);
