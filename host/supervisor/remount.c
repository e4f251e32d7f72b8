/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/supervisor/remount.h"

#include <errno.h>
#include <stdlib.h>

#include "host/common/share_request.h"
#include "host/supervisor/machine.h"
#include "host/supervisor/problem.h"
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
	problem_tell(share->machine, PROBLEM_SHARE_UNMOUNTED, share->config.tag);
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
	for (size_t i = 0; i < VM_SHARES_MAX; i++) {
		struct share *share = &remount->machine->shares[i];
		AUTO_FREE uint8_t *params = NULL;
		size_t len = 0;
		uint64_t id;

		if (!is_wanted(share))
			continue;
		params = share_mount_request(&share->config, WAIT_MS, &len);
		if (params && postern_call_start(remount->link.client, "shares.mount", params, len,
				      CALL_MS, on_reply, share, &id) == 0)
			remount->open++;
		else
			not_mounted(share, "out of memory");
	}
}

/* Nobody was asked: all are left without. */
static void give_up(struct remount *remount, const char *why)
{
	for (size_t i = 0; i < VM_SHARES_MAX && !remount->asked; i++)
		if (is_wanted(&remount->machine->shares[i]))
			not_mounted(&remount->machine->shares[i], why);
}

static void on_link(struct link *link, const struct postern_error *error)
{
	struct remount *remount = container_of(link, struct remount, link);

	if (error)
		give_up(remount, error->message);
	else if (!remount->asked && postern_client_ready(link->client))
		ask(remount);
	if (error || (remount->asked && remount->open == 0))
		remount_stop(remount);
}

void remount_start(struct remount *remount, struct machine *machine)
{
	static const struct postern_options options = {
		.name = "postern-supervisor", .connect_ms = CONNECT_MS};
	struct postern_error error = {0};
	size_t wanted = 0;

	remount_stop(remount);
	*remount = (struct remount){.machine = machine};
	for (size_t i = 0; i < VM_SHARES_MAX; i++) {
		machine->shares[i].unmounted = false;
		wanted += is_wanted(&machine->shares[i]);
	}
	if (wanted == 0)
		return;
	if (link_open(&remount->link, &machine->loop, machine->ready.address, &options, on_link,
		    &error) < 0)
		give_up(remount, error.message);
	postern_error_clear(&error);
}

void remount_stop(struct remount *remount)
{
	link_close(&remount->link);
	remount->open = 0;
}
