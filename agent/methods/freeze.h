/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Freezing and thawing, for the methods, for what the broker has done by itself, and to settle. */
#pragma once

#include "agent/methods/call.h"
#include "messages.h"

/*
 * Thaws what the record has. With everything set, also tries each file system on a block device.
 * The reply's lists are the call's memory. 0 when nothing that is mounted is left frozen of the
 * record, which is then gone; or -errno through call_fail().
 */
int thaw(struct call *call, bool everything, Postern__V1__ThawReason reason,
	Postern__V1__FilesystemsThawReply *reply);

/* Settle function: a killed freeze is thawed by the broker's doing. */
int settle_freeze(struct call *call, const ProtobufCMessage *message, Postern__V1__Outcome *ret);
