/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the front-end's messages mean. */
#pragma once

#include "host/vsockd/vhost_user.h"

struct device;

#define CONTROL_FEATURES                                                                           \
	(FEATURE(FEATURE_VERSION_1) | FEATURE(FEATURE_PROTOCOL_FEATURES) |                         \
		FEATURE(FEATURE_EVENT_IDX) | FEATURE(FEATURE_INDIRECT_DESC))

#define CONTROL_PROTOCOL_FEATURES                                                                  \
	(FEATURE(VHOST_PROTOCOL_MQ) | FEATURE(VHOST_PROTOCOL_REPLY_ACK) |                          \
		FEATURE(VHOST_PROTOCOL_CONFIG) | FEATURE(VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS))

/* Acts on one whole message; descriptors it does not take stay the caller's. Returns 1 when the
 * message now holds a reply to send, 0 when there is none, -errno when the front-end broke the
 * protocol so that its connection cannot go on. What the guest may have caused (addresses, sizes)
 * never does that. */
int control_handle(struct device *device, struct vhost_user_message *message);
