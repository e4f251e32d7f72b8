/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/hooks.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define SPARE_NS NSEC_PER_SEC /* for what is still to be done behind them */

/* A folder that cannot be read may have some: who runs them says so. */
static bool may_have_any(struct call *call, enum hook_event event)
{
	char folder[PATH_MAX];
	const struct dirent *entry;
	bool found;
	DIR *dir;

	(void)snprintf(folder, sizeof(folder), "%s/%s", worker_facts(call)->hooks_dir,
		hook_event_name(event));
	dir = opendir(folder);
	found = !dir && errno != ENOENT;
	while (dir && !found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.';
	if (dir)
		(void)closedir(dir);
	return found;
}

/* The one who runs them knows the time, too; a moment more, for what it says then. */
static int take_result(int socket, uint64_t deadline, struct hook_result *ret)
{
	struct pollfd wait = {.fd = socket, .events = POLLIN};

	if (poll(&wait, 1, ms_until(deadline + SPARE_NS / 2)) <= 0)
		return -ETIMEDOUT;
	return recv(socket, ret, sizeof(*ret), 0) == (ssize_t)sizeof(*ret) ? 0 : -ECHILD;
}

int hooks_call(struct call *call, enum hook_event event, struct hook_result *ret)
{
	AUTO_CLOSE int ours = -EBADF;
	AUTO_CLOSE int theirs = -EBADF;
	uint64_t now = monotonic_ns(), deadline = call->deadline - SPARE_NS;
	int pair[2], r;

	*ret = (struct hook_result){.end = HOOK_OK};
	if (!may_have_any(call, event))
		return 0;
	/* After something there is always some time for them. */
	if (call->deadline < now + 2 * SPARE_NS)
		deadline = now + SPARE_NS;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	r = worker_want_hooks(call, event, deadline, theirs);
	/* Else nobody would hear of its end. */
	fd_closep(&theirs);
	if (r == 0)
		r = take_result(ours, deadline, ret);
	if (r < 0)
		*ret = (struct hook_result){.end = HOOK_NOT_RUN, .value = -r};
	ret->name[sizeof(ret->name) - 1] = '\0';
	return r;
}

static const char *in_words(const struct hook_result *result, char words[128])
{
	switch (result->end) {
	case HOOK_EXITED:
		(void)snprintf(words, 128, "it ended with exit code %d", result->value);
		break;
	case HOOK_KILLED:
		(void)snprintf(words, 128, "it was ended by signal %d", result->value);
		break;
	case HOOK_LATE:
		(void)snprintf(words, 128, "it was not done in time, and was killed");
		break;
	default:
		(void)snprintf(words, 128, "%s",
			result->value == EPERM
				? "it must be a file of root that nobody else can write"
			: result->value == ECHILD ? "the agent can run no programs here"
						  : strerror(result->value));
	}
	return words;
}

int hooks_fail(struct call *call, enum hook_event event, const struct hook_result *result,
	const char *rest)
{
	char words[128];

	return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, 0, "hook %s/%s: %s%s",
		hook_event_name(event), result->name[0] ? result->name : "*",
		in_words(result, words), rest);
}
