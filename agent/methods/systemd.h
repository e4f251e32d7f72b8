/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Process 1, where it is systemd, through its private socket: no message bus is needed for that. The
 * library (sd-bus of libsystemd) is opened only when it is used, so that a guest without systemd needs
 * none of it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* 0 where systemd answers; -ENOPKG without the library; another -errno of connecting. Blocks. */
int systemd_available(void);

/* Calls a method without arguments of the manager: "PowerOff", "Reboot", "Halt", "Reload". */
int systemd_manager_call(const char *method);
