/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/forward_link.h"

#include <errno.h>
#include <netinet/in.h>

#include "host/cli/grant.h"
#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/client/json_call.h"

#define CONNECT_MS 2000
#define OPEN_MS    5000

void forward_link_close(struct forward_link *link)
{
	postern_client_close(link->client);
	*link = (struct forward_link){.control = fd_close(link->control)};
}

/* Each spec's guest side goes to one of two lists, and knows its place there. */
static json_t *params_of(struct forward_spec *specs, size_t n)
{
	json_t *listen = json_array(), *connect = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *list = specs[i].guest_listens ? listen : connect;

		specs[i].index = (uint32_t)json_array_size(list);
		(void)json_array_append_new(list, forward_spec_guest(&specs[i]));
	}
	return json_pack("{s:o, s:o}", "listen", listen, "connect", connect);
}

static void take_ports(const json_t *answer, struct forward_spec *specs, size_t n)
{
	const json_t *listening = json_object_get(answer, "listening");

	for (size_t i = 0; i < n; i++) {
		const json_t *end = json_array_get(listening, specs[i].index);
		json_int_t port = json_field_int(end, "port", 0);

		if (specs[i].guest_listens && specs[i].guest.transport != FORWARD_UNIX &&
			port > 0 && port <= 65535)
			((struct sockaddr_in *)&specs[i].guest.address)->sin_port =
				htons((uint16_t)port);
	}
}

int forward_link_open(struct forward_link *link, const char *vm, struct forward_spec *specs,
	size_t n, struct postern_error *error)
{
	static const struct postern_options options = {
		.name = "postern " POSTERN_VERSION, .connect_ms = CONNECT_MS};
	AUTO_FREE char *address = NULL;
	AUTO_JSON json_t *params = params_of(specs, n);
	AUTO_JSON json_t *answer = NULL;
	int r = postern_vm_address(vm, &address, error);

	*link = (struct forward_link){.control = -EBADF};
	if (r == 0)
		r = postern_client_open(address, &options, &link->client, error);
	if (r == 0)
		r = json_call_object(link->client, "forward.open", params, OPEN_MS, &answer, error);
	if (r == 0)
		r = grant_open(link->client, answer, "channel", &link->control, error);
	if (r == 0 && link->control < 0)
		r = fail(error, POSTERN_PROTOCOL, EPROTO, "forward.open: no channel was granted");
	if (r == 0)
		take_ports(answer, specs, n);
	else
		forward_link_close(link);
	return r;
}
