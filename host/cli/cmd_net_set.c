/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changes of the guest's network. */
#include <stdlib.h>
#include <string.h>

#include "host/cli/agent.h"
#include "host/cli/show.h"

/* "ADDRESS[/PREFIX]" into two fields. 0, or -1 after cli_usage(). */
static int put_address(struct cli *cli, json_t *params, const char *key, const char *word)
{
	const char *slash = strchr(word, '/');
	char *end = NULL;
	long prefix = slash ? strtol(slash + 1, &end, 10) : 0;

	if (slash && (end == slash + 1 || *end != '\0' || prefix < 0 || prefix > 128)) {
		(void)cli_usage(cli, "%s: expected ADDRESS or ADDRESS/PREFIX", word);
		return -1;
	}
	(void)json_object_set_new(
		params, key, json_stringn(word, slash ? (size_t)(slash - word) : strlen(word)));
	if (slash)
		(void)json_object_set_new(params, "prefix", json_integer(prefix));
	return 0;
}

/* ---- link ---- */

static const struct cli_option link_options[] = {
	{"up", 'u', NULL, "switch it on"},
	{"down", 'd', NULL, "switch it off"},
	{"mtu", 'm', "BYTES", "the largest packet"},
	{0},
};

static int run_link(struct cli *cli)
{
	bool up = cli_flag(cli, "up"), down = cli_flag(cli, "down");
	json_t *params;
	uint64_t mtu;

	if (cli_number(cli, "mtu", UINT32_MAX, 0, &mtu) < 0)
		return POSTERN_USAGE;
	if (up && down)
		return cli_usage(cli, "--up or --down");
	if (!up && !down && mtu == 0)
		return cli_usage(cli, "what is to be changed? --up, --down or --mtu");
	params = json_pack("{s:s}", "interface", cli->words[1]);
	if (up || down)
		(void)json_object_set_new(params, "up", json_boolean(up));
	if (mtu > 0)
		(void)json_object_set_new(params, "mtu", json_integer((json_int_t)mtu));
	return agent_run(cli, "network.set_link", params, 0, NULL);
}

const struct command cmd_net_link = {
	.name = "net link",
	.arguments = "VM INTERFACE",
	.summary = "Switch a network interface of the guest on or off, set its MTU",
	.least = 2,
	.most = 2,
	.options = link_options,
	.run = run_link,
};

/* ---- address ---- */

static const struct cli_option address_options[] = {
	{"remove", 'r', NULL, "take it away"},
	{0},
};

static int run_address(struct cli *cli)
{
	json_t *params = json_pack(
		"{s:s, s:b}", "interface", cli->words[1], "remove", cli_flag(cli, "remove"));

	if (put_address(cli, params, "address", cli->words[2]) < 0) {
		json_decref(params);
		return POSTERN_USAGE;
	}
	return agent_run(cli, "network.set_address", params, 0, NULL);
}

const struct command cmd_net_address = {
	.name = "net address",
	.arguments = "VM INTERFACE ADDRESS[/PREFIX]",
	.summary = "Give a network interface of the guest an address",
	.least = 3,
	.most = 3,
	.options = address_options,
	.run = run_address,
};

/* ---- route ---- */

static const struct cli_option change_options[] = {
	{"via", 'v', "ADDRESS", "the gateway"},
	{"interface", 'i', "NAME", "through this one"},
	{"metric", 'm', "NUMBER", "the least one wins"},
	{"source", 's', "ADDRESS", "the guest's own address that is preferred"},
	{"table", 't', "NUMBER", "in this table, not the main one"},
	{"replace", 'f', NULL, "in the place of one to the same destination"},
	{"remove", 'r', NULL, "take it away"},
	{0},
};

static int put_route(struct cli *cli, json_t *params)
{
	static const struct {
		const char *option, *field;
	} texts[] = {{"via", "gateway"}, {"interface", "interface"}, {"source", "source"}};
	static const char *const numbers[] = {"metric", "table"};
	uint64_t number;

	bool any = strcmp(cli->words[1], "default") == 0;

	/* The gateway says of which family the default route is, or nobody does. */
	if ((!any || !cli_value(cli, "via")) &&
		put_address(cli, params, "destination", any ? "0.0.0.0/0" : cli->words[1]) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (cli_value(cli, texts[i].option))
			(void)json_object_set_new(params, texts[i].field,
				json_string(cli_value(cli, texts[i].option)));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (cli_number(cli, numbers[i], UINT32_MAX, 0, &number) < 0)
			return -1;
		if (cli_value(cli, numbers[i]))
			(void)json_object_set_new(
				params, numbers[i], json_integer((json_int_t)number));
	}
	return 0;
}

static int run_route(struct cli *cli)
{
	json_t *params = json_pack("{s:b, s:b}", "remove", cli_flag(cli, "remove"), "replace",
		cli_flag(cli, "replace"));

	if (put_route(cli, params) < 0) {
		json_decref(params);
		return POSTERN_USAGE;
	}
	return agent_run(cli, "network.set_route", params, 0, NULL);
}

const struct command cmd_net_route = {
	.name = "net route",
	.arguments = "VM DESTINATION[/PREFIX]|default",
	.summary = "Add a route to the guest's, or remove it",
	.details = "\"default\" is of the gateway's family, without one of IPv4 (::/0 is of IPv6).",
	.least = 2,
	.most = 2,
	.options = change_options,
	.run = run_route,
};

/* ---- dns ---- */

static const struct cli_option dns_options[] = {
	{"search", 's', "DOMAIN", "look for short names here; may be repeated"},
	{"none", 'n', NULL, "ask nobody"},
	{0},
};

static void show_dns(const json_t *dns)
{
	const char *servers = agent_joined(dns, "servers"), *search = agent_joined(dns, "search");

	show_line("Asked for names: %s", servers[0] ? servers : "nobody");
	if (search[0])
		show_line("Short names are looked for in: %s", search);
}

static int run_dns(struct cli *cli)
{
	bool sets = cli->n_words > 1 || cli_flag(cli, "none") || cli_value(cli, "search");
	json_t *params = NULL, *answer;
	const char *domain;
	size_t at = 0;
	int r;

	if (sets)
		params = json_pack("{s:[], s:[]}", "servers", "search");
	for (int i = 1; i < cli->n_words; i++)
		(void)json_array_append_new(
			json_object_get(params, "servers"), json_string(cli->words[i]));
	while ((domain = cli_next(cli, "search", &at)))
		(void)json_array_append_new(json_object_get(params, "search"), json_string(domain));
	r = agent_call(cli, sets ? "network.set_dns" : "network.dns", params, 0, &answer);
	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	show_dns(sets ? json_object_get(answer, "dns") : answer);
	json_decref(answer);
	return POSTERN_DONE;
}

const struct command cmd_net_dns = {
	.name = "net dns",
	.arguments = "VM [SERVER...]",
	.summary = "Show or set whom the guest asks for names",
	.details = "With a SERVER, or --search: these in the place of all others.",
	.least = 1,
	.most = 65,
	.options = dns_options,
	.run = run_dns,
};
