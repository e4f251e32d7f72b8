/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/command.h"
#include "host/cli/guest_restored.h"
#include "host/cli/progress.h"
#include "host/cli/split.h"
#include "host/cli/style.h"
#include "host/common/device.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"

#define REPEATED_MAX 64

struct lists {
	struct postern_share shares[REPEATED_MAX];
	struct postern_add adds[REPEATED_MAX];
	const char *modules[REPEATED_MAX];
	char *texts[REPEATED_MAX * 2]; /* what these point into */
	size_t n_texts;
};

static const struct cli_option options[] = {
	{"kernel", 'k', "FILE", "kernel image (default: the newest that is installed)"},
	{"modules", 0, "DIR", "its lib/modules/RELEASE"},
	{"initrd", 0, "FILE", "initramfs (default: the small guest's)"},
	{"image", 0, "FILE", "disk, raw or qcow2; its boot loader runs without --kernel"},
	{"image-read-only", 0, NULL, "the guest cannot write to the disk"},
	{"memory", 'm', "SIZE", "default 256M; a bare number counts MiB"},
	{"cpus", 'c', "N", "default 1"},
	{"cmdline-add", 'a', "TEXT", "added to the kernel command line; may be repeated"},
	{"share", 's', "HOST:GUEST[:ro][:9p]", "share a folder; may be repeated"},
	{"add", 0, "HOST:GUEST", "put a file, folder or program into the small guest; repeated"},
	{"add-module", 0, "NAME", "a kernel module that the small guest lacks; repeated"},
	{"vmm", 0, "NAME", "qemu (default), firecracker or cloud-hypervisor"},
	{"accel", 0, "auto|kvm|tcg", "default auto: hardware acceleration once proved"},
	{"vsock", 0, "user|kernel", "default user: postern-vsockd; kernel: vhost-vsock"},
	{"cid", 0, "N", "the guest's vsock address (default: a free one)"},
	{"default-net", 0, CLI_BOOL, "a network device to the world outside, default false"},
	{"interrupt", 0, "N", "a hardware interrupt of the host: no VMM here passes one on"},
	{"virtio-balloon", 0, CLI_BOOL, "default true"},
	{"virtio-console", 0, CLI_BOOL, "a second console (serial --virtio), default true: QEMU"},
	{"virtio-gpu", 0, CLI_BOOL, "default true where the VMM has it: QEMU"},
	{"virtio-mem", 0, "SIZE", "memory that mem request-plugged can plug; default none"},
	{"virtio-mem-block-size", 0, "SIZE", "that is plugged at a time; default 2M"},
	{"virtio-rng", 0, CLI_BOOL, "default true"},
	{"virtio-sound", 0, CLI_BOOL, "default true where the VMM has it: QEMU from 8.2 on"},
	{"virtio-sound-input", 0, CLI_BOOL, "default false; as virtio-sound"},
	{"virtio-vsock", 0, CLI_BOOL, "default true; without it only --detach can be"},
	{"restore", 0, "DIR", "go on from a snapshot, with the machine as it was"},
	{"timeout", 't', CLI_TIME, "for the agent to answer, default 60"},
	{"detach", 'd', NULL, "do not wait for the agent; keep a guest that has none"},
	{0},
};

/* Keeps a text for as long as the launch takes. */
static char *keep(struct lists *lists, char *text)
{
	if (text)
		lists->texts[lists->n_texts++] = text;
	return text;
}

/* "HOST:GUEST", and behind it ":ro" and ":9p". */
static int take_share(
	struct cli *cli, struct lists *lists, struct postern_launch *launch, const char *value)
{
	char *copy = keep(lists, strdup(value));
	struct postern_share *share;
	struct split split;

	if (!copy || split_colons(copy, &split) < 2)
		return cli_usage(cli, "--share: HOST:GUEST[:ro][:9p], not %s", value);
	share = &lists->shares[launch->n_shares++];
	*share = (struct postern_share){.source = split.parts[0], .target = split.parts[1]};
	for (int i = 2; i < split.n; i++) {
		bool ro = strcmp(split.parts[i], "ro") == 0;

		if (!ro && strcmp(split.parts[i], "9p") != 0)
			return cli_usage(cli, "--share: HOST:GUEST[:ro][:9p], not %s", value);
		share->read_only |= ro;
		share->p9 |= !ro;
	}
	return 0;
}

static int take_add(
	struct cli *cli, struct lists *lists, struct postern_launch *launch, const char *value)
{
	char *copy = keep(lists, strdup(value));
	struct split split;

