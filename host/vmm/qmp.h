/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of QEMU's machine protocol (QEMU, docs/interop/qmp-spec.rst): greeting, capabilities,
 * commands matched with their answers by id, events.
 *
 * It never blocks. A guest may have taken QEMU over, so what comes in is bounded: 1 MiB a line, 32
 * levels deep, an answer to a command that was never made ends the connection, and error texts are
 * escaped.
 *
 * A command that is not answered in time fails alone: QEMU may be stopped, swapped out, or wait for
 * a disk, and answer later. Ids are used once, so that a late answer is known as such, and dropped.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/client/client.h"

#define QMP_LINE_MAX (1u << 20)
#define QMP_OPEN_MAX 64 /* commands without an answer, the late ones among them */

struct qmp;

/* The end of a command: error is NULL and result what it returned (borrowed), or the other way
 * round. Commands may be started in here; qmp_close() may not be called. */
typedef void (*qmp_reply_fn)(void *ctx, const struct postern_error *error, const json_t *result);

/* An event: name is [A-Z_]+, checked; data an object or NULL, borrowed. */
typedef void (*qmp_event_fn)(void *ctx, const char *name, const json_t *data);

/* The monitor has just let a command's time pass (told before that command is), or answers again.
 */
typedef void (*qmp_silence_fn)(void *ctx, bool silent);

struct qmp_watcher {
	qmp_event_fn on_event;     /* NULL: not told */
	qmp_silence_fn on_silence; /* NULL: not told */
	void *ctx;
};

/* Takes a connected stream (owned from now on even on failure) and waits for the greeting, at most
 * greeting_ms; without one the connection ends. watcher is copied. 0 or -ENOMEM. */
int qmp_open(int fd, uint32_t greeting_ms, const struct qmp_watcher *watcher, struct qmp **ret_qmp);

/* Closes; open commands end without their function being called. NULL is allowed. */
void qmp_close(struct qmp *qmp);

/* For an event loop: descriptor, poll() events, and when to dispatch at the latest (CLOCK_MONOTONIC
 * ns; UINT64_MAX: never). */
int qmp_fd(const struct qmp *qmp);
short qmp_events(const struct qmp *qmp);
uint64_t qmp_deadline(const struct qmp *qmp);

/* Does what can be done without blocking, and fails the commands whose time is over. 0, or -errno
 * once the connection has ended: *error tells why, and every open command has been told. */
int qmp_dispatch(struct qmp *qmp, struct postern_error *error);

/*
 * Sends a command as soon as the greeting is through. arguments (NULL: none) is taken over, also on
 * failure. fn may be NULL. After timeout_ms it fails with POSTERN_TIMED_OUT, and QEMU may do it
 * yet: commands are done in their order, so one that undoes it can be sent at once. 0; -ENOMEM;
 * -EBUSY with too many open; -ENOTCONN after the end.
 */
int qmp_call(struct qmp *qmp, const char *command, json_t *arguments, uint32_t timeout_ms,
	qmp_reply_fn fn, void *ctx);
