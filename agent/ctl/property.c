/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* posternd property: keys with values that the host and programs of the guest share. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/ctl/ctl.h"
#include "messages.h"
#include "proto/arena.h"
#include "proto/cleanup.h"
#include "proto/client/subscribe.h"
#include "proto/client/text.h"
#include "proto/limits.h"
#include "proto/log.h"
#include "proto/verify.h"

static int usage(void)
{
	log_error(
		"usage: posternd property get KEY | list [PREFIX] | remove KEY | watch [PREFIX] |\n"
		"  set [--ttl SECONDS] [--world-readable true|false] [--read-only-host true|false] "
		"KEY [VALUE]");
	return POSTERN_USAGE;
}

/* What others have written, for a terminal or a line. */
static void print_escaped(const void *text, size_t len)
{
	AUTO_FREE char *escaped = postern_escape_dup(text, len);

	(void)fputs(escaped ? escaped : "", stdout);
}

static void print_line(const Postern__V1__Property *property)
{
	(void)printf("%s ", property->key);
	print_escaped(property->value.data, property->value.len);
	(void)putchar('\n');
}

static int flush(void)
{
	return fflush(stdout) == 0 && !ferror(stdout) ? POSTERN_DONE : POSTERN_ANSWERED;
}

/* ---- get ---- */

static int print_value(void *ctx, const ProtobufCMessage *message)
{
	const Postern__V1__PropertiesGetReply *reply =
		(const Postern__V1__PropertiesGetReply *)message;
	const ProtobufCBinaryData *value;

	(void)ctx;
	if (!reply->property)
		return POSTERN_PROTOCOL;
	value = &reply->property->value;
	/* A program gets the bytes as they are. */
	if (isatty(STDOUT_FILENO)) {
		print_escaped(value->data, value->len);
		(void)putchar('\n');
	} else if (value->len > 0) {
		(void)fwrite(value->data, value->len, 1, stdout);
	}
	return flush();
}

static int get(const char *settings, int argc, char **argv)
{
	Postern__V1__PropertiesGetRequest request = POSTERN__V1__PROPERTIES_GET_REQUEST__INIT;

	if (argc != 2)
		return usage();
	request.key = argv[1];
	return ctl_ask(settings, "properties.get", &request.base,
		&postern__v1__properties_get_reply__descriptor, print_value, NULL);
}

/* ---- list ---- */

/* Where the next page begins. */
struct pages {
	char after[PROPERTY_KEY_MAX + 1];
	bool more;
};

static int print_page(void *ctx, const ProtobufCMessage *message)
{
	const Postern__V1__PropertiesListReply *reply =
		(const Postern__V1__PropertiesListReply *)message;
	struct pages *pages = ctx;

	for (size_t i = 0; i < reply->n_properties; i++) {
		if (!reply->properties[i]->key)
			return POSTERN_PROTOCOL;
		print_line(reply->properties[i]);
		(void)snprintf(pages->after, sizeof(pages->after), "%s", reply->properties[i]->key);
	}
	pages->more = reply->more && reply->n_properties > 0;
	return flush();
}

static int list(const char *settings, int argc, char **argv)
{
	Postern__V1__PropertiesListRequest request = POSTERN__V1__PROPERTIES_LIST_REQUEST__INIT;
	struct pages pages = {0};
	int r;

	if (argc > 2)
		return usage();
	request.prefix = argc > 1 ? argv[1] : NULL;
	do {
		request.after = pages.after[0] ? pages.after : NULL;
		r = ctl_ask(settings, "properties.list", &request.base,
			&postern__v1__properties_list_reply__descriptor, print_page, &pages);
	} while (r == POSTERN_DONE && pages.more);
	return r;
}

/* ---- set ---- */

static bool take_bool(const char *text, protobuf_c_boolean *ret_has, protobuf_c_boolean *ret)
{
	*ret_has = true;
	*ret = strcmp(text, "true") == 0;
	return *ret || strcmp(text, "false") == 0;
}

static bool take_options(int argc, char **argv, Postern__V1__PropertiesSetRequest *request)
{
	static const struct option options[] = {{"ttl", required_argument, NULL, 't'},
		{"world-readable", required_argument, NULL, 'w'},
		{"read-only-host", required_argument, NULL, 'r'}, {0}};
	bool good = true;
	int option;

	optind = 0;
	while (good && (option = getopt_long(argc, argv, "t:w:r:", options, NULL)) >= 0) {
		if (option == 't')
			good = ctl_seconds(optarg, &request->ttl_ms) == 0;
		else if (option == 'w')
			good = take_bool(
				optarg, &request->has_world_readable, &request->world_readable);
		else
			good = option == 'r' && take_bool(optarg, &request->has_read_only_host,
							&request->read_only_host);
	}
	request->has_ttl_ms = request->ttl_ms > 0;
	return good && argc - optind >= 1 && argc - optind <= 2;
}

