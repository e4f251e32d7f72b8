/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/flow.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/write.h"

/* Standard output is somebody else's too, so it is not made non-blocking: a pipe that poll() calls
 * writable takes so many bytes without waiting (pipe(7)). */
static size_t most_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode)) ? FLOW_SIZE
										    : PIPE_BUF;
}

void flow_init(struct flow *flow, int from, int to)
{
	flow->from = from;
	flow->to = to;
	flow->at = flow->end = 0;
	flow->most = most_of(to);
	flow->ended = from < 0;
	flow->count = 0;
}

static struct pollfd want(int fd, bool wanted, short events)
{
	return (struct pollfd){.fd = wanted ? fd : -1, .events = events};
}

struct pollfd flow_source(const struct flow *flow)
{
	return want(flow->from, flow_is_empty(flow) && !flow->ended, POLLIN);
}

struct pollfd flow_target(const struct flow *flow)
{
	return want(flow->to, !flow_is_empty(flow), POLLOUT);
}

int flow_take(struct flow *flow, const struct pollfd *source)
{
	ssize_t n;

	if (!flow_is_empty(flow) || flow->ended || !source->revents)
		return 0;
	n = read(flow->from, flow->bytes, sizeof(flow->bytes) - 1);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	flow->ended = n == 0;
	flow->at = 0;
	flow->end = (size_t)n;
	return 0;
}

int flow_give(struct flow *flow, const struct pollfd *target)
{
	size_t len = flow->end - flow->at;
	ssize_t n;

	if (flow_is_empty(flow) || (!target->revents && flow->most != FLOW_SIZE))
		return 0;
	n = write(flow->to, flow->bytes + flow->at, len < flow->most ? len : flow->most);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	flow->at += (size_t)n;
	flow->count += (uint64_t)n;
	return 0;
}

void flow_add(struct flow *flow, const void *bytes, size_t len)
{
	if (flow_is_empty(flow))
		flow->at = flow->end = 0;
	if (len > 0)
		memcpy(flow->bytes + flow->end, bytes, len);
	flow->end += len;
}

bool flow_typed(struct flow *flow, struct escape *escape)
{
	static uint8_t typed[FLOW_SIZE];
	size_t len = flow->end;
	enum escape_wish wish;

	memcpy(typed, flow->bytes, len);
	wish = escape_take(escape, typed, len, flow->bytes, &flow->end);
	if (wish == ESCAPE_HELP)
		(void)write_all(STDOUT_FILENO, ESCAPE_HELP_TEXT, strlen(ESCAPE_HELP_TEXT));
	return wish == ESCAPE_LEAVE;
}
