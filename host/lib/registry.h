/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The machines of a user: a directory each, below one root (0700).
 *
 *   $POSTERN_RUNTIME_DIR, else /run/postern-host for root, else $XDG_RUNTIME_DIR/postern
 *     .lock                held while entries are made, taken over or dropped
 *     NAME/lock            held by the VM's supervisor: the proof that it lives
 *     NAME/...             common/vm_files.h
 *     @ENV/                an environment (environment.h), with such entries
 *
 * A machine is named "NAME" or "ENV/NAME"; "/NAME" is in no environment. Without a slash it is in
 * $POSTERN_ENV, where that is set.
 *
 * Locks are those of common/lock.h: looking at one never takes it, and a supervisor inherits the
 * one under which its entry was made.
 */
#pragma once

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/lib/lease.h"
#include "proto/client/client.h"

/* Is it a name for a VM (NULL, or nothing behind the slash: one will be made up)? 0 or -EINVAL with
 * *error. */
int registry_check_name(const char *name, struct postern_error *error);

struct registry_entry {
	char name[64];
	char full[130]; /* "ENV/NAME", "/NAME": the same VM for everybody */
	char dir[PATH_MAX];
	int dir_fd;
	int lock_fd; /* held; to be handed to the supervisor */
	struct lease lease;
};

#define REGISTRY_NO_ENTRY                                                                          \
	{                                                                                          \
		.dir_fd = -EBADF, .lock_fd = -EBADF, .lease = {.fd = -EBADF, .vhost_fd = -EBADF }  \
	}

/*
 * Claims an entry for a new VM: without a name the first free of vm1, vm2, ...; with a lease of a
 * CID as lease_claim() has it. What an ended VM of the same name left is cleared, but for its
 * persistent shares. 0; -EEXIST where a VM of that name runs; -EADDRINUSE where one has that CID;
 * or another -errno with *error. Name and CID are claimed until the entry's descriptors are closed.
 */
int registry_claim(const char *name, uint32_t cid, bool vsock_kernel,
	struct registry_entry *ret_entry, struct postern_error *error);

/* Closes the entry's descriptors. */
void registry_entry_done(struct registry_entry *entry);

/* The environments, sorted; the first is "", the one without a name. Freed with
 * registry_names_free(). */
int registry_envs(char ***ret_envs, size_t *ret_n, struct postern_error *error);

/* The names of all entries of an environment (NULL: $POSTERN_ENV, or that without a name), sorted
 * and without it. The caller frees with registry_names_free(). */
int registry_names(const char *env, char ***ret_names, size_t *ret_n, struct postern_error *error);
void registry_names_free(char **names, size_t n);

/* Opens the directory of a name (O_PATH). -ENOENT with failure ABSENT. *ret_live: its supervisor
 * lives. */
int registry_open(const char *name, char ret_dir[PATH_MAX], int *ret_dir_fd, bool *ret_live,
	struct postern_error *error);

/* Does the supervisor of this directory live? */
bool registry_is_live(int dir_fd);

/* Drops the entry of an ended VM, and with its last one the environment. -EBUSY where it lives. */
int registry_drop(const char *name, struct postern_error *error);
