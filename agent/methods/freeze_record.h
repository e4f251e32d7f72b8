/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is frozen through the agent, in a file of its folder of this boot (never of a disk). It is
 * there from before the first file system is frozen until the last one is thawed, and so tells
 * whoever comes after a worker, or a whole agent, that died meanwhile.
 */
#pragma once

#include "agent/methods/call.h"
#include "messages.h"

#define FREEZE_RECORD "frozen"

/* Waits until nobody else freezes or thaws; who does keeps the descriptor (owned by the caller)
 * until it ends, however it ends. 0, or -errno: -EBUSY when it is not so at the call's deadline. */
int freeze_lock(struct call *call, int *ret_fd);

/* 0 with the record in the call's arena (NULL: there is none), or -errno. */
int freeze_record_read(struct call *call, Postern__V1__FilesystemsStatusReply **ret);

/* 0 or -errno. */
int freeze_record_write(struct call *call, const Postern__V1__FilesystemsStatusReply *record);
int freeze_record_remove(struct call *call);
