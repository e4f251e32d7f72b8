/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* postern: virtual machines and their agents, at a terminal. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "host/cli/parse.h"
#include "proto/log.h"

/* What is opened next must not take the place of a standard stream that the caller has closed. */
static int hold_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	return fd < 0 ? -errno : (close(fd), 0);
}

int main(int argc, char **argv)
{
	int code;

	if (hold_standard_streams() < 0)
		return POSTERN_ANSWERED;
	(void)setlocale(LC_CTYPE, ""); /* how wide characters are */
	(void)signal(SIGPIPE, SIG_IGN);
	log_open("postern", LOG_LEVEL_INFO);
	code = cli_run(argc, argv);
	/* Output that was lost is no success, whenever that was. */
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0)
		code = POSTERN_ANSWERED;
	return code;
}
