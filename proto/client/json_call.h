/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/client/client.h"

/*
 * One blocking call with JSON on both sides. params is the text of an object, or NULL for an empty
 * one; the parts of a streamed answer are merged, arrays joined. *ret_answer is the caller's. 0, or
 * -errno with *error filled: -EINVAL (no such method, or the parameters are not its own).
 */
int json_call(struct postern_client *client, const char *method, const char *params,
	uint32_t timeout_ms, json_t **ret_answer, struct postern_error *error);

/* The same for parameters that are JSON already (borrowed). */
int json_call_object(struct postern_client *client, const char *method, const json_t *params,
	uint32_t timeout_ms, json_t **ret_answer, struct postern_error *error);

/* The same; part (NULL: nobody wants to know) is told of each part of the answer as it comes. */
int json_call_parts(struct postern_client *client, const char *method, const json_t *params,
	uint32_t timeout_ms, void (*part)(void *ctx, const json_t *part), void *ctx,
	json_t **ret_answer, struct postern_error *error);

/* A call that is under way, at a fixed address until it has ended. All zero before, but for part
 * and ctx, as above. */
struct json_pending {
	void (*part)(void *ctx, const json_t *part);
	void *ctx;
	uint64_t id; /* for postern_call_cancel() */
	bool done;
	/* The rest is its own. */
	const char *method;
	const ProtobufCMessageDescriptor *type;
	json_t *json;
	const char *why;
	int r;
	struct postern_error failed;
};

/* The same in two halves: json_call_start() does not block, and nothing is sent before the client
 * is dispatched; json_call_end(), which follows wherever the start was 0, waits for the answer. */
int json_call_start(struct postern_client *client, const char *method, const json_t *params,
	uint32_t timeout_ms, struct json_pending *call, struct postern_error *error);
int json_call_end(struct postern_client *client, struct json_pending *call, json_t **ret_answer,
	struct postern_error *error);

/* An error as a new object: failure, code, errno, message, outcome, rule, details. */
json_t *json_from_error(const struct postern_error *error);
