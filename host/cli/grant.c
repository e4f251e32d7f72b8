/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/grant.h"

#include <errno.h>
#include <string.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "proto/cleanup.h"
#include "proto/client/base64.h"
#include "proto/client/channel.h"
#include "proto/client/json_call.h"

int grant_token(const json_t *answer, const char *field, uint8_t ret_token[POSTERN_TOKEN_SIZE],
	struct postern_error *error)
{
	const json_t *channel = json_object_get(answer, field),
		     *token = json_object_get(channel, "token");
	AUTO_FREE uint8_t *bytes = NULL;
	size_t len = 0;

	if (!channel)
		return 0;
	/* Random bytes may happen to be text. */
	if (json_is_string(token)) {
		len = json_string_length(token);
		bytes = (uint8_t *)strdup(json_string_value(token));
	} else {
		(void)base64_decode(json_field_string(token, "base64", ""), &bytes, &len);
	}
	if (!bytes || len != POSTERN_TOKEN_SIZE)
		return fail(error, POSTERN_PROTOCOL, EPROTO, "the agent's token is none");
	memcpy(ret_token, bytes, len);
	return 1;
}

int grant_open(const struct postern_client *client, const json_t *answer, const char *field,
	int *ret_fd, struct postern_error *error)
{
	uint8_t token[POSTERN_TOKEN_SIZE];
	int r = grant_token(answer, field, token, error);

	return r > 0 ? postern_channel_open(client, token, 0, ret_fd, error) : r;
}

int grant_call(struct postern_client *client, const char *method, json_t *params, const char *field,
	int *ret_fd, struct postern_error *error)
{
	AUTO_JSON json_t *owned = params;
	AUTO_JSON json_t *answer = NULL;
	int r = json_call_object(client, method, owned, 0, &answer, error);

	if (r == 0)
		r = grant_open(client, answer, field, ret_fd, error);
	if (r == 0 && *ret_fd < 0)
		return fail(error, POSTERN_PROTOCOL, EPROTO, "%s: no channel was granted", method);
	return r;
}