	if (!copy || split_colons(copy, &split) != 2)
		return cli_usage(cli, "--add: HOST:GUEST, not %s", value);
	lists->adds[launch->n_adds++] =
		(struct postern_add){.source = split.parts[0], .target = split.parts[1]};
	return 0;
}

static int take_lists(struct cli *cli, struct lists *lists, struct postern_launch *launch)
{
	const char *value;
	size_t at = 0;
	int r = 0;

	while (r == 0 && (value = cli_next(cli, "share", &at)))
		r = launch->n_shares < REPEATED_MAX ? take_share(cli, lists, launch, value)
						    : cli_usage(cli, "--share: too many");
	at = 0;
	while (r == 0 && (value = cli_next(cli, "add", &at)))
		r = launch->n_adds < REPEATED_MAX ? take_add(cli, lists, launch, value)
						  : cli_usage(cli, "--add: too many");
	at = 0;
	while (r == 0 && (value = cli_next(cli, "add-module", &at)))
		if (launch->n_add_modules < REPEATED_MAX)
			lists->modules[launch->n_add_modules++] = value;
		else
			r = cli_usage(cli, "--add-module: too many");
	launch->shares = lists->shares;
	launch->adds = lists->adds;
	launch->add_modules = lists->modules;
	return r;
}

static int take_words(struct cli *cli, struct postern_launch *launch)
{
	static const char *const accels[] = {"auto", "kvm", "tcg"};
	const char *accel = cli_value(cli, "accel"), *vsock = cli_value(cli, "vsock");
	size_t i = 0;

	while (accel && i < ARRAY_SIZE(accels) && strcmp(accel, accels[i]) != 0)
		i++;
	if (i == ARRAY_SIZE(accels))
		return cli_usage(cli, "--accel: auto, kvm or tcg");
	launch->accel = (enum postern_accel)i;
	if (vsock && strcmp(vsock, "user") != 0 && strcmp(vsock, "kernel") != 0)
		return cli_usage(cli, "--vsock: user or kernel");
	launch->vsock_kernel = vsock && strcmp(vsock, "kernel") == 0;
	return 0;
}

/* The options of devices, by the table that has them. */
static int take_devices(struct cli *cli, struct postern_launch *launch)
{
	if (cli_value(cli, "interrupt"))
		return cli_usage(
			cli, "--interrupt: no VMM here passes an interrupt of the host on");
	for (const struct device_kind *kind = device_kinds; kind->bit; kind++) {
		const char *value = cli_value(cli, kind->option);

		if (value && strcmp(value, "true") == 0)
			launch->devices_on |= kind->bit;
		else if (value && strcmp(value, "false") == 0)
			launch->devices_off |= kind->bit;
		else if (value)
			return cli_usage(cli, "--%s: true or false", kind->option);
	}
	return 0;
}

/* A machine that is restored is what it was. */
static int check_restore(struct cli *cli)
{
	static const char *const allowed[] = {"restore", "vmm", "timeout", "detach", "json"};

	if (!cli_value(cli, "restore"))
		return 0;
	for (size_t i = 0; i < cli->n_given; i++) {
		const char *name = cli->command->options[cli->given[i]].name;
		size_t at = 0;

		while (at < ARRAY_SIZE(allowed) && strcmp(allowed[at], name) != 0)
			at++;
		if (at == ARRAY_SIZE(allowed))
			return cli_usage(cli,
				"--restore: the machine is as it was; --%s cannot be given", name);
	}
	return 0;
}

static int take_numbers(struct cli *cli, struct postern_launch *launch)
{
	uint64_t cpus, cid, timeout_ms;

	if (cli_size(cli, "memory", 0, &launch->memory_bytes) < 0 ||
		cli_size(cli, "virtio-mem", 0, &launch->plug_bytes) < 0 ||
		cli_size(cli, "virtio-mem-block-size", 0, &launch->plug_block_bytes) < 0 ||
		cli_number(cli, "cpus", 1024, 0, &cpus) < 0 ||
		cli_number(cli, "cid", UINT32_MAX - 1, 0, &cid) < 0 ||
		cli_time(cli, "timeout", 1, DAY_MS, 0, &timeout_ms) < 0)
		return POSTERN_USAGE;
	launch->cpus = (unsigned)cpus;
	launch->cid = (uint32_t)cid;
	launch->timeout_ms = (uint32_t)timeout_ms;
	return 0;
}

/* All --cmdline-add with a space between them. The caller frees. */
static char *join_cmdline(const struct cli *cli)
{
	char *joined = NULL, *longer;
	const char *value;
	size_t at = 0;

	while ((value = cli_next(cli, "cmdline-add", &at))) {
		if (asprintf(&longer, "%s%s%s", joined ? joined : "", joined ? " " : "", value) < 0)
			break;
		free(joined);
		joined = longer;
	}
	return joined;
}

