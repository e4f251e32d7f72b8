/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files and folders through a stream, sent and received. Both sides of Postern run this same code;
 * the other side may be hostile to either. A sender opens nothing but regular files, folders and
 * links, and follows no link below what it was given. A receiver makes single names in folders that
 * it holds open, so that no name and no link leads anywhere else; a file takes its place whole, or
 * not at all; of the metadata it takes permissions (without setuid, setgid, sticky) and time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/copy/check.h"
#include "proto/copy/stream.h"

#define COPY_DEPTH_MAX    128        /* folders within folders */
#define COPY_RESUME_LEAST (8u << 20) /* bytes of a file of which a part is kept after a cut */

/* What a person wants to know meanwhile; each may be NULL. Texts are the other side's: escape them.
 */
struct copy_watch {
	void (*plan)(void *ctx, uint64_t files, uint64_t bytes);
	/* name: what is at hand; bytes: of all files so far. Often. */
	void (*progress)(void *ctx, const char *name, uint64_t bytes);
	/* Something was left out. who: of two guests the one that says so, or NULL. */
	void (*problem)(
		void *ctx, const char *who, const char *path, int sys_errno, const char *message);
	void *ctx;
};

struct copy_counts {
	uint64_t files, bytes; /* that were sent, or have taken their place */
	uint64_t resumed;      /* bytes that were there already */
	uint64_t problems;
};

/* One thing that is sent. */
struct copy_source {
	int fd;           /* borrowed; a file or folder opened for reading */
	const char *name; /* that it is sent under */
	const char *path; /* as a person knows it */
};

/* Sends them, and waits for the receiver to have them. 0, also where something was left out; or
 * -errno: -EPIPE or -ECONNRESET: the other side is gone; -ETIMEDOUT: it does nothing; -EBADMSG: it
 * broke the protocol. Blocks.
 */
int copy_stream_send(struct copy_stream *stream, const struct copy_source *sources, size_t n,
	const struct copy_watch *watch, struct copy_counts *ret_counts);

struct copy_target {
	int dir;            /* borrowed; the folder that things are put into */
	const char *rename; /* the one thing that comes gets this name; NULL: its own */
	bool sync;          /* each file is on the disk before it takes its place */
	struct copy_asked asked;
};

/* Receives until the sender is done. As copy_stream_send(); also -EBADMSG: something else came than
 * was asked for; -EXDEV: more than the one thing came that is to be renamed.
 */
int copy_stream_receive(struct copy_stream *stream, const struct copy_target *target,
	const struct copy_watch *watch, struct copy_counts *ret_counts);

/*
 * Opens what is to be sent, below dir (AT_FDCWD: as paths are), without touching what is neither
 * file nor folder. resolve: RESOLVE_* of openat2(2). 0 with *ret_fd; -ENOTSUP: it is something
 * else; -EISDIR: a folder and recursive is false; or -errno.
 */
int copy_open_source(int dir, const char *path, uint64_t resolve, bool recursive, int *ret_fd);

/* The name under which a path is sent: its last part, slashes behind it not counted, or "root".
 * Borrowed; its length to *ret_len, since slashes may follow. */
const char *copy_name_of(const char *path, size_t *ret_len);

/*
 * Opens where things are to be put: the folder of this path, or else, unless into_folder, the
 * folder above it, with *ret_name the last part of path (borrowed from it). 0 or -errno;
 * -ENAMETOOLONG: no folder, and no name for a file.
 */
int copy_open_target(
	const char *path, uint64_t resolve, bool into_folder, int *ret_dir, const char **ret_name);
