/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "host/cli/agent.h"
#include "host/cli/progress.h"
#include "host/cli/show.h"
#include "host/common/text.h"
#include "host/lib/postern.h"

#define WAIT_MS_MAX    3600000
#define PARTITIONS_MAX 256

/* ---- attach ---- */

static const struct cli_option attach_options[] = {
	{"mount", 'M', "DIR", "mount it there in the guest"},
	{"type", 't', "TYPE", "the file system on it, where the guest does not find out"},
	{"partition", 'p', "N", "mount this partition of it"},
	{"mkfs", 'k', "TYPE", "make a file system on the raw image first, with the host's mkfs"},
	{"force", 'f', NULL, "with --mkfs: what is in the image is lost"},
	{"create", 'c', "SIZE", "make a new raw image of this size first"},
	{"read-only", 'r', NULL, "the guest cannot write to it"},
	{"wait", 'w', CLI_TIME, "for the guest to see it, default 20"},
	{0},
};

static int report(const struct cli *cli, const struct postern_disk_attach *how,
	const struct postern_disk_attached *attached)
{
	if (cli->json)
		return cli_json(json_pack("{s:s, s:s, s:s, s:I, s:s*, s:s*}", "id", attached->id,
			"path", how->image, "device", attached->device, "size",
			(json_int_t)attached->bytes, "mounted_at", how->target, "type",
			how->target ? attached->type : NULL));
	show_line(
		"%s is plugged as %s, %s in the guest", how->image, attached->id, attached->device);
	if (how->target)
		show_line("It is mounted at %s (%s)", how->target, attached->type);
	return POSTERN_DONE;
}

static int run_attach(struct cli *cli)
{
	struct postern_disk_attach how = {.image = cli->words[1],
		.read_only = cli_flag(cli, "read-only"),
		.mkfs = cli_value(cli, "mkfs"),
		.force = cli_flag(cli, "force"),
		.target = cli_value(cli, "mount"),
		.type = cli_value(cli, "type")};
	struct postern_disk_attached attached;
	struct postern_error error = {0};
	uint64_t wait_ms, partition;
	int r;

	if (cli_number(cli, "partition", PARTITIONS_MAX, 0, &partition) < 0 ||
		cli_size(cli, "create", 0, &how.create_bytes) < 0 ||
		cli_time(cli, "wait", 1, WAIT_MS_MAX, 0, &wait_ms) < 0)
		return POSTERN_USAGE;
	how.wait_ms = (uint32_t)wait_ms;
	how.partition = (uint32_t)partition;
	progress_show(how.mkfs ? "making a file system" : "plugging");
	r = postern_disk_attach(cli->words[0], &how, &attached, &error);
	progress_end();
	return r < 0 ? cli_fail(cli, &error) : report(cli, &how, &attached);
}

const struct command cmd_disks_attach = {
	.name = "disks attach",
	.arguments = "VM IMAGE",
	.summary = "Plug a disk image into a running guest, and mount it there",
	.details = "All of it or nothing: what was done before a step failed is undone. Without "
		   "--mount it ends\n"
		   "when the guest sees the disk.",
	.least = 2,
	.most = 2,
	.options = attach_options,
	.run = run_attach,
};

/* ---- detach ---- */

static int run_detach(struct cli *cli)
{
	struct postern_error error = {0};
	char id[16] = "";
	int r;

	progress_show("unmounting and pulling");
	r = postern_disk_detach(cli->words[0], cli->words[1], id, &error);
	progress_end();
	if (r < 0)
		return cli_fail(cli, &error);
	if (cli->json)
		return cli_json(json_pack("{s:s}", "id", id));
	show_line("%s is unmounted and pulled", id);
	return POSTERN_DONE;
}

const struct command cmd_disks_detach = {
	.name = "disks detach",
	.arguments = "VM DISK|IMAGE",
	.summary = "Unmount a plugged disk wherever it is mounted, then pull it",
	.details = "While a file on it is in use it stays, and who holds it is told.",
	.least = 2,
	.most = 2,
	.run = run_detach,
};

/* ---- grow ---- */

static const struct cli_option grow_options[] = {
	{"partition", 'p', "N", "this partition of it, where there are several"},
	{0},
};

static void on_step(void *ctx, const char *step)
{
	(void)ctx;
	progress_show(step);
}

static int run_grow(struct cli *cli)
{
	struct postern_disk_grow how = {.id_or_image = cli->words[1], .on_step = on_step};
	struct postern_disk_grown grown = {.id = ""};
	struct postern_error error = {0};
	uint64_t partition;
	int r;

	if (cli_number(cli, "partition", PARTITIONS_MAX, 0, &partition) < 0)
		return POSTERN_USAGE;
	if (parse_size(cli->words[2], UINT64_C(1) << 20, &how.bytes) < 0)
		return cli_usage(cli, "%s: expected a size: 512M, 20G", cli->words[2]);
	how.partition = (uint32_t)partition;
	r = postern_disk_grow(cli->words[0], &how, &grown, &error);
	progress_end();
	if (r < 0)
		return cli_fail(cli, &error);
	if (cli->json)
		return cli_json(json_pack("{s:s, s:s, s:I, s:s*, s:I, s:I}", "id", grown.id,
			"device", grown.device, "size", (json_int_t)grown.bytes, "type",
			grown.type[0] ? grown.type : NULL, "filesystem_before",
			(json_int_t)grown.filesystem_before, "filesystem_size",
			(json_int_t)grown.filesystem_bytes));
	show_line("%s (%s) has %s now", grown.id, grown.device, human_bytes((double)grown.bytes));
	if (grown.type[0])
		show_line("Its file system (%s) has %s, before %s", grown.type,
			human_bytes((double)grown.filesystem_bytes),
			human_bytes((double)grown.filesystem_before));
	else
		show_line("It is not mounted: its file system has not grown");
	return POSTERN_DONE;
}

const struct command cmd_disks_grow = {
	.name = "disks grow",
	.arguments = "VM DISK|IMAGE SIZE",
	.summary = "Make a plugged disk larger, with its partition and its file system",
	.details = "All the while it is in use. SIZE is the new size of the whole disk. A step "
		   "that fails can be\nasked for again.",
	.least = 3,
	.most = 3,
	.options = grow_options,
	.run = run_grow,
};
