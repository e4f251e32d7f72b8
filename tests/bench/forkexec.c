/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a program's start costs without anybody in between: fork, exec and wait of it.
 *
 *   forkexec COUNT PROGRAM [ARGUMENT...]
 *
 * Prints the microseconds of each, one a line.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_us(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	for (long count = strtol(argv[1], NULL, 10); count > 0; count--) {
		uint64_t began = now_us();
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			(void)execv(argv[2], argv + 2);
			_exit(127);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
			return 1;
		printf("%" PRIu64 "\n", now_us() - began);
	}
	return 0;
}
