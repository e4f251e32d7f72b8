/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/ending.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "proto/cleanup.h"

int ending_open(const int *signals, size_t n)
{
	AUTO_CLOSE int fd = -EBADF;
	struct sigaction now;
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < n; i++)
		if (sigaction(signals[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			(void)sigaddset(&set, signals[i]);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	return take_fd(&fd);
}
