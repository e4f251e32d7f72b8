/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other end of a supervisor's control socket (supervisor/control.h), blocking. */
#pragma once

#include <jansson.h>

#include "proto/client/client.h"

#define CONTROL_MS         5000 /* for what a supervisor can answer by itself */
#define CONTROL_ANSWER_MAX (1u << 20)

/* Told of each {"progress": ...} (borrowed). */
typedef void (*control_progress_fn)(void *ctx, const json_t *progress);

/*
 * Connects to the supervisor whose directory this is. -ENOENT or -ECONNREFUSED with failure ABSENT
 * where none lives.
 */
int control_connect(const char *dir, int *ret_fd, struct postern_error *error);

/*
 * One request. arguments is taken over (NULL: none). *ret_result (may be NULL) is a new reference.
 * 0; -EREMOTEIO with the supervisor's own error in *error, and the error's object in *ret_result;
 * -ETIMEDOUT; -ECONNRESET when it ended meanwhile.
 */
int control_call(int fd, const char *command, json_t *arguments, int timeout_ms,
	control_progress_fn on_progress, void *ctx, json_t **ret_result,
	struct postern_error *error);

/* Asks for events. reader has what was received beyond the answer, and belongs to the connection
 * from here on; *ret_status, a new reference, is how the machine is. 0 or -errno with *error. */
struct json_reader;
int control_subscribe(
	int fd, struct json_reader *reader, json_t **ret_status, struct postern_error *error);

/* The next {"event": ...}: a new reference. 0, -ETIMEDOUT or -ECONNRESET. */
int control_next_event(int fd, struct json_reader *reader, int timeout_ms, json_t **ret_event,
	struct postern_error *error);

/* Connect and call, by the name of a VM. */
int control_call_vm(const char *name, const char *command, json_t *arguments, int timeout_ms,
	json_t **ret_result, struct postern_error *error);

/* The same, with what is told on the way. */
int control_call_vm_progress(const char *name, const char *command, json_t *arguments,
	int timeout_ms, control_progress_fn on_progress, void *ctx, json_t **ret_result,
	struct postern_error *error);

/* The same for a command whose connection becomes a stream behind the answer: *ret_fd is the
 * caller's. */
int control_stream(const char *name, const char *command, json_t *arguments, int timeout_ms,
	int *ret_fd, json_t **ret_result, struct postern_error *error);
