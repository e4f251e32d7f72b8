/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shares: mounts that the agent looks after, each with a record of its own. */
#pragma once

#include "agent/methods/call.h"
#include "messages.h"

/* ---- share_record.c: what is remembered, as packed Share messages in small files ---- */

/* The file name that stands for a target, as systemd escapes paths: "/mnt/a-b" is "mnt-a\x2db".
 * NULL through call_fail() when it is too long. */
char *share_key(struct call *call, const char *target);

/* Writes the record to the run folder, and to the state folder when it is persistent. */
int share_record_write(struct call *call, const char *key, const Postern__V1__Share *share);

/* Reads one record: of this boot, else the persistent one. *ret is NULL where there is none. */
int share_record_read(struct call *call, const char *key, Postern__V1__Share **ret);

/* Removes record and secret from both folders. */
int share_record_remove(struct call *call, const char *key);

/* Calls fn for each record: of this boot, or (persistent) those that outlive it. */
int share_record_each(struct call *call, bool persistent,
	int (*fn)(struct call *call, const char *key, Postern__V1__Share *share, void *ctx),
	void *ctx);

/* The secret of a persistent share, in a file of its own that only root reads. */
int share_secret_write(struct call *call, const char *key, const ProtobufCBinaryData *secret);
int share_secret_read(struct call *call, const char *key, ProtobufCBinaryData *ret);

/* ---- share_unit.c: .mount units where systemd runs ---- */

/* True where a unit stands for shares of this type. */
bool share_has_unit(const char *type);

/* Starts a unit for the share, transient or (persistent) from a unit file; sets share->unit. The
 * options must have been checked. 0, or -errno through call_fail() with nothing left. */
int share_unit_start(struct call *call, const char *key, Postern__V1__Share *share);

/* Removes what is left of the unit of a share that is unmounted already. */
void share_unit_remove(const char *key, const Postern__V1__Share *share);

/* ---- shares.c ---- */

/* Mounts the persistent shares that are not mounted; what fails is recorded as FAILED. Returns how
 * many failed. */
size_t shares_restore(struct call *call);

int settle_share_mount(
	struct call *call, const ProtobufCMessage *message, Postern__V1__Outcome *ret);
int settle_share_unmount(
	struct call *call, const ProtobufCMessage *message, Postern__V1__Outcome *ret);
