/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disks of a running machine, part of libpostern: plugged and pulled, alone or as one with what is
 * done in the guest, and made larger. Rules and errors as in postern.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/client/client.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/*
 * Plugs a disk image (raw or qcow2) into a running machine. ret_id[0..16) is what it is called from
 * now on, and its serial number in the guest. Blocks for 25 s at most. 0; -EOPNOTSUPP for a VMM
 * that cannot; -ENOSPC with four; or another -errno, with *error.
 */
int postern_disk_plug(const char *name, const char *image, bool read_only, char ret_id[16],
	struct postern_error *error);

/* Pulls it; who has it mounted in the guest loses it. Blocks for 30 s at most. 0; -ENOENT where
 * there is no such disk, or another -errno, with *error. */
int postern_disk_unplug(const char *name, const char *id, struct postern_error *error);

struct postern_disk_attach {
	const char *image;
	bool read_only;
	uint64_t create_bytes; /* a new raw image of this size; 0: it is there */
	const char *mkfs;   /* make this file system on the raw image, with the host's mkfs.TYPE */
	bool force;         /* also where the image is not empty: what is in it is lost */
	const char *target; /* mount it here, absolute; NULL: not at all */
	const char *type;   /* what is on it; NULL: as mkfs, or as the guest finds out */
	uint32_t partition; /* what is mounted of it; 0: the whole disk */
	uint32_t wait_ms;   /* for the guest to see it; 0: 20 s */
	uint64_t reserved[4]; /* zero */
};

struct postern_disk_attached {
	char id[16];      /* as of postern_disk_plug() */
	char device[128]; /* in the guest: "/dev/vdb", of the partition where one was asked for */
	char type[32];    /* of the file system that is mounted; "" where none is */
	uint64_t bytes;   /* its size */
	uint64_t reserved[4];
};

/*
 * A disk as one: makes the image and a file system where that is asked for, plugs it, waits until
 * the guest sees it, and has the agent mount it. If a step fails, or is not answered, all that was
 * done is undone (but not the file system in an image that was there before); *error tells of what
 * could not be. Blocks for a minute, and for as long as mkfs takes. 0; -ETIMEDOUT for a disk that
 * the guest does not see, or another -errno, with *error.
 */
int postern_disk_attach(const char *name, const struct postern_disk_attach *how,
	struct postern_disk_attached *ret_attached, struct postern_error *error);

/*
 * Has the agent unmount the disk of this id or image, with its partitions, wherever they are, then
 * pulls it: ret_id[0..16) is what it was called. Where the agent refuses (a file is in use, *error
 * has who holds it) it stays. 0 or -errno with *error.
 */
int postern_disk_detach(
	const char *name, const char *id_or_image, char ret_id[16], struct postern_error *error);

struct postern_disk_grow {
	const char *id_or_image;
	uint64_t bytes;     /* its new size, a multiple of 512, no smaller than it is */
	uint32_t partition; /* which one grows; 0: the only one, or the disk has none */
	void (*on_step)(void *ctx, const char *step); /* what begins now, in words; NULL */
	void *ctx;
	uint64_t reserved[4]; /* zero */
};

struct postern_disk_grown {
	char id[16];
	char device[128];           /* what has the file system: "/dev/vdb1" */
	uint64_t bytes;             /* its size now */
	char type[32];              /* of the file system; "" where none is mounted */
	uint64_t filesystem_before; /* bytes that it had, as statfs(2) counts them */
	uint64_t filesystem_bytes;  /* ... and has */
	uint64_t reserved[4];
};

/*
 * Makes a plugged disk larger: image and device, then partition and file system in the guest, which
 * go on being used. A step that fails leaves those before it done, and can be asked for again with
 * the same size. Blocks for minutes at most. 0 or -errno with *error.
 */
int postern_disk_grow(const char *name, const struct postern_disk_grow *how,
	struct postern_disk_grown *ret_grown, struct postern_error *error);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
