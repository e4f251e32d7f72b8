/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/kmod.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/broker/child.h"
#include "agent/broker/keeper.h"
#include "agent/broker/unit_socket.h"
#include "kmod-helpers/wire.h"
#include "proto/cleanup.h"

#define KMOD_SOCKET "/run/postern/kmod.sock"

/* Only a worker whose method changes something loads modules; whoever else asks may only look. */
static bool may_load(const struct child *worker)
{
	return worker->role == ROLE_WORKER && worker->method < METHOD_COUNT &&
	       method_rows[worker->method].flags & MUTATING;
}

static int restrain(int fd)
{
	struct kmod_request request = {.kind = KMOD_ONLY_INFO};

	return send(fd, &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

void kmod_connect(struct child *worker)
{
	struct inner_message message = {.kind = INNER_KMOD};
	AUTO_CLOSE int fd = -EBADF;
	int r = unit_connect(KMOD_SOCKET, &fd);

	if (r < 0)
		r = keeper_connect(worker->broker, &fd);
	if (r == 0 && !may_load(worker))
		r = restrain(fd);
	message.arg = (uint64_t)-r;
	(void)child_send(worker, &message, NULL, &fd, r == 0 ? 1 : 0);
}
