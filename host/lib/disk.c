/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/lib/control_client.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"

#define PLUG_MS   25000
#define UNPLUG_MS 30000 /* the guest has to let go */

/* "QFI\xfb" is where every qcow2 file begins (QEMU, docs/interop/qcow2.txt). */
int disk_look(const char *image, char **ret_path, bool *ret_qcow2, struct postern_error *error)
{
	AUTO_CLOSE int fd = open(image, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char magic[4] = {0};
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_errno(error, POSTERN_USAGE, errno, "%s", image);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return fail(error, POSTERN_USAGE, EINVAL, "%s is no disk image", image);
	*ret_qcow2 = read(fd, magic, 4) == 4 && memcmp(magic, "QFI\xfb", 4) == 0;
	*ret_path = realpath(image, NULL);
	return *ret_path ? 0 : fail_errno(error, POSTERN_USAGE, errno, "%s", image);
}

struct plugging {
	void (*on_id)(void *ctx, const char *id);
	void *ctx;
};

static void on_progress(void *ctx, const json_t *progress)
{
	const struct plugging *plugging = ctx;
	const char *id = json_field_string(progress, "id", NULL);

	if (id && plugging->on_id)
		plugging->on_id(plugging->ctx, id);
}

int disk_plug(const char *name, const char *image, bool read_only,
	void (*on_id)(void *ctx, const char *id), void *ctx, char ret_id[16],
	struct postern_error *error)
{
	struct plugging plugging = {on_id, ctx};
	AUTO_FREE char *path = NULL;
	AUTO_JSON json_t *result = NULL;
	json_t *arguments;
	bool qcow2 = false;
	int r = disk_look(image, &path, &qcow2, error);

	if (r < 0)
		return r;
	arguments =
		json_pack("{s:s, s:b, s:b}", "path", path, "read_only", read_only, "qcow2", qcow2);
	if (!arguments)
		return fail(error, POSTERN_USAGE, EILSEQ, "the disk's path is not UTF-8");
	r = control_call_vm_progress(
		name, "disk-add", arguments, PLUG_MS, on_progress, &plugging, &result, error);
	if (r == 0)
		(void)snprintf(ret_id, 16, "%.15s", json_field_string(result, "id", ""));
	return r;
}

int postern_disk_plug(const char *name, const char *image, bool read_only, char ret_id[16],
	struct postern_error *error)
{
	return disk_plug(name, image, read_only, NULL, NULL, ret_id, error);
}

int postern_disk_unplug(const char *name, const char *id, struct postern_error *error)
{
	return control_call_vm(
		name, "disk-remove", json_pack("{s:s}", "id", id), UNPLUG_MS, NULL, error);
}

int disk_find_id(
	const char *name, const char *id_or_image, char ret_id[16], struct postern_error *error)
{
	AUTO_JSON json_t *status = NULL;
	AUTO_FREE char *path = realpath(id_or_image, NULL);
	const json_t *disk;
	size_t i;
	int r = control_call_vm(name, "status", NULL, CONTROL_MS, &status, error);

	if (r < 0)
		return r;
	json_array_foreach(json_object_get(status, "disks"), i, disk)
	{
		const char *id = json_field_string(disk, "id", "");

		if (strcmp(id, id_or_image) != 0 &&
			(!path || strcmp(json_field_string(disk, "path", ""), path) != 0))
			continue;
		(void)snprintf(ret_id, 16, "%.15s", id);
		return 0;
	}
	return fail(error, POSTERN_ANSWERED, ENOENT, "the VM %s has no such disk", name);
}
