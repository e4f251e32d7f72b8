/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each service manager needs to run the agent: files, and commands. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#define SERVICE_FILES 6
#define SERVICE_WORDS 6

struct service_file {
	const char *from; /* below the data folder; NULL: there are no more */
	const char *to;
	mode_t mode;
};

/* Commands are words that end with NULL; none at all: nothing to do. */
struct service {
	const char *manager; /* its name */
	struct service_file files[SERVICE_FILES + 1];
	const char *reload[SERVICE_WORDS]; /* after files have come or gone */
	const char *enable[SERVICE_WORDS];
	const char *start[SERVICE_WORDS]; /* or restart */
	const char *stop[SERVICE_WORDS];
	const char *disable[SERVICE_WORDS];
};

/* The service manager that runs, else the one that is installed (an image that is being built).
 * NULL: neither systemd nor OpenRC. */
const struct service *service_find(bool *ret_running);

/* Prints a command and runs it, with its output on ours. 0; -EIO when it failed, which it has said
 * itself; -errno when it could not be run, which is said. */
int service_run(const char *const command[SERVICE_WORDS]);
