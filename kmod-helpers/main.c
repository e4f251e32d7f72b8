/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * postern-kmod: the only program of Postern that may load kernel modules. It answers one
 * connection, which it was started with as descriptor 3 (by posternd, or by its socket unit with
 * Accept=yes), and ends; or it loads the boot list. All it keeps is CAP_SYS_MODULE.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kmod-helpers/module.h"
#include "proto/log.h"

#define CONNECTION 3

static int keep(uint32_t caps)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{.permitted = caps, .effective = caps}, {0}};

	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

static int give_up_the_rest(void)
{
	int r;

	for (int cap = 0; cap <= 63; cap++)
		if (cap != CAP_SYS_MODULE && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 &&
			errno == EINVAL)
			break;
	r = keep(1u << CAP_SYS_MODULE);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	return r;
}

/* Everything a NUL-terminated string should be, whatever was sent. */
static void terminate(struct kmod_request *request)
{
	request->name[sizeof(request->name) - 1] = '\0';
	if (request->parameters > KMOD_PARAMETERS_MAX)
		request->parameters = KMOD_PARAMETERS_MAX;
	for (uint32_t i = 0; i < request->parameters; i++) {
		request->parameter[i].name[sizeof(request->parameter[i].name) - 1] = '\0';
		request->parameter[i].value[sizeof(request->parameter[i].value) - 1] = '\0';
	}
}

static int serve(void)
{
	struct kmod_request request;
	struct kmod_reply reply;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	bool only_info = false;
	ssize_t n;

	if (getsockopt(CONNECTION, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.uid != 0) {
		log_error("expected a connection of root as descriptor 3");
		return 1;
	}
	while ((n = recv(CONNECTION, &request, sizeof(request), 0)) == (ssize_t)sizeof(request)) {
		terminate(&request);
		if (request.kind == KMOD_ONLY_INFO && keep(0) == 0) {
			only_info = true;
			continue;
		}
		if (only_info && request.kind != KMOD_INFO)
			return 1;
		module_answer(&request, &reply);
		if (send(CONNECTION, &reply, sizeof(reply), MSG_NOSIGNAL) != (ssize_t)sizeof(reply))
			return 1;
	}
	return n == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	int r;

	log_open("postern-kmod", LOG_LEVEL_INFO);
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "--version") == 0)) {
		puts(argv[1][2] == 'v' ? "postern-kmod " POSTERN_VERSION
				       : "Usage: postern-kmod [--boot]\n\n"
					 "Answers a connection on descriptor 3; --boot loads the "
					 "boot list.");
		return 0;
	}
	r = give_up_the_rest();
	if (r < 0) {
		log_error("capabilities: %s", strerror(-r));
		return 1;
	}
	if (argc > 1 && strcmp(argv[1], "--boot") == 0)
		return module_load_boot_list() > 0;
	return serve();
}
