/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* postern: virtual machines and their agents, at a terminal. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>

#include "host/cli/parse.h"
#include "proto/log.h"

int main(int argc, char **argv)
{
	int code;

	(void)setlocale(LC_CTYPE, ""); /* how wide characters are */
	(void)signal(SIGPIPE, SIG_IGN);
	log_open("postern", LOG_LEVEL_INFO);
	code = cli_run(argc, argv);
	/* Output that was lost is no success. */
	if (fflush(stdout) != 0 && code == 0)
		code = POSTERN_ANSWERED;
	return code;
}
