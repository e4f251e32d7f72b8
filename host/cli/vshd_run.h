/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program of a guest at our standard streams, through the vshd that the guest has. */
#pragma once

#include "host/cli/command.h"

struct vshd_run {
	uint32_t port;
	bool terminal;    /* the program has one: ours is raw meanwhile, if there is one */
	const char *user; /* NULL: whom vshd takes */
	const char *cwd;  /* NULL: where vshd starts it */
	char **argv;      /* argc words; none: a login shell */
	int argc;
};

/* Connects to the machine of the command's first word, and runs the program to its end. Returns the
 * exit code of the command: what vshd says of the program's, or one of ours after saying why. */
int vshd_run(struct cli *cli, const struct vshd_run *how);
