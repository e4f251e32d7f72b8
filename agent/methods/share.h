/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shares: mounts that the agent looks after, each with a record of its own. */
#pragma once

#include "agent/inner.h"
#include "agent/methods/call.h"
#include "agent/methods/mount_call.h"
#include "messages.h"

/* ---- share_record.c: what is remembered, as packed Share messages in small files ---- */

/* The file name that stands for a target, as systemd escapes paths: "/mnt/a-b" is "mnt-a\x2db".
 * NULL through call_fail() when it is too long. */
char *share_key(struct call *call, const char *target);

/* Whether records can be written to the disk: nobody hangs on it. 0, or -errno through
 * call_fail(). */
int share_record_check(struct call *call);

/* Writes the record to the run folder, and to the state folder when it is persistent; else what an
 * earlier share left there is removed. */
int share_record_write(struct call *call, const char *key, const Postern__V1__Share *share);

/* Writes the record to the run folder alone: what became of a persistent share in this boot. */
int share_record_note(struct call *call, const char *key, const Postern__V1__Share *share);

/* Reads one record: of this boot, else the persistent one. *ret is NULL where there is none. */
int share_record_read(struct call *call, const char *key, Postern__V1__Share **ret);

/* Reads one of the two. -ENOENT where there is none. */
int share_record_from(
	struct call *call, const char *key, bool persistent, Postern__V1__Share **ret);

/* Removes record and secret from both folders. */
int share_record_remove(struct call *call, const char *key);

/* The keys of all records, sorted: of this boot, or (persistent) those that outlive it. */
int share_record_keys(struct call *call, bool persistent, char ***ret_keys, size_t *ret_n);

/* The secret of a persistent share, in a file of its own that only root reads; NULL: none (any
 * more). */
int share_secret_write(struct call *call, const char *key, const char *secret);
int share_secret_read(struct call *call, const char *key, ProtobufCBinaryData *ret);

/* ---- share_unit.c: units where systemd runs ---- */

/* True where a unit stands for shares of this type. */
bool share_has_unit(const char *type);

/* Starts a unit for the share, transient or (persistent) from a unit file; sets share->unit. The
 * options must have been checked. 0, or -errno through call_fail() with nothing left. */
int share_unit_start(struct call *call, const char *key, Postern__V1__Share *share);

/* Starts the unit of a persistent share from its unit file. 0, or -errno through call_fail(). */
int share_unit_start_again(struct call *call, const Postern__V1__Share *share);

/*
 * A persistent share without a mount unit gets a service instead, an instance of postern-share@,
 * which asks the agent for it after a boot: here it is enabled, and share->unit set. Where systemd
 * does not run or has no such service nothing is done, and the agent mounts the share by itself. 0
 * or -errno.
 */
int share_service_enable(struct call *call, const char *key, Postern__V1__Share *share);

/* Has the service of a share that is mounted and recorded say so; does not wait for it. */
void share_service_start(const Postern__V1__Share *share);

/* Removes what is left of the unit of a share that is unmounted already. */
void share_unit_remove(const char *key, const Postern__V1__Share *share);

/* ---- shares.c ---- */

/* Checks a request's fields. 0 and *ret_wish, or -errno through call_fail(). */
int share_check(struct call *call, const Postern__V1__SharesMountRequest *request,
	struct mount_wish *ret_wish);

/* Whether the share is mounted, from the mount table, in share->state. 0 or -errno. */
int share_look(struct call *call, Postern__V1__Share *share);

/* ---- share_restore.c ---- */

/* Mounts the persistent share that is recorded at the target, unless it is mounted. 0 and
 * *ret_share, or -errno through call_fail(). */
int share_remount(
	struct call *call, const ProtobufCBinaryData *target, Postern__V1__Share **ret_share);

/* Mounts the persistent share with this number, in the order of keys, unless it is mounted. */
enum restored share_restore(struct call *call, size_t number);

int settle_share_mount(
	struct call *call, const ProtobufCMessage *message, Postern__V1__Outcome *ret);
int settle_share_unmount(
	struct call *call, const ProtobufCMessage *message, Postern__V1__Outcome *ret);
