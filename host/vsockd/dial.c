/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/dial.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "host/vsockd/device.h"
#include "proto/cleanup.h"

int ports_parse(const char *text, struct ports *ret_ports)
{
	AUTO_FREE uint32_t *list = NULL;
	unsigned count = 0;

	if (strcmp(text, "all") == 0) {
		*ret_ports = (struct ports){.all = true};
		return 0;
	}
	list = calloc(strlen(text) / 2 + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (;;) {
		unsigned long long port;
		char *end;

		if (*text < '0' || *text > '9')
			return -EINVAL;
		port = strtoull(text, &end, 10);
		if (port >= UINT32_MAX || (*end != ',' && *end != '\0'))
			return -EINVAL;
		list[count++] = (uint32_t)port;
		if (*end == '\0')
			break;
		text = end + 1;
	}
	*ret_ports = (struct ports){.count = count, .list = take_ptr(list)};
	return 0;
}

bool ports_allow(const struct ports *ports, uint32_t port)
{
	for (unsigned i = 0; i < ports->count; i++)
		if (ports->list[i] == port)
			return true;
	return ports->all;
}

/* Connects to the socket of a port: it must be a socket, not a link to one, and belong to this
 * user or to root. */
static int connect_port(const struct device *device, uint32_t port, int *ret_fd)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	AUTO_CLOSE int fd = -EBADF;
	struct stat st;
	int n;

	if (!ports_allow(&device->options->allow, port))
		return -EACCES;
	n = snprintf(
		addr.sun_path, sizeof(addr.sun_path), "%s_%" PRIu32, device->options->uds, port);
	if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	if (lstat(addr.sun_path, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid()))
		return -EACCES;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

void dial(struct device *device, const struct packet *request)
{
	struct flow *flow = NULL;
	int fd = -EBADF, r = -EMFILE;

	/* Looked at first: the listener's queue is not the guest's to fill. */
	if (device->flows.count < device->flows.max)
		r = connect_port(device, request->dst_port, &fd);
	if (r == 0)
		r = flow_new(device, fd, FLOW_ESTABLISHED, &flow);
	if (r == 0) {
		r = flow_bind(flow, request->src_port, request->dst_port);
		if (r < 0)
			flow_free(flow);
	}
	if (r != 0) {
		device->counters.refused++;
		replies_push(&device->replies, request->src_port, request->dst_port, request->type);
		return;
	}
	device->counters.guest_connects++;
	flow->announced = true;
	(void)credit_hear(&flow->credit, request->buf_alloc, request->fwd_cnt);
	flow_owe(flow, OP_RESPONSE);
	flow_establish(flow);
}
