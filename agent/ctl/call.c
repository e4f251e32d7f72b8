/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* posternd call and methods: a caller like any other, through the guest's own socket. */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/ctl.h"
#include "proto/cleanup.h"
#include "proto/client/base64.h"
#include "proto/client/client.h"
#include "proto/client/json.h"
#include "proto/client/json_call.h"
#include "proto/client/json_text.h"
#include "proto/log.h"

/* The agent's socket as the settings have it. 0 or an exit code. */
static int own_address(const char *file, char *address, size_t size)
{
	struct config config;
	int r = ctl_settings(file, &config);

	if (r == 0)
		(void)snprintf(address, size, "local:%s", config.socket);
	return r;
}

int ctl_connect(const char *settings, struct postern_client **ret_client)
{
	static const struct postern_options options = {.name = "posternd"};
	struct postern_error error = {0};
	char address[512];
	int r = own_address(settings, address, sizeof(address));

	if (r == 0 && postern_client_open(address, &options, ret_client, &error) < 0)
		r = ctl_report(&error);
	return r;
}

int ctl_report(struct postern_error *error)
{
	enum postern_failure failure = error->failure;

	log_error("%s%s%s%s", error->message, error->rule[0] ? " [" : "", error->rule,
		error->rule[0] ? "]" : "");
	postern_error_clear(error);
	return (int)failure;
}

/* One call with its whole answer as JSON; an exit code. */
static int call(const char *address, const char *method, const char *params, json_t **ret_answer)
{
	static const struct postern_options options = {.name = "posternd call"};
	struct postern_client *client;
	struct postern_error error = {0};
	int r = postern_client_open(address, &options, &client, &error);

	if (r < 0)
		return ctl_report(&error);
	r = json_call(client, method, params, 0, ret_answer, &error);
	postern_client_close(client);
	return r < 0 ? ctl_report(&error) : 0;
}

int ctl_call(const char *settings, int argc, char **argv)
{
	static const struct option options[] = {{"address", required_argument, NULL, 'a'}, {0}};
	char address[512] = "";
	json_t *answer = NULL;
	int option, r = 0;

	while ((option = getopt_long(argc, argv, "a:", options, NULL)) >= 0) {
		if (option != 'a')
			return POSTERN_USAGE;
		(void)snprintf(address, sizeof(address), "%s", optarg);
	}
	if (argc - optind < 1 || argc - optind > 2) {
		log_error("usage: posternd call [--address ADDRESS] METHOD [JSON]");
		return POSTERN_USAGE;
	}
	if (address[0] == '\0')
		r = own_address(settings, address, sizeof(address));
	if (r != 0)
		return r;
	r = call(address, argv[optind], argc - optind == 2 ? argv[optind + 1] : NULL, &answer);
	if (r != 0)
		return r;
	(void)json_print(answer, 2, stdout);
	json_decref(answer);
	return 0;
}

int ctl_remount(const char *settings, int argc, char **argv)
{
	char address[512];
	json_t *answer = NULL;
	char *target, *params = NULL;
	int r;

	if (argc != 2) {
		log_error("usage: posternd remount TARGET");
		return POSTERN_USAGE;
	}
	r = own_address(settings, address, sizeof(address));
	if (r != 0)
		return r;
	/* A path may be of any bytes. */
	target = base64_encode((const uint8_t *)argv[1], strlen(argv[1]));
	if (target && asprintf(&params, "{\"target\": {\"base64\": \"%s\"}}", target) < 0)
		params = NULL;
	free(target);
	if (!params) {
		log_error("no memory");
		return POSTERN_ANSWERED;
	}
	r = call(address, "shares.mount", params, &answer);
	free(params);
	json_decref(answer);
	return r;
}

static const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : "";
}

int ctl_methods(const char *settings, int argc, char **argv)
{
	bool as_json = argc == 2 && strcmp(argv[1], "--json") == 0;
	char address[512];
	json_t *answer = NULL, *method;
	size_t i;
	int r;

	if (argc > 1 && !as_json) {
		log_error("usage: posternd methods [--json]");
		return POSTERN_USAGE;
	}
	r = own_address(settings, address, sizeof(address));
	if (r == 0)
		r = call(address, "system.methods", NULL, &answer);
	if (r != 0)
		return r;
	if (as_json) {
		(void)json_print(answer, 2, stdout);
	} else {
		json_array_foreach(json_object_get(answer, "methods"), i, method) printf(
			"%-28s %-16s %s\n", text(method, "name"), text(method, "availability"),
			text(method, "reason")[0] ? text(method, "reason")
						  : text(method, "summary"));
	}
	json_decref(answer);
	return 0;
}
