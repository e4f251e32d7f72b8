/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/cli/agent.h"
#include "host/cli/command.h"
#include "host/cli/mount_option.h"
#include "host/cli/progress.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/client/base64.h"

#define SECRET_MAX 4096

static const struct cli_option add_options[] = {
	{"read-only", 'r', NULL, "the guest cannot write; a folder's is enforced on the host"},
	{"persistent", 'p', NULL, "comes back when guest and machine are started again"},
	{"type", 't', "TYPE", "nfs4, cifs, ceph, 9p, tmpfs, overlay; default virtiofs"},
	{"option", 'o', "KEY[=VALUE]", "mount option of such a type; may be repeated"},
	{"secret-file", 0, "FILE", "password of cifs or key of ceph; - is standard input"},
	{"tag", 0, "TAG", "the device's name in the guest (default: made up)"},
	{"wait", 0, CLI_TIME, "for the guest to find the device, default 10"},
	{0},
};

/* ---- a folder of the host ---- */

static int add_folder(struct cli *cli)
{
	struct postern_share share = {
		.tag = cli_value(cli, "tag"),
		.source = cli->words[1],
		.target = cli->words[2],
		.read_only = cli_flag(cli, "read-only"),
		.persistent = cli_flag(cli, "persistent"),
	};
	struct postern_error error = {0};
	char tag[37];
	uint64_t wait_ms;
	int r;

	if (cli->n_words != 3)
		return cli_usage(cli, "VM, HOST_DIR and GUEST_DIR are needed");
	if (cli_value(cli, "option") || cli_value(cli, "secret-file"))
		return cli_usage(cli, "--option and --secret-file go with another --type");
	if (cli_time(cli, "wait", 1, 600000, 0, &wait_ms) < 0)
		return POSTERN_USAGE;
	progress_show("plugging and mounting");
	r = postern_share_add(cli->words[0], &share, (uint32_t)wait_ms, tag, &error);
	progress_end();
	if (r < 0)
		return cli_fail(cli, &error);
	if (cli->json)
		return cli_json(json_pack("{s:s, s:s, s:s, s:b}", "tag", tag, "source",
			share.source, "target", share.target, "read_only", share.read_only));
	(void)printf("%s is at %s in the guest (tag %s)\n", share.source, share.target, tag);
	return POSTERN_DONE;
}

/* ---- what the guest mounts by itself ---- */

/* The secret as JSON; from a file, so that it stands in no command line. NULL after saying why. */
static json_t *read_secret(struct cli *cli, const char *path)
{
	bool in = strcmp(path, "-") == 0;
	AUTO_CLOSE int fd = in ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *base64 = NULL;
	char secret[SECRET_MAX + 2] = "";
	size_t len = 0;
	ssize_t n = fd < 0 ? -1 : 1;

	while (n > 0 && len < sizeof(secret)) {
		n = read(fd, secret + len, sizeof(secret) - len);
		len += n > 0 ? (size_t)n : 0;
	}
	if (n < 0) {
		(void)cli_usage(cli, "--secret-file %s: %s", path, strerror(errno));
		return NULL;
	}
	len -= len > 0 && secret[len - 1] == '\n';
	if (len == 0 || len > SECRET_MAX) {
		(void)cli_usage(cli, "--secret-file %s: expected 1 to %d bytes", path, SECRET_MAX);
		return NULL;
	}
	base64 = base64_encode((const uint8_t *)secret, len);
	explicit_bzero(secret, sizeof(secret));
	return json_pack("{s:s}", "base64", base64 ? base64 : "");
}

static json_t *options_of(const struct cli *cli)
{
	json_t *options = mount_options_from(cli);

	if (cli_flag(cli, "read-only"))
		(void)json_array_append_new(options, json_pack("{s:s}", "key", "ro"));
	return options;
}

static int add_mount(struct cli *cli, const char *type)
{
	const char *source = cli->n_words == 3 ? cli->words[1] : NULL;
	const char *target = cli->words[cli->n_words - 1];
	const char *secret_file = cli_value(cli, "secret-file");
	json_t *params, *secret = NULL, *answer;
	uint64_t wait_ms;
	int r;

	if (cli_value(cli, "tag"))
		return cli_usage(cli, "--tag goes with virtiofs");
	if (strcmp(type, "9p") == 0 && source && source[0] == '/')
		return cli_usage(cli,
			"QEMU cannot plug a 9p device into a running machine: launch it with "
			"--share %s:%s:9p (what is given here is the tag of such a device)",
			source, target);
	if (cli_time(cli, "wait", 1, 270000, 0, &wait_ms) < 0)
		return POSTERN_USAGE;
	if (secret_file) {
		secret = read_secret(cli, secret_file);
		if (!secret)
			return POSTERN_USAGE;
	}
	params = json_pack("{s:s, s:s, s:o, s:b, s:I, s:s*, s:o*}", "target", target, "type", type,
		"options", options_of(cli), "persistent", cli_flag(cli, "persistent"), "wait_ms",
		(json_int_t)wait_ms, "source", source, "secret", secret);
	progress_show("mounting");
	r = agent_call(cli, "shares.mount", params, mount_timeout(wait_ms), &answer);
	progress_end();
	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	(void)printf("%s is at %s in the guest\n", source ? source : type, target);
	json_decref(answer);
	return POSTERN_DONE;
}

static int run_add(struct cli *cli)
{
	const char *type = cli_value(cli, "type");

	return type && strcmp(type, "virtiofs") != 0 ? add_mount(cli, type) : add_folder(cli);
}

const struct command cmd_shares_add = {
	.name = "shares add",
	.arguments = "VM [SOURCE] GUEST_DIR",
	.summary = "Share a folder of the host, or of a server, with a running guest",
	.details = "SOURCE is a folder of this host: a virtiofs device is plugged and the agent\n"
		   "mounts it; if one half fails, nothing of it is left. With --type the guest\n"
		   "mounts by itself, and SOURCE is what that type takes: nfs4 HOST:/PATH, cifs\n"
		   "//HOST/SHARE, ceph MON,MON:/PATH (addresses; the agent resolves no names),\n"
		   "9p the tag of a device that the machine was launched with.",
	.least = 2,
	.most = 3,
	.options = add_options,
	.run = run_add,
};

static const struct cli_option remove_options[] = {
	{"lazy", 'l', NULL, "also while files are in use there"},
	{0},
};

static int run_remove(struct cli *cli)
{
	struct postern_error error = {0};
	int r;

	progress_show("unmounting and unplugging");
	r = postern_share_remove(cli->words[0], cli->words[1], cli_flag(cli, "lazy"), &error);
	progress_end();
	if (r < 0)
		return cli_fail(cli, &error);
	if (cli->json)
		return cli_json(json_pack("{s:s}", "removed", cli->words[1]));
	(void)printf("%s is removed from the guest\n", cli->words[1]);
	return POSTERN_DONE;
}

const struct command cmd_shares_remove = {
	.name = "shares remove",
	.arguments = "VM GUEST_DIR|TAG",
	.summary = "Take a shared folder away from a running guest",
	.details =
		"Has the agent unmount it, then unplugs the device, if it has one of its own. A\n"
		"dead share is removed too.",
	.least = 2,
	.most = 2,
	.options = remove_options,
	.run = run_remove,
};