/* Of standard input, one byte more than a value may have at most: the agent says no then. */
static int read_value(uint8_t value[PROPERTY_VALUE_MAX + 1], size_t *ret_len)
{
	*ret_len = fread(value, 1, PROPERTY_VALUE_MAX + 1, stdin);
	if (!ferror(stdin))
		return POSTERN_DONE;
	log_error("standard input: %s", strerror(errno));
	return POSTERN_ANSWERED;
}

static int set(const char *settings, int argc, char **argv)
{
	Postern__V1__PropertiesSetRequest request = POSTERN__V1__PROPERTIES_SET_REQUEST__INIT;
	static uint8_t value[PROPERTY_VALUE_MAX + 1];
	int r = POSTERN_DONE;

	if (!take_options(argc, argv, &request))
		return usage();
	request.key = argv[optind];
	request.has_value = true;
	if (argc - optind == 2) {
		request.value.data = (uint8_t *)argv[optind + 1];
		request.value.len = strlen(argv[optind + 1]);
	} else {
		request.value.data = value;
		r = read_value(value, &request.value.len);
	}
	return r
		       ?: ctl_ask(settings, "properties.set", &request.base,
				  &postern__v1__properties_set_reply__descriptor, NULL, NULL);
}

/* ---- remove ---- */

static int take_away(const char *settings, int argc, char **argv)
{
	Postern__V1__PropertiesRemoveRequest request = POSTERN__V1__PROPERTIES_REMOVE_REQUEST__INIT;

	if (argc != 2)
		return usage();
	request.key = argv[1];
	return ctl_ask(settings, "properties.remove", &request.base,
		&postern__v1__properties_remove_reply__descriptor, NULL, NULL);
}

/* ---- watch ---- */

static void show(const Postern__V1__NotifyPropertiesChanged *changed)
{
	if (changed->change != POSTERN__V1__PROPERTY_CHANGE__PROPERTY_SET)
		(void)printf("%s (gone)\n", changed->property->key);
	else if (!changed->property->has_value)
		(void)printf("%s (%llu bytes)\n", changed->property->key,
			(unsigned long long)changed->value_bytes);
	else
		print_line(changed->property);
}

static void on_notification(void *ctx, const struct postern_notification *notification)
{
	const Postern__V1__NotifyPropertiesChanged *changed;
	const char *prefix = ctx, *why;
	struct arena arena;

	if (strcmp(notification->topic, "notify.gap") == 0) {
		(void)fputs("(changes were missed)\n", stdout);
		return;
	}
	arena_init(&arena, ARENA_HOST_MAX);
	changed = (const Postern__V1__NotifyPropertiesChanged *)verify_unpack(
		&postern__v1__notify_properties_changed__descriptor, notification->payload,
		notification->payload_len, &verify_host_limits, &arena, &why);
	if (changed && changed->property && changed->property->key &&
		strncmp(changed->property->key, prefix, strlen(prefix)) == 0)
		show(changed);
	arena_done(&arena);
}

static int watch(const char *settings, int argc, char **argv)
{
	static const char *const topics[] = {"notify.properties.changed"};
	const struct postern_subscribe options = {
		.topics = topics, .n_topics = 1, .snapshot = true};
	struct postern_client *client = NULL;
	struct postern_error error = {0};
	char *prefix = argc > 1 ? argv[1] : (char *)"";
	int r;

	if (argc > 2)
		return usage();
	r = ctl_connect(settings, &client);
	if (r != POSTERN_DONE)
		return r;
	r = postern_subscribe(client, &options, on_notification, prefix, NULL, &error);
	while (r >= 0 && flush() == POSTERN_DONE)
		r = postern_client_wait(client, -1, -1, &error);
	postern_client_close(client);
	return r < 0 ? ctl_report(&error) : POSTERN_ANSWERED;
}

int ctl_property(const char *settings, int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const char *settings, int argc, char **argv);
	} verbs[] = {{"get", get}, {"list", list}, {"set", set}, {"remove", take_away},
		{"watch", watch}};

	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(verbs); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(settings, argc - 1, argv + 1);
	return usage();
}
