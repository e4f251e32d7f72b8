/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/cut.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>

#include "proto/cleanup.h"

static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t streams[2] = {-EBADF, -EBADF}, came;

static void on_signal(int number)
{
	int keep = errno;

	came = number;
	for (size_t i = 0; i < ARRAY_SIZE(streams); i++)
		(void)shutdown(streams[i], SHUT_RDWR);
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		(void)signal(ending[i], SIG_DFL);
	errno = keep;
}

void cut_begin(int fd, int other)
{
	struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;

	came = 0;
	streams[0] = fd;
	streams[1] = other;
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		if (sigaction(ending[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
			(void)sigaction(ending[i], &ours, NULL);
}

int cut_end(void)
{
	struct sigaction now;

	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		if (sigaction(ending[i], NULL, &now) == 0 && now.sa_handler == on_signal)
			(void)signal(ending[i], SIG_DFL);
	streams[0] = streams[1] = -EBADF;
	return came;
}
