/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* File systems that one request is about, each once however often it is mounted. */
#pragma once

#include <libmount/libmount.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/methods/call.h"
#include "agent/worker/worker.h"
#include "messages.h"
#include "proto/limits.h"

#define FILESYSTEMS_MAX FREEZE_MOST

struct filesystem {
	dev_t device;
	const char *target; /* borrowed from the table, as are the others */
	const char *source;
	const char *type;
};

struct filesystem_set {
	struct libmnt_table *table; /* owned */
	struct filesystem list[FILESYSTEMS_MAX];
	size_t n;
};

/*
 * Those that are on a block device and mounted writable, the last mounted one first, so that what
 * lies on another (a loop device, a folder of it) comes before that one. set is zero at first, and
 * the caller's to clear, also after a failure. 0 or -errno through call_fail().
 */
int filesystem_set_all(struct call *call, struct filesystem_set *set);

/* Those at these mount points, in this order; a path where nothing is mounted is NOT_FOUND. */
int filesystem_set_named(struct call *call, const ProtobufCBinaryData *targets, size_t n,
	struct filesystem_set *set);

/* The one of a device, at whichever place it is mounted; NULL: it is not. The table must have been
 * read. */
const struct filesystem *filesystem_set_find(struct filesystem_set *set, dev_t device);

void filesystem_set_clear(struct filesystem_set *set);
#define AUTO_FILESYSTEMS AUTO(filesystem_set_clear)

/*
 * Opens the root of it for ioctl() and syncfs(); the caller owns *ret_fd. It stays named to the
 * broker as touched in this way. 0, or -errno with call_fail(): UNAVAILABLE where somebody hangs on
 * it already. May hang.
 */
int filesystem_open(struct call *call, const struct filesystem *fs, enum touch how, int *ret_fd);

/* Asks the file system for it, in the same way. 0 or -errno, of filesystem_open() with call_fail();
 * -EOPNOTSUPP: it cannot do that. */
int filesystem_ioctl(struct call *call, const struct filesystem *fs, enum touch how,
	unsigned long command, void *arg);

/* As messages in the call's arena; NULL without memory. error: errno. */
Postern__V1__Filesystem *filesystem_message(struct call *call, const struct filesystem *fs);
Postern__V1__FilesystemProblem *filesystem_problem(
	struct call *call, const Postern__V1__Filesystem *fs, int error);
