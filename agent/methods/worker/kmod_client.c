/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/kmod_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/worker/worker.h"
#include "proto/cleanup.h"

/* proc_filesystems(5): an optional "nodev", a tab, the name. */
static bool kernel_knows(const char *name)
{
	AUTO_FILE FILE *file = fopen("/proc/filesystems", "re");
	char line[128];

	while (file && fgets(line, sizeof(line), file)) {
		char *tab = strrchr(line, '\t');

		line[strcspn(line, "\n")] = '\0';
		if (tab && strcmp(tab + 1, name) == 0)
			return true;
	}
	return false;
}

int kmod_ask(struct call *call, const struct kmod_request *request, struct kmod_reply *ret_reply)
{
	AUTO_CLOSE int fd = -EBADF;
	ssize_t n;
	int r = worker_kmod(call, &fd);

	if (r < 0)
		return r;
	/* The broker's end came non-blocking; here the answer is waited for. */
	if (fcntl(fd, F_SETFL, 0) < 0)
		return -errno;
	if (send(fd, request, sizeof(*request), MSG_NOSIGNAL) != (ssize_t)sizeof(*request))
		return -errno;
	n = recv(fd, ret_reply, sizeof(*ret_reply), 0);
	if (n != (ssize_t)sizeof(*ret_reply))
		return n < 0 ? -errno : -EPIPE;
	ret_reply->message[sizeof(ret_reply->message) - 1] = '\0';
	return 0;
}

/* Says which modules are missing, and how they come into the guest. */
static int fail_missing(struct call *call, const struct fs_type *type, const char *why)
{
	char options[KMOD_NAME_MAX * FS_MODULES_MAX + 64] = "";

	for (size_t i = 0, n = 0; i < FS_MODULES_MAX && type->modules[i]; i++)
		n += (size_t)snprintf(
			options + n, sizeof(options) - n, " --add-module %.63s", type->modules[i]);
	return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENOENT,
		"the kernel module of %s is not in this guest: %s; install it beside the guest's "
		"kernel, or launch the small guest with%s",
		type->name, why, options);
}

int kmod_need(struct call *call, const struct fs_type *type)
{
	struct kmod_request request = {.kind = KMOD_LOAD_FOR_TYPE};
	struct kmod_reply reply = {0};
	int r;

	if (kernel_knows(type->name))
		return 0;
	if (!type->modules[0])
		return call_fail(call, POSTERN__V1__CODE__UNIMPLEMENTED, ENODEV,
			"the kernel has no %s", type->name);
	(void)snprintf(request.name, sizeof(request.name), "%s", type->name);
	r = kmod_ask(call, &request, &reply);
	if (r < 0)
		return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, -r,
			"the kernel module of %s is not loaded, and postern-kmod cannot be asked: "
			"%s",
			type->name, strerror(-r));
	if (reply.error == ENOENT)
		return fail_missing(call, type, reply.message);
	if (reply.error != 0)
		return call_fail(call, code_of_errno(reply.error), reply.error,
			"the kernel module of %s cannot be loaded: %s", type->name, reply.message);
	if (kernel_knows(type->name))
		return 0;
	return call_fail(call, POSTERN__V1__CODE__UNIMPLEMENTED, ENODEV,
		"the module %s was loaded, but the kernel still has no %s", type->modules[0],
		type->name);
}
