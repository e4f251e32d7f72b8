/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/agent.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/client/json_call.h"

#define TEXTS     4
#define TEXT_SIZE 4096

/* A few results at once, as one line of output needs them. */
static char *next_text(void)
{
	static char texts[TEXTS][TEXT_SIZE];
	static size_t next;
	char *text = texts[next++ % TEXTS];

	text[0] = '\0';
	return text;
}

int agent_connect(struct cli *cli, struct postern_client **ret_client)
{
	return agent_connect_to(cli, cli->words[0], ret_client);
}

int agent_connect_to(struct cli *cli, const char *vm, struct postern_client **ret_client)
{
	static const struct postern_options options = {.name = "postern " POSTERN_VERSION};
	struct postern_error error = {0};
	AUTO_FREE char *address = NULL;

	if (postern_vm_address(vm, &address, &error) < 0 ||
		postern_client_open(address, &options, ret_client, &error) < 0)
		return cli_fail(cli, &error);
	return POSTERN_DONE;
}

int agent_call(struct cli *cli, const char *method, json_t *params, uint32_t timeout_ms,
	json_t **ret_answer)
{
	struct postern_client *client = NULL;
	struct postern_error error = {0};
	json_t *object = params ? params : json_object();
	int r = agent_connect(cli, &client);

	if (r == POSTERN_DONE) {
		if (json_call_object(client, method, object, timeout_ms, ret_answer, &error) < 0)
			r = cli_fail(cli, &error);
		postern_client_close(client);
	}
	json_decref(object);
	return r;
}

int agent_run(struct cli *cli, const char *method, json_t *params, uint32_t timeout_ms,
	void (*show)(const struct cli *cli, const json_t *answer))
{
	json_t *answer;
	int r = agent_call(cli, method, params, timeout_ms, &answer);

	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	if (show)
		show(cli, answer);
	json_decref(answer);
	return POSTERN_DONE;
}

const char *agent_text(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	const json_t *base64 = json_object_get(value, "base64");
	char *text;

	if (json_is_string(value))
		return json_string_value(value);
	if (!json_is_string(base64))
		return "";
	text = next_text();
	(void)snprintf(text, TEXT_SIZE, "base64:%s", json_string_value(base64));
	return text;
}

const char *agent_words(const json_t *object, const char *key, const char *prefix)
{
	const char *name = agent_text(object, key);
	char *text = next_text();
	size_t skip = strncmp(name, prefix, strlen(prefix)) == 0 ? strlen(prefix) : 0;

	(void)snprintf(text, TEXT_SIZE, "%s", name + skip);
	for (char *at = text; *at; at++)
		*at = *at == '_' ? ' ' : (char)tolower((unsigned char)*at);
	return text;
}

const char *agent_joined(const json_t *object, const char *key)
{
	const json_t *array = json_object_get(object, key);
	char *text = next_text();
	const json_t *value;
	size_t i, n = 0;

	json_array_foreach(array, i, value)
	{
		const char *one = json_is_string(value) ? json_string_value(value) : "?";

		n += (size_t)snprintf(text + n, TEXT_SIZE - n, "%s%s", n ? "," : "", one);
		if (n >= TEXT_SIZE)
			break;
	}
	return text;
}

const char *human_bytes(double bytes)
{
	static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB", "PiB"};
	char *text = next_text();
	size_t unit = 0;

	while (bytes >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		bytes /= 1024;
		unit++;
	}
	(void)snprintf(text, TEXT_SIZE, unit > 0 && bytes < 10 ? "%.1f%s%s" : "%.0f%s%s", bytes,
		unit ? " " : "", units[unit]);
	return text;
}
