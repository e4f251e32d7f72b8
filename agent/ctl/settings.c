/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <unistd.h>

#include "agent/ctl/ctl.h"
#include "proto/client/client.h"
#include "proto/log.h"

#define CMDLINE "/proc/cmdline"

int ctl_settings(const char *file, struct config *ret)
{
	char problem[512];
	int r;

	config_init(ret);
	r = config_read_file(ret, file ? file : CONFIG_DEFAULT_FILE, problem, sizeof(problem));
	if (r == -ENOENT && !file)
		r = 0;
	/* An image that is being built has no kernel. */
	if (r == 0 && access(CMDLINE, F_OK) == 0)
		r = config_read_cmdline(ret, CMDLINE, problem, sizeof(problem));
	if (r == 0)
		return 0;
	log_error("%s", problem);
	return POSTERN_ANSWERED;
}
