/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's console: "serial" and "attach" are two names of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/command.h"
#include "host/cli/escape.h"
#include "host/cli/pump.h"
#include "host/cli/terminal.h"
#include "host/common/fail.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"

#define LINGER_MS 1000

static const struct cli_option options[] = {
	{"log", 'l', "FILE", "append what the guest writes to a file, too"},
	{"new", 'n', NULL, "begin with what comes now, without the last 64 KiB"},
	{"virtio", 'V', NULL, "the virtio console, hvc0 in the guest, not the serial port"},
	{"read-only", 'r', NULL, "type nothing: go on until the machine ends"},
	{"linger", 't', CLI_TIME, "of silence behind the end of the input, default 1s"},
	{0},
};

/* The words that people know from elsewhere, and why. */
static int no_attach(struct cli *cli, struct postern_error *error)
{
	enum postern_failure failure = error->failure;
	bool runs = failure != POSTERN_ABSENT;
	char why[sizeof(error->message)];

	(void)snprintf(why, sizeof(why), "%s", error->message);
	(void)fail(error, failure, error->sys_errno, "%s: %.400s",
		runs ? "Failed to attach to guest" : "Can't attach to a non-running guest", why);
	return cli_fail(cli, error);
}

static int open_log(struct cli *cli, FILE **ret_log)
{
	const char *path = cli_value(cli, "log");
	struct postern_error error = {0};
	int fd;

	if (!path)
		return POSTERN_DONE;
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd >= 0)
		*ret_log = fdopen(fd, "a");
	if (!*ret_log) {
		(void)fail_errno(&error, POSTERN_USAGE, errno, "%s", path);
		(void)fd_close(fd);
		return cli_fail(cli, &error);
	}
	setbuf(*ret_log, NULL);
	return POSTERN_DONE;
}

/* Raw where a person sits at it: on both sides, or else Ctrl-C would end nothing that they see. */
static void take_terminal(const char *name, struct pump *pump, struct escape *escape)
{
	if (pump->read_only || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return;
	(void)fprintf(stderr, "This is the console of %s; leave it with ~. (~? for help).\n", name);
	if (terminal_raw(STDIN_FILENO) == 0)
		pump->escape = escape;
}

static int run(struct cli *cli)
{
	struct postern_error error = {0};
	AUTO_CLOSE int fd = -EBADF;
	AUTO_FILE FILE *log = NULL;
	struct escape escape = {0};
	struct pump pump = {0};
	uint64_t linger_ms;
	int r;

	if (cli_time(cli, "linger", 1, DAY_MS, LINGER_MS, &linger_ms) < 0)
		return POSTERN_USAGE;
	r = open_log(cli, &log);
	if (r != POSTERN_DONE)
		return r;
	r = (cli_flag(cli, "virtio") ? postern_virtio_console_open : postern_console_open)(
		cli->words[0], !cli_flag(cli, "new"), &fd, &error);
	if (r < 0)
		return no_attach(cli, &error);
	pump = (struct pump){.read_only = cli_flag(cli, "read-only"),
		.linger_ms = (uint32_t)linger_ms,
		.log = log};
	take_terminal(cli->words[0], &pump, &escape);
	r = pump_stdio(cli, &pump, fd, "Disconnected from guest after a successful attach");
	if (r == POSTERN_DONE && pump.log_error) {
		(void)fail_errno(
			&error, POSTERN_ANSWERED, pump.log_error, "%s", cli_value(cli, "log"));
		return cli_fail(cli, &error);
	}
	return r;
}

#define DETAILS                                                                                    \
	"At a terminal every key is the guest's, but ~. at the beginning of a line leaves.\n"      \
	"In a pipe it ends when the input has ended and nothing has come for a while.\n"           \
	"What a guest writes is shown as it is, with what it may do to a terminal."

const struct command cmd_serial = {
	.name = "serial",
	.arguments = "VM",
	.summary = "Read the console of a guest, and type at it",
	.details = DETAILS,
	.least = 1,
	.most = 1,
	.options = options,
	.run = run,
};

const struct command cmd_attach = {
	.name = "attach",
	.arguments = "VM",
	.summary = "The same as serial",
	.details = DETAILS,
	.least = 1,
	.most = 1,
	.options = options,
	.run = run,
};
