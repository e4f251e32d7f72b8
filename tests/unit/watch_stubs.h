/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rest of a watcher, for tests of its parts. */
#pragma once

#include <errno.h>

#include "agent/watch/watch.h"

/* What they would do is not looked at here. */
int snapshot_take(const struct subscriber *subscriber, uint64_t topics, int *ret_fd)
{
	(void)subscriber;
	(void)topics;
	(void)ret_fd;
	return -ENOSYS;
}

void snapshot_add(struct snapshot *snapshot, enum topic topic, const ProtobufCMessage *message)
{
	(void)snapshot;
	(void)topic;
	(void)message;
}

void sampler_schedule(struct watch *watch)
{
	(void)watch;
}
