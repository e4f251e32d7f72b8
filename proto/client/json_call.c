/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/client/json_call.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cleanup.h"
#include "proto/client/client_state.h"
#include "proto/client/error.h"
#include "proto/client/json.h"

/* Adds a further part: what is an array in both grows, anything else is taken from the later one.
 */
static int merge(json_t *into, json_t *part)
{
	const char *key;
	json_t *value;

	json_object_foreach(part, key, value)
	{
		json_t *there = json_object_get(into, key);
		int r = json_is_array(there) && json_is_array(value)
				? json_array_extend(there, value)
				: json_object_set(into, key, value);

		if (r < 0)
			return -ENOMEM;
	}
	return 0;
}

static void take_part(struct json_pending *call, const uint8_t *result, size_t len)
{
	json_t *part;

	if (call->r < 0)
		return;
	call->r = json_from_message(call->type, result, len, &part, &call->why);
	if (call->r < 0)
		return;
	if (call->part)
		call->part(call->ctx, part);
	if (!call->json) {
		call->json = part;
		return;
	}
	call->r = merge(call->json, part);
	json_decref(part);
}

static void on_reply(
	void *ctx, const struct postern_error *error, const uint8_t *result, size_t len, bool more)
{
	struct json_pending *call = ctx;

	if (error)
		error_copy(&call->failed, error);
	else
		take_part(call, result, len);
	call->done = !more;
}

int json_call_start(struct postern_client *client, const char *method, const json_t *params,
	uint32_t timeout_ms, struct json_pending *call, struct postern_error *error)
{
	AUTO_FREE uint8_t *bytes = NULL;
	struct method_schema schema;
	char problem[256];
	size_t len = 0;
	int r;

	call->method = method;
	call->why = "";
	if (schema_find(method, &schema) < 0 || strncmp(method, "notify.", 7) == 0) {
		error_set(error, POSTERN_USAGE, 0, "%.64s: no such method", method);
		return -EINVAL;
	}
	r = json_to_message(schema.request, params, &bytes, &len, problem, sizeof(problem));
	if (r < 0) {
		error_set(error, POSTERN_USAGE, 0, "%s: %s", method,
			r == -EINVAL ? problem : strerror(-r));
		return r;
	}
	call->type = schema.reply;
	r = postern_call_start(client, method, bytes, len, timeout_ms, on_reply, call, &call->id);
	return r < 0 ? client_fail_start(error, method, r) : 0;
}

int json_call_end(struct postern_client *client, struct json_pending *call, json_t **ret_answer,
	struct postern_error *error)
{
	json_t *json;
	int r = client_run_until(client, &call->done, error);

	json = call->json;
	call->json = NULL;
	if (r == 0 && call->failed.failure != POSTERN_DONE) {
		r = call->failed.failure == POSTERN_TIMED_OUT && !call->failed.packed ? -ETIMEDOUT
										      : -EREMOTEIO;
		error_copy(error, &call->failed);
	} else if (r == 0 && call->r < 0) {
		error_set(error, POSTERN_PROTOCOL, 0, "the answer of %s cannot be read: %s",
			call->method, call->r == -EBADMSG ? call->why : strerror(-call->r));
		r = call->r;
	}
	postern_error_clear(&call->failed);
	if (r < 0)
		json_decref(json);
	else
		*ret_answer = json;
	return r;
}

int json_call_parts(struct postern_client *client, const char *method, const json_t *params,
	uint32_t timeout_ms, void (*part)(void *ctx, const json_t *part), void *ctx,
	json_t **ret_answer, struct postern_error *error)
{
	struct json_pending call = {.part = part, .ctx = ctx};
	int r = json_call_start(client, method, params, timeout_ms, &call, error);

	return r < 0 ? r : json_call_end(client, &call, ret_answer, error);
}

int json_call_object(struct postern_client *client, const char *method, const json_t *params,
	uint32_t timeout_ms, json_t **ret_answer, struct postern_error *error)
{
	return json_call_parts(client, method, params, timeout_ms, NULL, NULL, ret_answer, error);
}

int json_call(struct postern_client *client, const char *method, const char *params,
	uint32_t timeout_ms, json_t **ret_answer, struct postern_error *error)
{
	json_error_t where;
	json_t *object = json_loads(params ? params : "{}", JSON_REJECT_DUPLICATES, &where);
	int r;

	if (!object) {
		error_set(error, POSTERN_USAGE, 0, "the parameters are not JSON: %s (column %d)",
			where.text, where.column);
		return -EINVAL;
	}
	r = json_call_object(client, method, object, timeout_ms, ret_answer, error);
	json_decref(object);
	return r;
}

json_t *json_from_error(const struct postern_error *error)
{
	static const char *const failures[] = {
		"done", "answered", "usage", "refused", "absent", "timed out", "protocol"};
	const char *why,
		*failure = error->failure <= POSTERN_PROTOCOL ? failures[error->failure] : "";
	json_t *json = json_object(), *packed = NULL;

	if (error->packed && json_from_message(&postern__v1__error__descriptor, error->packed,
				     error->packed_len, &packed, &why) == 0) {
		(void)json_object_update(json, packed);
		json_decref(packed);
	}
	(void)json_object_set_new(json, "failure", json_string(failure));
	(void)json_object_set_new(json, "message", json_string(error->message));
	if (error->sys_errno != 0)
		(void)json_object_set_new(json, "sys_errno", json_integer(error->sys_errno));
	return json;
}
