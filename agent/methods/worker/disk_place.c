/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/disk_place.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "agent/methods/disk_probe.h"
#include "agent/methods/disk_table.h"
#include "agent/methods/mount_entry.h"

#define REPOSITORY "__repository__"
#define NAME_BYTES 1024

/* One search through what is mounted. */
struct search {
	struct call *call;
	const char *wanted;
	struct libmnt_table *mounts;
	Postern__V1__Disk **disks;
	size_t n_disks;
	const char *target; /* of the one that was found; borrowed */
	dev_t device;
	bool several;
};

static bool is(const char *wanted, bool has, const ProtobufCBinaryData *bytes)
{
	return has && bytes->len == strlen(wanted) && memcmp(bytes->data, wanted, bytes->len) == 0;
}

static bool is_called(const Postern__V1__Disk *disk, const char *wanted)
{
	const char *name = strncmp(wanted, "/dev/", 5) == 0 ? wanted + 5 : wanted;

	return is(wanted, disk->has_id, &disk->id) || is(name, disk->has_name, &disk->name) ||
	       is(wanted, disk->has_serial, &disk->serial) ||
	       is(wanted, disk->has_filesystem_label, &disk->filesystem_label) ||
	       is(wanted, disk->has_filesystem_uuid, &disk->filesystem_uuid) ||
	       is(wanted, disk->has_label, &disk->label);
}

static bool is_mounted_at(const Postern__V1__Disk *disk, const char *target)
{
	for (size_t i = 0; i < disk->n_mounted_at; i++)
		if (is(target, true, &disk->mounted_at[i]))
			return true;
	return false;
}

static bool is_mount_called(const struct search *search, struct libmnt_fs *fs, bool probe)
{
	const char *target = mnt_fs_get_target(fs), *source = mnt_fs_get_source(fs);
	const char *slash = strrchr(target, '/');

	if (probe)
		return source && disk_probe_is_called(search->call, source, search->wanted);
	if (strcmp(target, search->wanted) == 0 || strcmp(slash + 1, search->wanted) == 0 ||
		(source && strcmp(source, search->wanted) == 0))
		return true;
	for (size_t i = 0; i < search->n_disks; i++)
		if (is_called(search->disks[i], search->wanted) &&
			is_mounted_at(search->disks[i], target))
			return true;
	return false;
}

/* The last one that was mounted somewhere is the one that is seen there. */
static void look(struct search *search, bool probe)
{
	const char *folders = worker_facts(search->call)->disks_folders;
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_BACKWARD);
	struct libmnt_fs *fs;

	while (iter && mnt_table_next_fs(search->mounts, iter, &fs) == 0) {
		const char *target = mnt_fs_get_target(fs);

		if (!target || !file_place_root(search->call, folders, target) ||
			mount_table_find(search->mounts, target) != fs ||
			!is_mount_called(search, fs, probe))
			continue;
		search->several |= search->target && search->device != mnt_fs_get_devno(fs);
		search->target = target;
		search->device = mnt_fs_get_devno(fs);
	}
	mnt_free_iter(iter);
}

static int fail_search(const struct search *search)
{
	struct call *call = search->call;
	const char *folders = worker_facts(call)->disks_folders;

	if (search->several)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, ENOTUNIQ,
			"%s: several disks are called so; disks.list_disks has the id of each",
			search->wanted);
	for (size_t i = 0; i < search->n_disks; i++)
		if (is_called(search->disks[i], search->wanted))
			return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, 0,
				"%s: %s the folders of the guest's setting disks_folders: %s",
				search->wanted,
				search->disks[i]->n_mounted_at > 0 ? "is mounted below none of"
								   : "is not mounted below",
				folders);
	return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENODEV,
		"%s: no disk is called so; disks.list_disks has those that there are",
		search->wanted);
}

/* *ret_root: in the call's arena. */
static int find(struct call *call, const char *wanted, const char **ret_root)
{
	struct search search = {.call = call, .wanted = wanted};
	int r = mount_table_own(&search.mounts);

	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	r = disk_table_read(call, NULL, search.mounts, &search.disks, &search.n_disks);
	if (r == 0)
		look(&search, false);
	/* Where no udev looked at the disks, we do. */
	if (r == 0 && !search.target)
		look(&search, true);
	if (r == 0 && (!search.target || search.several))
		r = fail_search(&search);
	if (r == 0)
		*ret_root = arena_strdup(call->arena, search.target);
	mnt_unref_table(search.mounts);
	return r == 0 && !*ret_root ? -ENOMEM : r;
}

/* The same disk may be called so in two ways. */
static int choose(struct call *call, Postern__V1__Disk **disks, size_t n, const char *wanted,
	Postern__V1__Disk **ret)
{
	*ret = NULL;
	for (size_t i = 0; i < n; i++) {
		if (!is_called(disks[i], wanted))
			continue;
		if (*ret)
			return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, ENOTUNIQ,
				"%s: several disks are called so; disks.list_disks has the id of "
				"each",
				wanted);
		*ret = disks[i];
	}
	if (*ret)
		return 0;
	return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENODEV,
		"%s: no disk is called so; disks.list_disks has those that there are", wanted);
}

int disk_find(
	struct call *call, bool has_disk, const ProtobufCBinaryData *disk, Postern__V1__Disk **ret)
{
	char *wanted = call_string(call, has_disk, disk, NAME_BYTES, "disk");
	struct libmnt_table *mounts = NULL;
	Postern__V1__Disk **disks = NULL;
	size_t n = 0;
	int r;

	if (!wanted)
		return -EINVAL;
	r = mount_table_own(&mounts);
	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	r = disk_table_read(call, NULL, mounts, &disks, &n);
	mnt_unref_table(mounts);
	return r < 0 ? r : choose(call, disks, n, wanted, ret);
}

static int find_repository(struct call *call, const char **ret_root)
{
	const char *root = worker_facts(call)->disks_repository;

	if (root[0] == '\0')
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENODEV,
			REPOSITORY ": the guest's setting disks_repository names no folder");
	*ret_root = file_place_root(call, root, root);
	return *ret_root ? 0 : -EINVAL;
}

int disk_place_open(struct call *call, bool has_disk, const ProtobufCBinaryData *disk,
	bool has_path, const ProtobufCBinaryData *path, enum touch how, struct file_place *place)
{
	char *wanted = call_string(call, has_disk, disk, NAME_BYTES, "disk"), *below;
	const ProtobufCBinaryData *given = has_path && path->len > 0 ? path : NULL;
	ProtobufCBinaryData absolute;
	const char *root = NULL;
	int r;

	if (!wanted)
		return -EINVAL;
	/* It may begin with a slash, or not. */
	below = arena_printf(call->arena, "/%.*s", given ? (int)given->len : 0,
		given ? (const char *)given->data : "");
	if (!below)
		return -ENOMEM;
	absolute =
		(ProtobufCBinaryData){.len = given ? given->len + 1 : 1, .data = (uint8_t *)below};
	if (given && memchr(given->data, '\0', given->len))
		absolute = *given; /* for call_path() to refuse */
	below = call_path(call, true, &absolute, "path");
	if (!below)
		return -EINVAL;
	r = strcmp(wanted, REPOSITORY) == 0 ? find_repository(call, &root)
					    : find(call, wanted, &root);
	return r < 0 ? r : file_place_open_below(call, root, below, 0, how, place);
}
