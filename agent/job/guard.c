/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/job/guard.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include "agent/inner.h"
#include "agent/sandbox/confine.h"
#include "proto/cleanup.h"
#include "proto/limits.h"
#include "proto/log.h"

struct guarded {
	int fds[FREEZE_MOST]; /* owned */
	size_t n;
};

static int take_all(int socket, struct guarded *guarded)
{
	struct inner_message message = {0};
	int fds[INNER_FDS_MAX], r;
	size_t n_fds;

	while (message.arg == 0) {
		r = inner_receive(socket, &message, NULL, 0, fds, &n_fds);
		if (r <= 0)
			return r < 0 ? r : -EPIPE;
		for (size_t i = 0; i < n_fds && guarded->n < FREEZE_MOST; i++)
			guarded->fds[guarded->n++] = take_fd(&fds[i]);
		inner_close_fds(fds);
		if (message.kind != INNER_GUARD)
			return -EBADMSG;
	}
	return inner_send(socket, &message, NULL, NULL, 0);
}

static void thaw_all(const struct guarded *guarded)
{
	size_t thawed = 0;

	for (size_t i = guarded->n; i-- > 0;)
		thawed += ioctl(guarded->fds[i], FITHAW, 0) == 0;
	/* The record stays: the next agent tells who is interested, and runs the hooks. */
	log_warning("the agent died with file systems frozen: thawed %zu", thawed);
}

static void close_all(struct guarded *guarded)
{
	for (size_t i = 0; i < guarded->n; i++)
		(void)fd_close(guarded->fds[i]);
}

int guard_run(int socket)
{
	struct inner_message message;
	struct guarded guarded = {0};
	int fds[INNER_FDS_MAX], r = job_raise();
	size_t n_fds;

	if (r == 0)
		r = job_keep(UINT64_C(1) << CAP_SYS_ADMIN);
	/* A child of the broker's would end with it. */
	if (r == 0 && prctl(PR_SET_PDEATHSIG, 0) < 0)
		r = -errno;
	if (r == 0)
		r = take_all(socket, &guarded);
	if (r == 0) {
		r = inner_receive(INNER_FD, &message, NULL, 0, fds, &n_fds);
		if (r > 0)
			inner_close_fds(fds);
		if (r <= 0 || message.kind != INNER_FORGET)
			thaw_all(&guarded);
		r = 0;
	}
	close_all(&guarded);
	return r;
}
