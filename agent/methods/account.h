/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A user of the guest, as its name service has it. */
#pragma once

#include <sys/types.h>

#include "proto/arena.h"

#define ACCOUNT_GROUPS_MAX 256

struct account {
	uid_t uid;
	gid_t gid;
	gid_t groups[ACCOUNT_GROUPS_MAX];
	size_t groups_n;
	const char *name;  /* its number where it has no name */
	const char *home;  /* "/" where there is none */
	const char *shell; /* "/bin/sh" where there is none */
};

/* Root, with its own group alone, by the guest's own file: whoever runs a program as nobody in
 * particular need not wait for a name service. 0 or -ENOMEM. */
int account_root(struct arena *arena, struct account *ret);

/* The user of this name or number (a number without an entry is taken as it is); texts live in the
 * arena. 0; -ENOENT: there is none; -ENOMEM, or -errno of the name service. May block for it. */
int account_find(struct arena *arena, const char *user, struct account *ret);

/* The number of a group's name or number. 0 or as above. */
int account_group(const char *group, gid_t *ret);
