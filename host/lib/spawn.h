/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "host/lib/registry.h"

/*
 * Starts a supervisor for a claimed entry whose vm.json is written: detached from this process (own
 * session, no child of ours), with the entry's lock, a new control socket, and supervisor.log as
 * its output. 0 once the program runs, or -errno with *error.
 */
int supervisor_spawn(const struct registry_entry *entry, struct postern_error *error);
