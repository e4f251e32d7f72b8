/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/methods/mount_call.h"

/* Checks the source for the type of the wish and sets wish->source. 0 or -errno through
 * call_fail(). */
int mount_source_check(
	struct call *call, bool has, const ProtobufCBinaryData *source, struct mount_wish *wish);

/* Waits for a block device that is being plugged in, for wish->wait_ms. */
int mount_source_wait(struct call *call, const struct mount_wish *wish);
