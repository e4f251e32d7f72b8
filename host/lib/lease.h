/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leases of CIDs: one file a CID, named by its number, locked (an open file description lock) by
 * the supervisor of the machine that has it, and removed with it. What is in it says whose it is. A
 * file that nobody holds is stale: its supervisor was killed, and the CID is free.
 *
 * They are in /run/postern-cids (root's, mode 1777), which all users of the host share. Where that
 * is not, or $POSTERN_RUNTIME_DIR is set, in .cids of the user's own root. Others, and tools that
 * know nothing of this, may have a CID all the same: the kernel's vhost-vsock tells of theirs.
 */
#pragma once

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/client/client.h"

#define LEASE_DIR "/run/postern-cids"

struct lease {
	uint32_t cid;
	char path[PATH_MAX]; /* "": none */
	int fd;              /* holds its lock; to be handed to the supervisor */
	int vhost_fd;        /* /dev/vhost-vsock with the CID set; -EBADF: not asked for */
};

/*
 * Leases a CID: the wanted one, or with 0 the first that is free from 3 up. base is the user's own
 * root; name is written into it. With kernel the host's vhost-vsock has it too, and a CID that
 * somebody else there has is passed over. 0 with *ret_lease; -EADDRINUSE where the wanted one is
 * not free, or another -errno, with *error.
 */
int lease_claim(const char *base, const char *name, uint32_t wanted, bool kernel,
	struct lease *ret_lease, struct postern_error *error);

/* Closes our descriptors; a lease that nobody holds then is removed. */
void lease_done(struct lease *lease);

/* All leases as an array of {"cid", "name", "user", "uid", "held"}, by CID; a new reference in
 * *ret_list. 0 or -errno with *error. */
int lease_list(const char *base, json_t **ret_list, struct postern_error *error);
