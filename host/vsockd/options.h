/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line of postern-vsockd. */
#pragma once

#include "host/vsockd/device.h"
#include "proto/log.h"

struct options {
	struct device_options device;
	const char *socket_path; /* where to wait for the front-end; NULL with an fd */
	int fd;                  /* a connected front-end, or -EBADF */
	bool once;
	enum log_level log_level;
};

/* Parses argv. 0; 1 when all that was asked for is printed; -EINVAL when it was explained on
 * standard error what is wrong; -ENOMEM. */
int options_parse(int argc, char **argv, struct options *ret_options);

void options_done(struct options *options);
