/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What workers ask of postern-kmod. */
#pragma once

#include "agent/methods/call.h"
#include "kmod-helpers/types.h"
#include "kmod-helpers/wire.h"

/* Makes sure that the kernel knows the type: loads its module where it may be loaded. 0, or -errno
 * through call_fail(). */
int kmod_need(struct call *call, const struct fs_type *type);

/* Sends one request and waits for its answer. 0, or -errno of reaching postern-kmod (the answer's
 * own error is in reply->error). */
int kmod_ask(struct call *call, const struct kmod_request *request, struct kmod_reply *ret_reply);
