/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Mounts /proc, /sys, /dev, /run, /tmp and the like, opens the console, sets PATH, brings lo up,
 * and has the boot modules loaded. What fails is said on the console; the guest goes on. */
void basics_do(void);

/* Unmounts what can be unmounted and makes the rest read-only. */
void basics_undo(void);
