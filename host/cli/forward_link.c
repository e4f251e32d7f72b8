/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/forward_link.h"

#include <errno.h>
#include <netinet/in.h>

#include "forward.pb-c.h"
#include "host/cli/grant.h"
#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/client/error.h"
#include "proto/client/json.h"
#include "proto/clock.h"

#define CONNECT_MS 2000
#define OPEN_MS    5000

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

static void fail_link(struct forward_link *link, struct postern_error *error)
{
	forward_link_close(link);
	link->down(link, error);
}

static int fail_errno_of(struct postern_error *error, int r)
{
	return fail_errno(error, POSTERN_ANSWERED, -r, "the connection to the agent");
}

/* ---- the first channel ---- */

static void on_channel(struct loop_io *io, uint32_t events)
{
	struct forward_link *link = container_of(io, struct forward_link, io);
	struct postern_error error = {0};
	int r = postern_channel_go_on(link->channel, &link->control, &error);

	(void)events;
	if (r == 0) {
		r = loop_io_set(io, (uint32_t)postern_channel_events(link->channel));
		if (r < 0)
			(void)fail_errno_of(&error, r);
	} else if (r > 0) {
		loop_io_del(io);
		loop_timer_del(&link->late);
		postern_channel_free(take_ptr(link->channel));
		take_ports(link->answer, link->specs, link->n);
		link->up(link);
	}
	if (r < 0)
		fail_link(link, &error);
	postern_error_clear(&error);
}

static void on_late(struct loop_timer *timer)
{
	struct forward_link *link = container_of(timer, struct forward_link, late);
	struct postern_error error = {0};

	(void)fail(&error, POSTERN_TIMED_OUT, ETIMEDOUT, "no channel in time");
	fail_link(link, &error);
	postern_error_clear(&error);
}

static int open_channel(struct forward_link *link, struct postern_error *error)
{
	uint8_t token[POSTERN_TOKEN_SIZE];
	int r = grant_token(link->answer, "channel", token, error);

	if (r == 0)
		return fail(
			error, POSTERN_PROTOCOL, EPROTO, "forward.open: no channel was granted");
	if (r > 0)
		r = postern_channel_start(link->agent.client, token, &link->channel, error);
	if (r < 0)
		return r;
	loop_timer_set(link->agent.loop, &link->late, monotonic_ns() + OPEN_MS * NSEC_PER_MSEC);
	r = loop_io_add(link->agent.loop, &link->io, postern_channel_fd(link->channel),
		(uint32_t)postern_channel_events(link->channel));
	return r < 0 ? fail_errno_of(error, r) : 0;
}

/* ---- forward.open ---- */

/* The link is not to be closed in here: on_agent() comes next. */
static void on_reply(
	void *ctx, const struct postern_error *error, const uint8_t *result, size_t len, bool more)
{
	struct forward_link *link = ctx;
	const char *why;

	(void)more;
	if (error)
		error_copy(&link->failed, error);
	else if (json_from_message(&postern__v1__forward_open_reply__descriptor, result, len,
			 &link->answer, &why) < 0)
		(void)fail(&link->failed, POSTERN_PROTOCOL, EPROTO,
			"the answer of forward.open cannot be read: %s", why);
}

static int ask(struct forward_link *link, struct postern_error *error)
{
	AUTO_JSON json_t *params = params_of(link->specs, link->n);
	AUTO_FREE uint8_t *bytes = NULL;
	char problem[256] = "";
	size_t len = 0;
	uint64_t id;
	int r = json_to_message(&postern__v1__forward_open_request__descriptor, params, &bytes,
		&len, problem, sizeof(problem));

	if (r < 0)
		return fail_errno(error, POSTERN_USAGE, -r, "forward.open: %s", problem);
	link->asked = true;
	r = postern_call_start(
		link->agent.client, "forward.open", bytes, len, OPEN_MS, on_reply, link, &id);
	return r < 0 ? fail_errno_of(error, r) : 0;
}

static void on_agent(struct link *agent, const struct postern_error *ended)
{
	struct forward_link *link = container_of(agent, struct forward_link, agent);
	struct postern_error error = {0};
	int r = 0;

	if (ended || link->failed.failure != POSTERN_DONE) {
		error_copy(&error, ended ? ended : &link->failed);
		r = -EREMOTEIO;
	} else if (!link->asked && postern_client_ready(agent->client)) {
		r = ask(link, &error);
	} else if (link->answer && link->control < 0 && !link->channel) {
		r = open_channel(link, &error);
	}
	if (r < 0)
		fail_link(link, &error);
	postern_error_clear(&error);
}

/* ---- the whole ---- */

int forward_link_open(
	struct forward_link *link, struct loop *loop, const char *vm, struct postern_error *error)
{
	static const struct postern_options options = {
		.name = "postern " POSTERN_VERSION, .connect_ms = CONNECT_MS};
	AUTO_FREE char *address = NULL;
	int r = postern_vm_address(vm, &address, error);

	link->asked = false;
	link->control = -EBADF;
	link->io.fn = on_channel;
	link->late.fn = on_late;
	return r < 0 ? r : link_open(&link->agent, loop, address, &options, on_agent, error);
}

void forward_link_close(struct forward_link *link)
{
	loop_io_del(&link->io);
	loop_timer_del(&link->late);
	postern_channel_free(take_ptr(link->channel));
	json_decref(take_ptr(link->answer));
	postern_error_clear(&link->failed);
	link_close(&link->agent);
	link->control = fd_close(link->control);
}
