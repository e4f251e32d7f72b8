/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* postern: virtual machines and their agents, at a terminal. */
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "host/cli/parse.h"
#include "proto/log.h"

/* What is opened next must not take the place of a standard stream that the caller has closed. Each
 * open() takes the lowest number that is free. */
static void hold_standard_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			(void)!open("/", O_PATH | O_DIRECTORY);
}

int main(int argc, char **argv)
{
	int code;

	hold_standard_streams();
	(void)setlocale(LC_CTYPE, ""); /* how wide characters are */
	(void)signal(SIGPIPE, SIG_IGN);
	log_open("postern", LOG_LEVEL_INFO);
	code = cli_run(argc, argv);
	/* Output that was lost is no success, whenever that was. */
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0)
		code = POSTERN_ANSWERED;
	return code;
}
