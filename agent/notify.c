/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/notify.h"

#include <sys/mman.h>
#include <unistd.h>

#include "agent/events.h"
#include "agent/inner.h"
#include "proto/cleanup.h"
#include "proto/encode.h"

void notify_send(int broker, struct arena *arena, enum topic topic, const ProtobufCMessage *message)
{
	struct inner_message notify = {.kind = INNER_NOTIFY, .arg = topic};
	size_t len = 0;
	uint8_t *payload = encode_in_arena(arena, message, &len);
	AUTO_CLOSE int fd = memfd_create("notification", MFD_CLOEXEC);

	if (!payload || fd < 0 || len > EVENT_PAYLOAD_MAX)
		return;
	if (write(fd, payload, len) == (ssize_t)len)
		(void)inner_send(broker, &notify, NULL, &fd, 1);
}
