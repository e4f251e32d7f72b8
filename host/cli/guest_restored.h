/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <jansson.h>

#include "proto/client/client.h"

/* Tells a guest that it has gone on from a snapshot (system.restored): with random bytes of this
 * host's, and its clock's distance from ours, where it tells that. *ret_answer is the caller's. 0
 * or -errno with *error. */
int guest_restored(const char *vm, json_t **ret_answer, struct postern_error *error);
