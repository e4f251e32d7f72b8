/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "agent/row.h"
#include "proto/arena.h"

/* Has the watcher send a notification, by way of the broker at the other end of the socket. One
 * that is too large, or that there is no memory for, is lost. */
void notify_send(
	int broker, struct arena *arena, enum topic topic, const ProtobufCMessage *message);
