/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <jansson.h>
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

/* An error as a new object: failure, code, errno, message, outcome, rule, details. */
json_t *json_from_error(const struct postern_error *error);
