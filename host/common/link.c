/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/common/link.h"

#include "host/common/fail.h"
#include "proto/cleanup.h"

/* Follows the client's descriptor, which may change until it is ready. */
static int watch(struct link *link)
{
	uint64_t deadline = postern_client_deadline(link->client);

	if (deadline == UINT64_MAX)
		loop_timer_del(&link->deadline);
	else
		loop_timer_set(link->loop, &link->deadline, deadline);
	return loop_io_add(link->loop, &link->io, postern_client_fd(link->client),
		(uint32_t)postern_client_events(link->client));
}

static void dispatch(struct link *link)
{
	struct postern_error error = {0};
	int r;

	/* The descriptor may be closed in there. */
	loop_io_del(&link->io);
	r = postern_client_dispatch(link->client, &error);
	link->fn(link, r < 0 ? &error : NULL);
	if (r < 0)
		link_close(link);
	if (link->client) {
		r = watch(link);
		if (r < 0) {
			(void)fail_errno(&error, POSTERN_ANSWERED, -r, "the agent");
			link->fn(link, &error);
			link_close(link);
		}
	}
	postern_error_clear(&error);
}

static void on_io(struct loop_io *io, uint32_t events)
{
	(void)events;
	dispatch(container_of(io, struct link, io));
}

static void on_deadline(struct loop_timer *timer)
{
	dispatch(container_of(timer, struct link, deadline));
}

int link_open(struct link *link, struct loop *loop, const char *address,
	const struct postern_options *options,
	void (*fn)(struct link *link, const struct postern_error *error),
	struct postern_error *error)
{
	int r;

	link_close(link);
	*link = (struct link){.loop = loop, .io.fn = on_io, .deadline.fn = on_deadline, .fn = fn};
	r = postern_client_start(address, options, &link->client, error);
	if (r < 0) {
		link->client = NULL;
		return r;
	}
	r = watch(link);
	if (r < 0) {
		link_close(link);
		return fail_errno(error, POSTERN_ANSWERED, -r, "the agent");
	}
	return 0;
}

void link_close(struct link *link)
{
	loop_io_del(&link->io);
	loop_timer_del(&link->deadline);
	postern_client_close(link->client);
	link->client = NULL;
}
