/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "host/cli/agent.h"
#include "host/cli/show.h"
#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "proto/client/json_call.h"
#include "proto/clock.h"
#include "proto/exec.h"
#include "proto/limits.h"

#define LEASE_MS    60000
#define SIGNAL_EXIT 128 /* and the signal's number, as a shell has it */

static const struct cli_option options[] = {
	{"lease", 'l', CLI_TIME, "thaw by themselves after this time (60s, at most 15m)"},
	{"mount", 'm', "DIR", "only the file system at this mount point; may be repeated"},
	{0},
};

/* Whoever wants us to end is waited for while file systems are frozen; the program that runs
 * meanwhile hears of it by itself. */
static void hold_signals(sigset_t *ret_before)
{
	sigset_t held;

	(void)sigemptyset(&held);
	(void)sigaddset(&held, SIGINT);
	(void)sigaddset(&held, SIGTERM);
	(void)sigaddset(&held, SIGHUP);
	(void)sigaddset(&held, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &held, ret_before);
}

/* Until a signal wants us to end, or the lease is over. */
static void wait_for_user(uint64_t until_ns)
{
	sigset_t ending;

	(void)sigemptyset(&ending);
	(void)sigaddset(&ending, SIGINT);
	(void)sigaddset(&ending, SIGTERM);
	(void)sigaddset(&ending, SIGHUP);
	for (;;) {
		uint64_t now = monotonic_ns(), left = now < until_ns ? until_ns - now : 0;
		struct timespec time = {.tv_sec = (time_t)(left / NSEC_PER_SEC),
			.tv_nsec = (long)(left % NSEC_PER_SEC)};

		if (left == 0 || sigtimedwait(&ending, NULL, &time) > 0 || errno != EINTR)
			return;
	}
}

/* The program's exit code in *ret, as a shell would give it. 0 or -errno. */
static int run_program(char *const argv[], int *ret)
{
	pid_t pid;
	int status, r = spawn_program(argv[0], argv, -EBADF, false, &pid);

	if (r < 0)
		return r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	*ret = WIFSIGNALED(status) ? SIGNAL_EXIT + WTERMSIG(status) : WEXITSTATUS(status);
	return 0;
}

/* The lease that was over before it was ended: what was copied meanwhile is not of one moment. */
static int fail_late(struct cli *cli, uint64_t lease_ms)
{
	struct postern_error error = {0};

	(void)fail(&error, POSTERN_TIMED_OUT, 0,
		"the lease of %.1f s ended first, and the file systems thawed: what was taken of "
		"the disks "
		"is not of one moment; --lease asks for more",
		(double)lease_ms / 1000);
	return cli_fail(cli, &error);
}

static void show_frozen(const json_t *frozen, uint64_t lease_ms, bool waits)
{
	const json_t *fs;
	size_t i;

	show_words("Frozen for at most %.0f s:", (double)lease_ms / 1000);
	json_array_foreach(json_object_get(frozen, "frozen"), i, fs)
	{
		show_words(" %s", agent_text(fs, "target"));
	}
	show_line("%s", waits ? "; an interrupt (Ctrl-C) thaws" : "");
	(void)fflush(stdout);
}

/* Between the freeze and the thaw, and the thaw. */
static int while_frozen(
	struct cli *cli, struct postern_client *client, json_t *frozen, uint64_t lease_ms)
{
	uint64_t until = monotonic_ns() + lease_ms * NSEC_PER_MSEC;
	json_int_t lease = json_field_int(frozen, "lease", 0);
	bool runs = cli->n_words > 1;
	struct postern_error error = {0}, thaw_error = {0};
	json_t *params, *thawed = NULL;
	int code = 0, r = 0;

	if (!cli->json)
		show_frozen(frozen, lease_ms, !runs);
	if (runs) {
		r = run_program(&cli->words[1], &code);
		if (r < 0)
			(void)fail_errno(&error, POSTERN_USAGE, -r, "%.200s", cli->words[1]);
	} else {
		wait_for_user(until);
	}
	params = json_pack("{s:I}", "lease", lease);
	if (json_call_object(client, "filesystems.thaw", params, 0, &thawed, &thaw_error) < 0) {
		json_decref(params);
		return monotonic_ns() >= until
			       ? (postern_error_clear(&thaw_error), fail_late(cli, lease_ms))
			       : cli_fail(cli, &thaw_error);
	}
	json_decref(params);
	if (r < 0) {
		json_decref(thawed);
		return cli_fail(cli, &error);
	}
	if (cli->json)
		(void)cli_json(json_pack("{s:I, s:O, s:O, s:i}", "lease", lease, "frozen",
			json_object_get(frozen, "frozen"), "thawed",
			json_object_get(thawed, "thawed"), "exit_code", code));
	else
		show_line("Thawed");
	json_decref(thawed);
	return code;
}

static json_t *params_of(const struct cli *cli, uint64_t lease_ms)
{
	json_t *targets = json_array();
	const char *target;
	size_t at = 0;

	while ((target = cli_next(cli, "mount", &at)))
		(void)json_array_append_new(targets, json_string(target));
	return json_pack("{s:o, s:I}", "targets", targets, "lease_ms", (json_int_t)lease_ms);
}

static int run(struct cli *cli)
{
	struct postern_client *client = NULL;
	struct postern_error error = {0};
	json_t *params, *frozen = NULL;
	uint64_t lease_ms;
	sigset_t before;
	int r;

	if (cli_time(cli, "lease", FREEZE_LEAST_MS, FREEZE_MOST_MS, LEASE_MS, &lease_ms) < 0)
		return POSTERN_USAGE;
	r = agent_connect(cli, &client);
	if (r != POSTERN_DONE)
		return r;
	params = params_of(cli, lease_ms);
	hold_signals(&before);
	r = json_call_object(client, "filesystems.freeze", params, 0, &frozen, &error) < 0
		    ? cli_fail(cli, &error)
		    : while_frozen(cli, client, frozen, lease_ms);
	json_decref(params);
	json_decref(frozen);
	/* It would thaw by this too. */
	postern_client_close(client);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

const struct command cmd_fs_freeze = {
	.name = "fs freeze",
	.arguments = "VM [-- PROGRAM [ARG...]]",
	.summary = "Hold all writes of a guest back while its disks are copied",
	.details = "Runs PROGRAM here while the guest's file systems are frozen, and thaws them "
		   "when it has\n"
		   "ended; its exit code is ours. Without one they are frozen until an interrupt. "
		   "They thaw by\n"
		   "themselves when --lease is over, or this command is gone: then it fails with "
		   "5, whatever\n"
		   "the program said, since what it took of the disks is not of one moment.",
	.least = 1,
	.most = -1,
	.options = options,
	.run = run,
};
