/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/watch/watch.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/encode.h"

struct snapshot {
	int fd;
	struct events_packet packet;
	bool failed;
};

void snapshot_add(struct snapshot *snapshot, enum topic topic, const ProtobufCMessage *message)
{
	size_t len = 0;
	AUTO_FREE uint8_t *payload = encode_new(message, &len);
	struct iovec iov[] = {{&snapshot->packet, sizeof(snapshot->packet)}, {payload, len}};

	if (!payload)
		snapshot->failed = true;
	if (!payload || len > EVENT_PAYLOAD_MAX)
		return;
	snapshot->packet.topic = topic;
	snapshot->packet.payload_len = (uint32_t)len;
	if (writev(snapshot->fd, iov, 2) != (ssize_t)(sizeof(snapshot->packet) + len))
		snapshot->failed = true;
}

int snapshot_take(const struct subscriber *subscriber, uint64_t topics, int *ret_fd)
{
	struct watch *watch = subscriber->watch;
	AUTO_CLOSE int fd = memfd_create("snapshot", MFD_CLOEXEC);
	struct snapshot snapshot = {.fd = fd,
		.packet = {.kind = EVENTS_EVENT,
			.epoch = watch->ring.epoch,
			.seq = watch->ring.next - 1,
			.time_ns = clock_ns(CLOCK_REALTIME)}};

	if (fd < 0)
		return -errno;
	if (topics >> TOPIC_mounts_mount & 1)
		mounts_snapshot(watch, &snapshot);
	if (topics >> TOPIC_shares_mount & 1)
		shares_snapshot(watch, &snapshot);
	if (topics >> TOPIC_devices_added & 1)
		devices_snapshot(&snapshot);
	if (topics & TOPIC_BIT(properties_changed))
		properties_snapshot(watch, &subscriber->caller, &snapshot);
	if (topics & TOPIC_BIT(heartbeat_missed))
		heartbeat_snapshot(watch, &subscriber->caller, &snapshot);
	if (topics >> TOPIC_system_load & 1)
		sampler_snapshot(&snapshot);
	if (snapshot.failed)
		return -ENOSPC;
	*ret_fd = take_fd(&fd);
	return 0;
}
