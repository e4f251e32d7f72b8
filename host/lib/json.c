/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages as JSON text, for programs without protobuf. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/client/json.h"
#include "proto/client/json_call.h"
#include "proto/client/json_text.h"

const char *postern_version(void)
{
	return POSTERN_VERSION;
}

static int find(const char *name, struct method_schema *ret_schema, struct postern_error *error)
{
	if (schema_find(name, ret_schema) < 0)
		return fail(error, POSTERN_USAGE, EINVAL, "%.64s: no such method or topic", name);
	return 0;
}

static int to_text(const json_t *json, char **ret_text, struct postern_error *error)
{
	*ret_text = json_text(json, 0);
	return *ret_text ? 0 : fail_errno(error, POSTERN_ANSWERED, ENOMEM, "JSON");
}

int postern_json_params(const char *method, const char *json, uint8_t **ret_params, size_t *ret_len,
	struct postern_error *error)
{
	AUTO_JSON json_t *object = NULL;
	struct method_schema schema;
	json_error_t where;
	char problem[256];
	int r = find(method, &schema, error);

	if (r < 0)
		return r;
	object = json_loads(json ? json : "{}", JSON_REJECT_DUPLICATES, &where);
	if (!object)
		return fail(error, POSTERN_USAGE, EINVAL,
			"the parameters are not JSON: %s (column %d)", where.text, where.column);
	r = json_to_message(schema.request, object, ret_params, ret_len, problem, sizeof(problem));
	if (r < 0)
		(void)fail(error, POSTERN_USAGE, -r, "%s: %s", method,
			r == -EINVAL ? problem : strerror(-r));
	return r;
}

int postern_json_result(const char *method_or_topic, const uint8_t *result, size_t len,
	char **ret_json, struct postern_error *error)
{
	AUTO_JSON json_t *object = NULL;
	struct method_schema schema;
	const char *why = "";
	int r = find(method_or_topic, &schema, error);

	if (r < 0)
		return r;
	r = json_from_message(schema.reply, result, len, &object, &why);
	if (r < 0)
		return fail(error, POSTERN_PROTOCOL, -r, "%s cannot be read: %s", method_or_topic,
			r == -EBADMSG ? why : strerror(-r));
	return to_text(object, ret_json, error);
}

int postern_json_call(struct postern_client *client, const char *method, const char *json,
	uint32_t timeout_ms, char **ret_json, struct postern_error *error)
{
	AUTO_JSON json_t *answer = NULL;
	int r = json_call(client, method, json, timeout_ms, &answer, error);

	return r < 0 ? r : to_text(answer, ret_json, error);
}

char *postern_json_error(const struct postern_error *error)
{
	AUTO_JSON json_t *object = json_from_error(error);

	return json_text(object, 0);
}
