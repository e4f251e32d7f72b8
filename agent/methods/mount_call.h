/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mounting and unmounting, as mounts.* and shares.* both do it. */
#pragma once

#include "agent/methods/call.h"
#include "kmod-helpers/types.h"
#include "messages.h"

struct mount_wish {
	const struct fs_type *type;
	const char *source; /* NULL: none, or not known yet */
	const char *serial; /* of the disk that is the source; NULL: the source says it */
	uint32_t partition; /* ... or which one of it; 0: the disk itself */
	const char *target; /* absolute, checked */
	Postern__V1__MountOption **options;
	size_t n_options;
	bool create_target;
	uint32_t wait_ms;
	const char *secret; /* of type->secret; NULL: none */
	/* Of a server; mount_remote.h sets them. */
	const char *address_key; /* the option that takes it: "addr", "ip" */
	const char *address;     /* NULL: the options have it, or the source is enough */
	const char *version;     /* NFS; NULL: the options have it */
};

/* Mounts through fsopen(), fsconfig(), fsmount() and move_mount() (Linux 5.2), with no helper
 * program. *ret_entry is the new line of the table. 0, or -errno through call_fail(). */
int mount_do(struct call *call, const struct mount_wish *wish, Postern__V1__MountEntry **ret_entry);

/* Everything of mount_do() but the last step: creates the file system and lets it go again. For
 * errors in the kernel's own words before somebody else mounts. */
int mount_try(struct call *call, const struct mount_wish *wish);

/*
 * Unmounts the topmost mount at target; success means that it is gone from the table. *ret_entry is
 * what was there; *ret_holders who held it when the mode is LAZY (in the arena). A busy mount is
 * -EBUSY with the holders in the error's details.
 */
int unmount_do(struct call *call, const char *target, Postern__V1__UnmountMode mode,
	Postern__V1__MountEntry **ret_entry, Postern__V1__Holder ***ret_holders, size_t *ret_n);

/* What stands at target in the table of process 1: *ret_entry is NULL where nothing does. 0 or
 * -errno. */
int mount_look(struct call *call, const char *target, Postern__V1__MountEntry **ret_entry);

/* The mount with this id: *ret_entry is NULL where it is not there (any more). *ret_upon says
 * whether it lies upon another mount at the same place. 0 or -errno. */
int mount_look_id(struct call *call, int id, Postern__V1__MountEntry **ret_entry, bool *ret_upon);

/* What became of a killed change: DONE when something being mounted at the target (or nothing, as
 * `mounted` says) is what was asked for. 0 or -errno. */
int mount_settle(struct call *call, bool has, const ProtobufCBinaryData *bytes, bool mounted,
	Postern__V1__Outcome *ret);

/* Settle functions. */
int settle_mount(struct call *call, const ProtobufCMessage *message, Postern__V1__Outcome *ret);
int settle_unmount(struct call *call, const ProtobufCMessage *message, Postern__V1__Outcome *ret);
