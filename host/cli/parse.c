/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/parse.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/help.h"
#include "proto/cleanup.h"

#define OPTIONS_MAX 32
#define OPT_BASE    256
#define OPT_JSON    (OPT_BASE + OPTIONS_MAX)
#define OPT_HELP    (OPT_JSON + 1)

/* How many words of argv name the command: 0, 1 or 2. */
static int match(const struct command *command, int argc, char **argv)
{
	const char *space = strchr(command->name, ' ');
	size_t first = space ? (size_t)(space - command->name) : strlen(command->name);

	if (argc < 1 || strlen(argv[0]) != first || strncmp(argv[0], command->name, first) != 0)
		return 0;
	if (!space)
		return 1;
	return argc >= 2 && strcmp(argv[1], space + 1) == 0 ? 2 : 0;
}

static const struct command *find(int argc, char **argv, int *ret_words)
{
	const struct command *found = NULL;

	*ret_words = 0;
	for (size_t i = 0; commands[i]; i++) {
		int words = match(commands[i], argc, argv);

		if (words > *ret_words) {
			*ret_words = words;
			found = commands[i];
		}
	}
	return found;
}

/* Turns the row's options into getopt's two lists. */
static void make_lists(const struct command *command, struct option *list, char *letters)
{
	size_t n = 0;

	*letters++ = ':';
	for (const struct cli_option *option = command->options; option && option->name;
		option++, n++) {
		list[n] = (struct option){.name = option->name,
			.has_arg = option->argument ? required_argument : no_argument,
			.val = OPT_BASE + (int)n};
		if (option->letter) {
			*letters++ = option->letter;
			if (option->argument)
				*letters++ = ':';
		}
	}
	list[n++] = (struct option){.name = "json", .val = OPT_JSON};
	list[n++] = (struct option){.name = "help", .val = OPT_HELP};
	*letters++ = 'h';
	*letters = '\0';
}

static int index_of(const struct command *command, int value)
{
	if (value >= OPT_BASE)
		return value - OPT_BASE;
	for (int i = 0; command->options && command->options[i].name; i++)
		if (command->options[i].letter == value)
			return i;
	return -1;
}

static int take(struct cli *cli, int option, char **argv)
{
	int i;

	if (option == OPT_JSON)
		return 0;
	/* Of a short one getopt(3) tells the letter alone, of those that it does not know too. */
	if (option == ':' || option == '?') {
		char letter[] = {'-', (char)optopt, '\0'};
		bool is_short = optopt > 0 && optopt < OPT_BASE;

		return cli_usage(cli, option == ':' ? "%s needs a value" : "there is no option %s",
			is_short ? letter : argv[optind - 1]);
	}
	i = index_of(cli->command, option);
	cli->given[cli->n_given] = i;
	cli->values[cli->n_given++] = cli->command->options[i].argument ? optarg : "";
	return 0;
}

/* Looked for before anything else is: what is wrong with the rest is said as asked for. */
static bool asks_for_json(int argc, char **argv, const char *letters, const struct option *list)
{
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, letters, list, NULL)) != -1)
		json = json || option == OPT_JSON;
	optind = 0; /* from the beginning again (getopt(3)) */
	return json;
}

/* No more options can be in them: each letter of "-rf" is one. */
static size_t count_letters(int argc, char **argv)
{
	size_t n = 1;

	for (int i = 0; i < argc; i++)
		n += strlen(argv[i]) + 1;
	return n;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct option list[OPTIONS_MAX + 3] = {0};
	char letters[OPTIONS_MAX * 2 + 3];
	size_t most = count_letters(argc, argv);
	AUTO_FREE int *given = calloc(most, sizeof(*given));
	AUTO_FREE const char **values = calloc(most, sizeof(*values));
	struct cli cli = {.command = command, .given = given, .values = values};
	int option, r = 0;

	if (!given || !values)
		return POSTERN_ANSWERED;
	make_lists(command, list, letters);
	cli.json = asks_for_json(argc, argv, letters, list);
	while (r == 0 && (option = getopt_long(argc, argv, letters, list, NULL)) != -1) {
		if (option == OPT_HELP || option == 'h') {
			help_command(command);
			return POSTERN_DONE;
		}
		r = take(&cli, option, argv);
	}
	if (r != 0)
		return r;
	cli.words = argv + optind;
	cli.n_words = argc - optind;
	if (cli.n_words < command->least)
		return cli_usage(&cli, "%s is missing", command->arguments);
	if (command->most >= 0 && cli.n_words > command->most)
		return cli_usage(&cli, "one word too many: %s", cli.words[command->most]);
	return command->run(&cli);
}

static int no_command(int argc, char **argv)
{
	static const struct option list[] = {{.name = "json", .val = OPT_JSON}, {0}};
	const char *word = argv[1]; /* getopt(3) changes their order */
	struct cli cli = {.json = asks_for_json(argc, argv, "", list)};

	/* "postern shares" alone: the commands that begin so. */
	if (help_all(stderr, word) > 0)
		return cli_usage(&cli, "%s is the first word of these commands", word);
	return cli_usage(&cli, "there is no command %s", word);
}

/* "--env NAME" before the command: where it looks for machines. Returns the words that it took. */
static int take_env(int argc, char **argv)
{
	const char *name = NULL;
	int words = 0;

	if (argc > 1 && strncmp(argv[1], "--env=", 6) == 0) {
		name = argv[1] + 6;
		words = 1;
	} else if (argc > 2 && strcmp(argv[1], "--env") == 0) {
		name = argv[2];
		words = 2;
	}
	if (name)
		(void)setenv("POSTERN_ENV", name, 1);
	return words;
}

int cli_run(int argc, char **argv)
{
	const struct command *command;
	int words = take_env(argc, argv);

	argc -= words;
	argv += words;
	opterr = 0;
	if (argc < 2)
		return help_all(stderr, NULL), POSTERN_USAGE;
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
		strcmp(argv[1], "help") == 0)
		return help_all(stdout, NULL), POSTERN_DONE;
	command = find(argc - 1, argv + 1, &words);
	if (!command)
		return no_command(argc, argv);
	return run(command, argc - words, argv + words);
}