static void on_progress(void *ctx, const char *state)
{
	(void)ctx;
	if (strcmp(state, "emulating") == 0) {
		progress_end();
		(void)fputs(
			"postern: /dev/kvm is there, but no guest answered under it: emulating\n",
			stderr);
	}
	progress_show(state);
}

static int report(const struct cli *cli, const struct postern_vm *vm)
{
	AUTO_FREE char *text = postern_vm_json(vm);

	if (cli->json)
		return cli_json(text ? json_loads(text, 0, NULL) : NULL);
	(void)printf("Successfully launched the guest %s\n", postern_vm_name(vm));
	return POSTERN_DONE;
}

/* What the guest said last explains most failures. */
static void show_console(const struct postern_vm *vm)
{
	AUTO_FREE char *text = vm ? postern_vm_json(vm) : NULL;
	json_t *record = text ? json_loads(text, 0, NULL) : NULL;
	const json_t *line;
	size_t i;

	json_array_foreach(json_object_get(record, "console"), i, line)(void)
		fprintf(stderr, "%s| %s%s\n", style(stderr, STYLE_DIM), json_string_value(line),
			style(stderr, STYLE_PLAIN));
	json_decref(record);
}

/* It runs either way; but what it thinks random others may know. */
static void tell_restored(const char *vm)
{
	struct postern_error error = {0};
	json_t *answer = NULL;

	if (guest_restored(vm, &answer, &error) < 0) {
		(void)fprintf(stderr, "postern: the guest does not know that it was restored: %s\n",
			error.message);
		postern_error_clear(&error);
	}
	json_decref(answer);
}

static int fail_launch(const struct cli *cli, struct postern_error *error)
{
	AUTO_FREE char *said = strdup(error->message);

	if (said && error->failure != POSTERN_USAGE)
		(void)snprintf(
			error->message, sizeof(error->message), "Failed to launch guest: %s", said);
	return cli_fail(cli, error);
}

static int run(struct cli *cli)
{
	struct postern_launch launch = {
		.name = cli->n_words > 0 ? cli->words[0] : NULL,
		.kernel = cli_value(cli, "kernel"),
		.modules = cli_value(cli, "modules"),
		.initrd = cli_value(cli, "initrd"),
		.image = cli_value(cli, "image"),
		.vmm = cli_value(cli, "vmm"),
		.restore = cli_value(cli, "restore"),
		.image_read_only = cli_flag(cli, "image-read-only"),
		.detach = cli_flag(cli, "detach"),
		.progress = on_progress,
	};
	AUTO_FREE char *cmdline = join_cmdline(cli);
	struct postern_error error = {0};
	struct postern_vm *vm = NULL;
	struct lists lists = {0};
	int r = check_restore(cli);

	if (r == 0)
		r = take_words(cli, &launch);

	launch.cmdline_add = cmdline;
	if (r == 0)
		r = take_numbers(cli, &launch);
	if (r == 0)
		r = take_devices(cli, &launch);
	if (r == 0)
		r = take_lists(cli, &lists, &launch);
	if (r == 0) {
		r = postern_launch(&launch, &vm, &error);
		progress_end();
		if (r < 0)
			show_console(vm);
		else if (launch.restore && !launch.detach)
			tell_restored(postern_vm_name(vm));
		r = r < 0 ? fail_launch(cli, &error) : report(cli, vm);
	}
	postern_vm_free(vm);
	for (size_t i = 0; i < lists.n_texts; i++)
		free(lists.texts[i]);
	return r;
}

const struct command cmd_launch = {
	.name = "launch",
	.arguments = "[NAME]",
	.summary = "Start a virtual machine and wait until its agent answers",
	.details =
		"Without options it boots the small guest: a kernel of this machine and an\n"
		"initramfs with the agent; with --kernel, --modules and --image it has that disk\n"
		"too. A folder's ':' and '\\' are written '\\:' and '\\\\'.\n"
		"Environment: POSTERN_ACCEL (as --accel), POSTERN_GUEST_DIR (boot/, lib/modules/\n"
		"and etc/postern/ of the small guest), POSTERN_QEMU, POSTERN_FIRECRACKER,\n"
		"POSTERN_CLOUD_HYPERVISOR (the VMM's program), POSTERN_VIRTIOFSD.\n"
		"A share is a virtiofs device; with :9p it is a 9p device, which needs no\n"
		"virtiofsd, and a guest kernel that has 9p (Debian's cloud kernel has not).",
	.most = 1,
	.options = options,
	.run = run,
};
