/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's half of shares: one virtiofsd each, and its device. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/common/argv.h"
#include "host/common/fail.h"
#include "host/common/text.h"
#include "host/common/unix_socket.h"
#include "host/common/vm_files.h"
#include "host/supervisor/machine.h"
#include "host/supervisor/problem.h"
#include "proto/cleanup.h"
#include "proto/log.h"

/* virtiofsd's -o takes a list: commas and backslashes of a path are escaped with a backslash. The
 * caller frees. */
static char *escape_option(const char *path)
{
	char *text = malloc(strlen(path) * 2 + 1), *to = text;

	for (const char *at = path; text && *at; at++) {
		if (*at == ',' || *at == '\\')
			*to++ = '\\';
		*to++ = *at;
	}
	if (text)
		*to = '\0';
	return text;
}

/* There are two programs of this name: QEMU's, in C (until 7.2), and its successor in Rust. */
static int command(const char *program, const struct share_config *config, struct argv *argv)
{
	AUTO_FREE char *source = escape_option(config->source);

	if (!source)
		return -ENOMEM;
	argv_add(argv, "%s", program);
	argv_add(argv, "--fd=%d", 3);
	if (strstr(program, "/qemu/")) {
		argv_add(argv, "-o");
		argv_add(argv, "source=%s,cache=auto,sandbox=namespace,log_level=warn,xattr",
			source);
	} else {
		argv_add(argv, "--shared-dir=%s", config->source);
		argv_add(argv, "--cache=auto");
		argv_add(argv, "--sandbox=namespace");
		argv_add(argv, "--log-level=warn");
		argv_add(argv, "--xattr");
	}
	return argv->failed ? -ENOMEM : 0;
}

static void clear_config(struct share_config *config)
{
	free(config->tag);
	free(config->source);
	free(config->target);
	*config = (struct share_config){0};
}

static int copy_config(struct share_config *to, const struct share_config *from)
{
	*to = (struct share_config){.tag = strdup(from->tag),
		.source = strdup(from->source),
		.target = from->target ? strdup(from->target) : NULL,
		.read_only = from->read_only,
		.persistent = from->persistent,
		.p9 = from->p9};
	if (to->tag && to->source && (to->target || !from->target))
		return 0;
	clear_config(to);
	return -ENOMEM;
}

void share_event(struct share *share, const char *what)
{
	control_event(&share->machine->control, json_pack("{s:s, s:s, s:s}", "name", "share", "tag",
							share->config.tag, "what", what));
}

static void on_ended(struct process *process, int status)
{
	struct share *share = container_of(process, struct share, virtiofsd);
	char text[64];

	if (share->state == SHARE_PLUGGED && !process->killed) {
		share->dead = true;
		log_error("share %s: virtiofsd ended with %s", share->config.tag,
			process_status_text(status, text));
		share_event(share, "dead");
		problem_tell(share->machine, PROBLEM_SHARE_DEAD, share->config.tag);
	}
}

const char *share_socket_path(const struct share *share, char path[PATH_MAX])
{
	char name[sizeof(VM_FILE_SHARE) + 10];

	(void)snprintf(name, sizeof(name), VM_FILE_SHARE, share->slot);
	return machine_path(share->machine, path, name);
}

int share_start(struct share *share, const struct share_config *config, char ret_socket[PATH_MAX],
	struct postern_error *error)
{
	struct machine *machine = share->machine;
	struct argv argv = {0};
	AUTO_CLOSE int listener = -EBADF;
	struct process_options options = {.read_only = config->read_only ? config->source : NULL};
	struct stat st;
	int r;

	if (!machine->config.virtiofsd)
		return fail(error, POSTERN_ABSENT, ENOENT,
			"virtiofsd is not installed on this host: no folder can be shared with a "
			"running machine (launch --share HOST:GUEST:9p needs none)");
	if (stat(config->source, &st) < 0)
		return fail_errno(error, POSTERN_USAGE, errno, "%s", config->source);
	if (!S_ISDIR(st.st_mode))
		return fail(error, POSTERN_USAGE, ENOTDIR, "%s is not a folder", config->source);
	listener = unix_listen(share_socket_path(share, ret_socket), 1);
	if (listener < 0)
		return fail_errno(error, POSTERN_ANSWERED, -listener, "%s", ret_socket);
	/* virtiofsd waits in accept(). */
	(void)fcntl(listener, F_SETFL, 0);
	r = copy_config(&share->config, config);
	if (r == 0)
		r = command(machine->config.virtiofsd, config, &argv);
	if (r < 0)
		(void)fail_errno(error, POSTERN_ANSWERED, -r, "virtiofsd");
	else
		r = process_start(&machine->processes, &share->virtiofsd, "virtiofsd", argv.words,
			&listener, 1, &options, on_ended, error);
	argv_done(&argv);
	if (r < 0) {
		(void)unlink(ret_socket);
		clear_config(&share->config);
	}
	return r;
}

int share_take(struct share *share, const struct share_config *config, struct postern_error *error)
{
	int r = copy_config(&share->config, config);

	if (r < 0)
		return fail_errno(error, POSTERN_ANSWERED, -r, "share");
	return 0;
}

void share_stop(struct share *share)
{
	char path[PATH_MAX];

	process_signal(&share->virtiofsd, SIGKILL);
	(void)unlink(share_socket_path(share, path));
	share->state = SHARE_FREE;
	share->dead = share->stuck = share->unmounted = false;
	clear_config(&share->config);
}
