/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asking process 1 to bring the guest down, in the way that each kind documents. It stops services
 * and unmounts in its own order; nothing is forced from here.
 *
 *   systemd        StartUnit of the target, as systemctl(1) has it
 *   sysvinit       a request in its FIFO, as telinit(8) and shutdown(8) write it (initctl(5))
 *   openrc-init    a word in its FIFO, as openrc-shutdown(8) writes it
 *   postern-init,  a signal: SIGUSR2 power off, SIGTERM reboot, SIGUSR1 halt
 *   busybox
 */
#pragma once

#include "agent/init_kind.h"
#include "messages.h"

/* Opens the way to it, so that what fails is known before the answer. Waits 5 s at most for one
 * that does not listen yet. 0 or -errno: -EOPNOTSUPP where nobody knows how, -ENOENT or -ENXIO
 * where it does not listen. */
int process1_prepare(enum init_kind kind);

/* After process1_prepare(). Does not wait for the guest to go down. 0 or -errno. */
int process1_bring_down(enum init_kind kind, Postern__V1__ShutdownMode mode);
