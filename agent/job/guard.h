/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Takes descriptors of the roots of file systems from a socket (borrowed; see INNER_GUARD), says so
 * there, and waits for the broker's word that they are thawed. When the broker is gone without it,
 * they are thawed from here, the last one first: with the root frozen, an init system may not be
 * able to start another agent. Blocks all that time. 0 or -errno.
 */
int guard_run(int socket);
