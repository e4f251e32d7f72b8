/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a file system comes from: a tag, a block device, the layers of an overlay. */
#pragma once

#include "agent/methods/mount_call.h"

/* Checks the source for the type of the wish and sets wish->source. 0 or -errno through
 * call_fail(). */
int mount_source_check(
	struct call *call, bool has, const ProtobufCBinaryData *source, struct mount_wish *wish);

/* The same for a disk by its serial number: sets wish->serial and partition. */
int mount_source_check_serial(struct call *call, const ProtobufCBinaryData *serial,
	uint32_t partition, struct mount_wish *wish);

/* Waits for a block device that is being plugged in, for wish->wait_ms, and sets wish->source of
 * one that is called by its serial number. 0 or -errno through call_fail(). */
int mount_source_wait(struct call *call, struct mount_wish *wish);

/*
 * Names to the broker what is touched when the file system is created: a block device; a type whose
 * mounts wait for each other; of an overlay, its layers. These are asked a question here, so that
 * one that does not answer has a name, and must be absolute paths without a symbolic link in them.
 * What somebody hangs on already is refused. 0, or -errno through call_fail().
 */
int mount_source_touch(struct call *call, const struct mount_wish *wish);
