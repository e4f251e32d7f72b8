/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/files_guest.h"

#include <stdlib.h>
#include <string.h>

#include "error.pb-c.h"
#include "proto/client/base64.h"
#include "proto/client/json_call.h"

#define TIMEOUT_MS 300000 /* the highest of these methods: a tree may be large */

int files_open(struct cli *cli, const char *word, struct files_guest *guest)
{
	*guest = (struct files_guest){.cli = cli};
	copy_location_parse(word, &guest->location);
	if (!guest->location.vm || guest->location.path[0] != '/')
		return cli_usage(cli, "%s: expected VM:PATH, and an absolute path", word);
	return agent_connect_to(cli, guest->location.vm, &guest->client);
}

void files_close(struct files_guest *guest)
{
	postern_client_close(guest->client);
	free(guest->location.vm);
	*guest = (struct files_guest){0};
}

static int call(struct files_guest *guest, const char *method, json_t *params, json_t **ret_answer,
	struct postern_error *error)
{
	json_t *answer = NULL;
	int r = json_call_object(guest->client, method, params, TIMEOUT_MS, &answer, error);

	json_decref(params);
	if (r == 0 && ret_answer)
		*ret_answer = answer;
	else
		json_decref(answer);
	return r;
}

int files_call(struct files_guest *guest, const char *method, json_t *params, json_t **ret_answer)
{
	struct postern_error error = {0};

	return call(guest, method, params, ret_answer, &error) < 0 ? cli_fail(guest->cli, &error)
								   : POSTERN_DONE;
}

int files_try(struct files_guest *guest, const char *method, json_t *params, json_t **ret_answer,
	bool *ret_absent)
{
	struct postern_error error = {0};
	int r = call(guest, method, params, ret_answer, &error);

	*ret_absent = r < 0 && error.code == POSTERN__V1__CODE__NOT_FOUND;
	if (*ret_absent) {
		postern_error_clear(&error);
		return POSTERN_DONE;
	}
	return r < 0 ? cli_fail(guest->cli, &error) : POSTERN_DONE;
}

json_t *files_bytes(const void *bytes, size_t len)
{
	json_t *text = memchr(bytes, '\0', len) ? NULL : json_stringn(bytes, len);
	AUTO_FREE char *base64 = text ? NULL : base64_encode(bytes, len);

	return base64 ? json_pack("{s:s}", "base64", base64) : text;
}

json_t *files_text(const char *text)
{
	return files_bytes(text, strlen(text));
}

int files_bytes_of(const json_t *value, uint8_t **ret_bytes, size_t *ret_len)
{
	const json_t *base64 = json_object_get(value, "base64");

	*ret_bytes = NULL;
	*ret_len = 0;
	if (json_is_string(base64))
		return base64_decode(json_string_value(base64), ret_bytes, ret_len);
	if (!json_is_string(value))
		return -EBADMSG;
	*ret_len = json_string_length(value);
	*ret_bytes = malloc(*ret_len + 1);
	if (!*ret_bytes)
		return -ENOMEM;
	memcpy(*ret_bytes, json_string_value(value), *ret_len + 1);
	return 0;
}
