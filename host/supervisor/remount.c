/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/supervisor/remount.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "host/common/share_request.h"
#include "host/supervisor/machine.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#define CONNECT_MS 10000
#define WAIT_MS    10000 /* for the device to be there */
#define CALL_MS    15000

static bool is_wanted(const struct share *share)
{
	return share->state == SHARE_PLUGGED && !share->dead && share->config.target;
}

static void not_mounted(struct share *share, const char *why)
{
	share->unmounted = true;
	log_warning("share %s is not mounted again: %s", share->config.tag, why);
	share_event(share, "not mounted");
}

static void on_reply(void *ctx, const struct postern_error *error, const uint8_t *result,
	size_t result_len, bool more)
{
	struct share *share = ctx;

	(void)result;
	(void)result_len;
	if (more)
		return;
	share->machine->remount.open--;
	if (share->state != SHARE_PLUGGED)
		return;
	/* The guest remembers persistent ones itself, and may have been faster. */
	if (error && error->sys_errno != EEXIST && error->sys_errno != EBUSY) {
		not_mounted(share, error->message);
		return;
	}
	log_info("share %s is mounted again", share->config.tag);
	share_event(share, "mounted");
}

static void ask(struct remount *remount)
{
	remount->asked = true;
	for (size_t i = 0; i < VM_ROOT_PORTS; i++) {
		struct share *share = &remount->machine->shares[i];
		AUTO_FREE uint8_t *params = NULL;
		size_t len = 0;
		uint64_t id;

		if (!is_wanted(share))
			continue;
		params = share_mount_request(&share->config, WAIT_MS, &len);
		if (params && postern_call_start(remount->client, "shares.mount", params, len,
				      CALL_MS, on_reply, share, &id) == 0)
			remount->open++;
		else
			not_mounted(share, "out of memory");
	}
}

/* Nobody was asked: all are left without. */
static void give_up(struct remount *remount, const char *why)
{
	for (size_t i = 0; i < VM_ROOT_PORTS && !remount->asked; i++)
		if (is_wanted(&remount->machine->shares[i]))
			not_mounted(&remount->machine->shares[i], why);
}

static void dispatch(struct remount *remount);

static void on_io(struct loop_io *io, uint32_t events)
{
	(void)events;
	dispatch(container_of(io, struct remount, io));
}

static void on_deadline(struct loop_timer *timer)
{
	dispatch(container_of(timer, struct remount, deadline));
}

/* Follows the client's descriptor, which may change until it is ready. */
static int watch(struct remount *remount)
{
	struct loop *loop = &remount->machine->loop;
	int fd = postern_client_fd(remount->client);
	uint32_t events = (uint32_t)postern_client_events(remount->client);
	uint64_t deadline = postern_client_deadline(remount->client);

	if (deadline == UINT64_MAX)
		loop_timer_del(&remount->deadline);
	else
		loop_timer_set(loop, &remount->deadline, deadline);
	if (remount->io.loop && remount->io.fd == fd)
		return loop_io_set(&remount->io, events);
	loop_io_del(&remount->io);
	return loop_io_add(loop, &remount->io, fd, events);
}

static void dispatch(struct remount *remount)
{
	struct postern_error error = {0};
	/* With an end every open call is told of it. */
	int r = postern_client_dispatch(remount->client, &error);

	if (r < 0)
		give_up(remount, error.message);
	else if (!remount->asked && postern_client_ready(remount->client))
		ask(remount);
	if (r < 0 || (remount->asked && remount->open == 0) || watch(remount) < 0)
		remount_stop(remount);
	postern_error_clear(&error);
}

void remount_start(struct remount *remount, struct machine *machine)
{
	struct postern_options options = {.name = "postern-supervisor", .connect_ms = CONNECT_MS};
	struct postern_error error = {0};
	size_t wanted = 0;

	remount_stop(remount);
	*remount = (struct remount){.machine = machine, .io.fn = on_io, .deadline.fn = on_deadline};
	for (size_t i = 0; i < VM_ROOT_PORTS; i++) {
		machine->shares[i].unmounted = false;
		wanted += is_wanted(&machine->shares[i]);
	}
	if (wanted == 0)
		return;
	if (postern_client_start(machine->ready.address, &options, &remount->client, &error) < 0)
		give_up(remount, error.message);
	else if (watch(remount) < 0)
		remount_stop(remount);
	postern_error_clear(&error);
}

void remount_stop(struct remount *remount)
{
	loop_io_del(&remount->io);
	loop_timer_del(&remount->deadline);
	postern_client_close(remount->client);
	remount->client = NULL;
	remount->open = 0;
}
