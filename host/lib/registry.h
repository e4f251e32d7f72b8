/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The machines of a user: a directory each, below one root (0700).
 *
 *   $POSTERN_RUNTIME_DIR, else /run/postern-host for root, else $XDG_RUNTIME_DIR/postern
 *     .lock                held while entries are made, taken over or dropped
 *     NAME/lock            held by the VM's supervisor: the proof that it lives
 *     NAME/...             common/vm_files.h
 *
 * Locks are open file description locks: looking at one never takes it, and a supervisor inherits
 * the one under which its entry was made.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/client/client.h"

/* The root, made where it is missing. 0; or -errno with *error: also where somebody else owns it or
 * others may enter. */
int registry_root(char ret_root[PATH_MAX], struct postern_error *error);

/* Is it a name for a VM (NULL: one will be made up)? 0 or -EINVAL with *error. */
int registry_check_name(const char *name, struct postern_error *error);

struct registry_entry {
	char name[64];
	char dir[PATH_MAX];
	int dir_fd;
	int lock_fd; /* held; to be handed to the supervisor */
	uint32_t cid;
};

/*
 * Claims an entry for a new VM: name NULL takes the first free of vm1, vm2, ...; cid 0 the first
 * free from 3 up. What an ended VM of the same name left is cleared, but for its persistent shares.
 * 0; -EEXIST where a VM of that name runs; -EADDRINUSE where one has that CID. The entry is claimed
 * until its lock is closed.
 */
int registry_claim(const char *name, uint32_t cid, struct registry_entry *ret_entry,
	struct postern_error *error);

/* Closes the entry's descriptors. */
void registry_entry_done(struct registry_entry *entry);

/* The names of all entries, sorted. The caller frees with registry_names_free(). */
int registry_names(char ***ret_names, size_t *ret_n, struct postern_error *error);
void registry_names_free(char **names, size_t n);

/* Opens the directory of a name (O_PATH). -ENOENT with failure ABSENT. *ret_live: its supervisor
 * lives. */
int registry_open(const char *name, char ret_dir[PATH_MAX], int *ret_dir_fd, bool *ret_live,
	struct postern_error *error);

/* Does the supervisor of this directory live? */
bool registry_is_live(int dir_fd);

/* Drops the entry of an ended VM. -EBUSY where it lives. */
int registry_drop(const char *name, struct postern_error *error);
