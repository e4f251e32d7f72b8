/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/worker/lane.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/lane.h"
#include "agent/methods/judging.h"
#include "agent/methods/remote.h"
#include "proto/cleanup.h"

struct lane {
	struct worker *worker;
	int socket;         /* borrowed */
	enum method rights; /* whose the process has */
	int kept;           /* -errno: it has less than that */
	int verdicts;       /* borrowed */
};

/* A request and its parameters. Only one is under way at a time. */
static union {
	struct lane_request head;
	uint8_t bytes[sizeof(struct lane_request) + LANE_PARAMS_MAX];
} incoming;

static int emit(struct call *call, bool last)
{
	const struct worker *worker = call->program;

	return remote_reply(worker->reply, call->out, last);
}

/* Why the request cannot be run now; 0: it can. */
static uint32_t find_obstacle(const struct lane *lane, enum method method)
{
	const struct quarantine *hung = &lane->worker->hung;
	unsigned int flags = method_rows[method].flags;

	if (!lane->worker->verdicts.method[method].allowed)
		return ENDED_DENIED;
	if (hung->many && !(flags & WHEN_STUCK))
		return ENDED_HUNG;
	return hung->freeze.lease != 0 && !(flags & SAFE_FROZEN) ? ENDED_FROZEN : 0;
}

static int answer(const struct lane *lane, enum method method)
{
	struct worker *worker = lane->worker;
	struct call call = {.arena = &worker->arena,
		.method = method,
		.id = incoming.head.id,
		.deadline = incoming.head.deadline,
		.max_frame = incoming.head.max_frame,
		.verdicts = &worker->verdicts,
		.verdicts_fd = lane->verdicts,
		.program = worker,
		.out = &worker->out,
		.emit = emit,
		.judge = judge_request,
		.prepare = worker_prepare};
	uint32_t obstacle;
	int r;

	worker_read_quarantine(worker);
	obstacle = find_obstacle(lane, method);
	if (obstacle)
		return remote_refuse(lane->socket, obstacle);
	if (lane->kept < 0)
		return worker_fail_for_rights(&call, lane->kept);
	r = dispatch(&call, incoming.bytes + sizeof(incoming.head), incoming.head.params_len);
	worker_touch_done(&call);
	arena_reset(&worker->arena);
	if (worker->confinement.role == ROLE_WORKER &&
		worker_lower(method_rows[lane->rights].caps) < 0)
		return -EPERM;
	return r;
}

/* 1: a request is there, 0: the caller has left, or -errno. */
static int receive(const struct lane *lane)
{
	size_t have = 0, want = sizeof(incoming.head);
	enum method method;

	while (have < want) {
		ssize_t n = recv(lane->socket, incoming.bytes + have, sizeof(incoming) - have, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 && errno != ECONNRESET ? -errno : 0;
		have += (size_t)n;
		if (have >= sizeof(incoming.head)) {
			if (incoming.head.params_len > LANE_PARAMS_MAX)
				return -EMSGSIZE;
			want = sizeof(incoming.head) + incoming.head.params_len;
		}
	}
	method = (enum method)incoming.head.method;
	return have == want && incoming.head.method < METHOD_COUNT &&
			       row_same_lane(lane->rights, method)
		       ? 1
		       : -EBADMSG;
}

/* 1: something comes by the lane; 0: it should be left, since nothing comes or the broker has said
 * so. That outweighs a request, for which its session finds another process, but for the first one,
 * which has waited for this process. Or -errno. */
static int wait_for_request(const struct lane *lane, bool first)
{
	struct pollfd fds[] = {{.fd = lane->socket, .events = POLLIN},
		{.fd = lane->worker->broker, .events = POLLIN}};
	int n = poll(fds, ARRAY_SIZE(fds), LANE_IDLE_MS);

	if (n < 0)
		return errno == EINTR ? wait_for_request(lane, first) : -errno;
	return fds[0].revents != 0 && (first || fds[1].revents == 0);
}

static int serve_all(const struct lane *lane)
{
	bool first = true;
	int r;

	while ((r = wait_for_request(lane, first)) > 0) {
		first = false;
		r = receive(lane);
		if (r > 0)
			r = answer(lane, (enum method)incoming.head.method) ?: 1;
		if (r <= 0)
			break;
	}
	return r == -EPIPE ? 0 : r;
}

int lane_serve(struct worker *worker, const struct inner_message *message, int fds[INNER_FDS_MAX],
	size_t n_fds)
{
	struct lane lane = {.worker = worker, .rights = (enum method)message->method};
	int r;

	if (n_fds != 3 || message->method >= METHOD_COUNT ||
		pread(fds[1], &worker->verdicts, sizeof(worker->verdicts), 0) !=
			(ssize_t)sizeof(worker->verdicts))
		return -EBADMSG;
	if (worker->confinement.role == ROLE_WORKER)
		lane.kept = worker_keep(method_rows[lane.rights].caps,
			method_rows[lane.rights].profile == PROFILE_NETWORK);
	worker->reply = lane.socket = take_fd(&fds[0]);
	worker->quarantine = take_fd(&fds[2]);
	lane.verdicts = fds[1];
	r = serve_all(&lane);
	worker->reply = fd_close(worker->reply);
	worker->quarantine = fd_close(worker->quarantine);
	return r;
}
