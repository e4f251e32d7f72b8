/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The commands of postern. One is one file and one row of `commands` (commands.c): help, usage and
 * the parsing of options all come from the row.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/client/client.h"

struct cli_option {
	const char *name;     /* long name without dashes; NULL ends the list */
	char letter;          /* 0: none */
	const char *argument; /* "SIZE" as help shows it; NULL: a flag */
	const char *help;
};

struct command;

/* A command line that is parsed. */
struct cli {
	const struct command *command; /* NULL: none was found */
	bool json;                     /* --json */
	char **words;                  /* what is no option */
	int n_words;
	int *given; /* index of each option as given, in order */
	const char **values;
	size_t n_given;
};

struct command {
	const char *name;                 /* "list", or two words: "shares add" */
	const char *arguments;            /* "VM [TARGET]" */
	const char *summary;              /* one line */
	const char *details;              /* more for its own --help; NULL: nothing */
	int least, most;                  /* words besides options; most -1: any number */
	const struct cli_option *options; /* NULL: none but --json and --help */
	int (*run)(struct cli *cli);      /* returns the exit code */
};

extern const struct command *const commands[]; /* ends with NULL */

/* The option's last value, or NULL where it was not given. */
const char *cli_value(const struct cli *cli, const char *name);

/* Each value of an option that may be repeated: start with *at = 0; NULL behind the last. */
const char *cli_next(const struct cli *cli, const char *name, size_t *at);

bool cli_flag(const struct cli *cli, const char *name);

/* Prints the error ("postern: ..." on standard error, {"error": ...} on standard output with
 * --json), clears it, and returns its exit code. */
int cli_fail(const struct cli *cli, struct postern_error *error);

/* A wrong word or option value: prints the reason and a hint, and the error as cli_fail() does;
 * returns the exit code. */
int cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints a JSON value (taken over) as one line; returns exit code 0. */
int cli_json(json_t *value);

/* Number, size and time options; otherwise where it was not given. A time (an option of argument
 * CLI_TIME) is at least lowest. 0, or -1 after cli_usage(). */
#define CLI_TIME "TIME"
#define CLI_BOOL "true|false"
#define DAY_MS   UINT64_C(86400000)
int cli_number(const struct cli *cli, const char *name, uint64_t highest, uint64_t otherwise,
	uint64_t *ret_value);
int cli_size(const struct cli *cli, const char *name, uint64_t otherwise, uint64_t *ret_bytes);
int cli_time(const struct cli *cli, const char *name, uint64_t lowest_ms, uint64_t highest_ms,
	uint64_t otherwise, uint64_t *ret_ms);
