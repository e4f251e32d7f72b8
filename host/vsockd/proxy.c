/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/proxy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "host/vsockd/device.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define KEYWORD     "CONNECT "
#define KEYWORD_LEN (sizeof(KEYWORD) - 1)

/* A decimal number below limit, with no sign and no leading zero, from *text on. */
static int parse_port(const char **text, const char *end, uint32_t limit, uint32_t *ret_port)
{
	const char *at = *text;
	uint64_t value = 0;

	while (at < end && *at >= '0' && *at <= '9' && value < limit)
		value = value * 10 + (uint64_t)(*at++ - '0');
	if (at == *text || value >= limit || (**text == '0' && at - *text > 1))
		return -EBADMSG;
	*text = at;
	*ret_port = (uint32_t)value;
	return 0;
}

int proxy_parse(const char *text, size_t len, struct proxy_request *ret_request)
{
	const char *newline = memchr(text, '\n', len < PROXY_LINE_MAX ? len : PROXY_LINE_MAX);
	struct proxy_request request = {0};
	const char *end;

	if (!newline)
		return len < PROXY_LINE_MAX ? -EAGAIN : -EBADMSG;
	end = newline > text && newline[-1] == '\r' ? newline - 1 : newline;
	len = (size_t)(newline - text) + 1;
	if ((size_t)(end - text) < KEYWORD_LEN || strncasecmp(text, KEYWORD, KEYWORD_LEN) != 0)
		return -EBADMSG;
	text += KEYWORD_LEN;
	if (parse_port(&text, end, UINT32_MAX, &request.port) < 0)
		return -EBADMSG;
	if (end - text == 5 && memcmp(text, " root", 5) == 0)
		request.root = true;
	else if (text != end)
		return -EBADMSG;
	*ret_request = request;
	return (int)len;
}

static bool is_root(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == 0;
}

static int start_request(struct flow *flow, const struct proxy_request *request)
{
	struct device *device = flow->device;

	if (!frontend_connected(&device->frontend))
		return -ENOTCONN;
	if (request->root && !is_root(flow->fd))
		return -EPERM;
	return flow_bind_auto(flow, request->port, request->root);
}

void proxy_on_client(struct flow *flow, uint32_t events)
{
	struct device *device = flow->device;
	char line[PROXY_LINE_MAX];
	struct proxy_request request;
	ssize_t n;
	int r;

	/* Looked at first, so that what the client sends ahead stays in the socket. */
	n = recv(flow->fd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	r = n <= 0 ? -EBADMSG : proxy_parse(line, (size_t)n, &request);
	if (r == -EAGAIN && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		return;
	if (r > 0 && recv(flow->fd, line, (size_t)r, MSG_DONTWAIT) != r)
		r = -EBADMSG;
	if (r > 0)
		r = start_request(flow, &request);
	if (r < 0) {
		device->counters.refused++;
		flow_free(flow);
		return;
	}
	flow_request(flow);
}

void proxy_confirm(struct flow *flow)
{
	char line[32];
	int len = snprintf(line, sizeof(line), "OK %" PRIu32 "\n", flow->host_port);

	if (send(flow->fd, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) != len) {
		flow_reset(flow);
		return;
	}
	flow->device->counters.host_connects++;
	flow_establish(flow);
}

static void on_client(struct listener *listener, int fd, const struct sockaddr_storage *peer)
{
	struct device *device = container_of(listener, struct device, proxy);
	struct flow *flow;

	(void)peer;
	if (flow_new(device, fd, FLOW_LINE, &flow) < 0) {
		device->counters.refused++;
		return;
	}
	loop_timer_set(&device->loop, &flow->timer,
		monotonic_ns() + PROXY_LINE_TIMEOUT_MS * NSEC_PER_MSEC);
	/* The line may be there already. */
	proxy_on_client(flow, 0);
}

int proxy_open(struct device *device, int fd)
{
	return listener_start(&device->proxy, &device->loop, fd, on_client);
}
