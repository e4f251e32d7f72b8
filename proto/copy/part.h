/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file that is being received: under a name of its own beside its place, until it is whole. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/copy/digest.h"

struct part {
	int dir; /* borrowed; the folder */
	int fd;  /* owned; -EBADF: there is none */
	char name[NAME_MAX + 1];
	char temporary[NAME_MAX + 1];
	uint64_t size; /* as announced */
	uint64_t at;   /* end of the last bytes */
	bool keep;     /* what came is kept when the copy is cut */
	struct copy_digest digest;
};

/* Begins. With keep, what an earlier copy left is taken up: *ret_have bytes of it. 0; -EBUSY:
 * another copy writes this file; -ENOTUNIQ: what has the temporary name is none of ours, and stays;
 * or -errno. After an error there is none. */
int part_begin(
	struct part *part, int dir, const char *name, uint64_t size, bool keep, uint64_t *ret_have);

/* The digest of the first bytes of what is there. 0 or -errno. */
int part_digest(struct part *part, uint64_t bytes, uint8_t ret[COPY_DIGEST_SIZE]);

/* Goes on behind the first `offset` bytes, and drops what is behind them. 0 or -errno. */
int part_from(struct part *part, uint64_t offset);

/* Writes. -EBADMSG: outside of the announced size, or before the last bytes. 0 or -errno. */
int part_write(struct part *part, uint64_t offset, const void *bytes, size_t len);

/* Puts it in its place. -EBADMSG: the digest differs; -EISDIR: a folder is there; -ESTALE: somebody
 * has taken the temporary file away. 0 or -errno; the part is gone either way, and what was there
 * before is there yet unless it is 0. */
int part_commit(struct part *part, const uint8_t digest[COPY_DIGEST_SIZE], mode_t mode,
	int64_t mtime_ns, bool sync);

/* Gives it up: with cut, what is to be kept stays for another copy. Harmless on none. */
void part_end(struct part *part, bool cut);
