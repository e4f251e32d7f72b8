/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a process that gave up the network can still open. */
/* needs: agent/sandbox/families.c */
#include "tests/unit/unit.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/sandbox/families.h"

/* errno of socket(), or 0. */
static int try_socket(int family)
{
	int fd = socket(family, SOCK_DGRAM, 0);

	return fd < 0 ? errno : close(fd);
}

static int child(void)
{
	static const int denied[] = {AF_INET, AF_INET6, AF_PACKET, AF_TIPC, AF_ALG, 1000, -1};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || families_keep_local() < 0)
		return 1;
	for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++)
		if (try_socket(denied[i]) != EAFNOSUPPORT)
			return 10 + (int)i;
	if (try_socket(AF_UNIX) != 0 || try_socket(AF_NETLINK) == EAFNOSUPPORT)
		return 2;
	/* Past the call that is filtered. */
	if (syscall(SYS_io_uring_setup, 1, NULL) != -1 || errno != ENOSYS)
		return 3;
#ifdef __x86_64__
	if (syscall(0x40000000 | SYS_socket, AF_INET, SOCK_DGRAM, 0) != -1 || errno != ENOSYS)
		return 4;
#endif
	return getpid() > 0 ? 0 : 5;
}

UNIT(network_is_out_of_reach)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {RUN(network_is_out_of_reach)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
