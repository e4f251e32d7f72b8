/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/filesystem_set.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/methods/mount_entry.h"
#include "agent/methods/place.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

static struct filesystem describe(struct libmnt_fs *fs)
{
	return (struct filesystem){.device = mnt_fs_get_devno(fs),
		.target = mnt_fs_get_target(fs),
		.source = mnt_fs_get_source(fs),
		.type = mnt_fs_get_fstype(fs)};
}

static int read_table(struct call *call, struct filesystem_set *set)
{
	int r = set->table ? 0 : mount_table_own(&set->table);

	return r < 0 ? call_fail_errno(call, r, "the mount table") : 0;
}

static bool has_device(const struct filesystem_set *set, dev_t device)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->list[i].device == device)
			return true;
	return false;
}

static int add(struct call *call, struct filesystem_set *set, struct libmnt_fs *fs)
{
	if (has_device(set, mnt_fs_get_devno(fs)))
		return 0;
	if (set->n == FILESYSTEMS_MAX)
		return call_fail(call, POSTERN__V1__CODE__RESOURCE_EXHAUSTED, E2BIG,
			"more than %d file systems", FILESYSTEMS_MAX);
	set->list[set->n++] = describe(fs);
	return 0;
}

/* By what the table says, since a look at the device is a look into a file system. */
static bool is_writable_disk(struct libmnt_fs *fs)
{
	const char *source = mnt_fs_get_source(fs);

	return source && strncmp(source, "/dev/", 5) == 0 && mnt_fs_get_target(fs) &&
	       mnt_fs_match_options(fs, "rw") == 1;
}

int filesystem_set_all(struct call *call, struct filesystem_set *set)
{
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_BACKWARD);
	struct libmnt_fs *fs;
	int r = iter ? read_table(call, set) : -ENOMEM;

	while (r == 0 && mnt_table_next_fs(set->table, iter, &fs) == 0)
		if (is_writable_disk(fs))
			r = add(call, set, fs);
	mnt_free_iter(iter);
	return r;
}

int filesystem_set_named(
	struct call *call, const ProtobufCBinaryData *targets, size_t n, struct filesystem_set *set)
{
	int r = read_table(call, set);

	for (size_t i = 0; r == 0 && i < n; i++) {
		char *target = call_path(call, true, &targets[i], "targets");
		struct libmnt_fs *fs = target ? mount_table_find(set->table, target) : NULL;

		if (!target)
			return -EINVAL;
		if (!fs)
			return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, EINVAL,
				"%s is no mount point; mounts.list has them", target);
		r = add(call, set, fs);
	}
	return r;
}

const struct filesystem *filesystem_set_find(struct filesystem_set *set, dev_t device)
{
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_BACKWARD);
	static struct filesystem found;
	struct libmnt_fs *fs;

	found = (struct filesystem){0};
	while (iter && !found.target && mnt_table_next_fs(set->table, iter, &fs) == 0)
		if (mnt_fs_get_devno(fs) == device)
			found = describe(fs);
	mnt_free_iter(iter);
	return found.target ? &found : NULL;
}

void filesystem_set_clear(struct filesystem_set *set)
{
	mnt_unref_table(set->table);
	*set = (struct filesystem_set){0};
}

int filesystem_ioctl(struct call *call, const struct filesystem *fs, enum touch how,
	unsigned long command, void *arg)
{
	AUTO_CLOSE int fd = -EBADF;
	int r = filesystem_open(call, fs, how, &fd);

	if (r == 0 && ioctl(fd, command, arg) < 0)
		r = errno == ENOTTY ? -EOPNOTSUPP : -errno;
	worker_touch_done(call);
	return r;
}

int filesystem_open(struct call *call, const struct filesystem *fs, enum touch how, int *ret_fd)
{
	AUTO_CLOSE int place = -EBADF;
	int r;

	if (worker_is_quarantined(call, fs->device, how))
		return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, EHOSTDOWN,
			"%s takes no writes, and somebody waits for it already", fs->target);
	r = place_open(call, fs->target, PLACE_FOLDER, &place);
	if (r < 0)
		return r;
	worker_touch(call, fs->device, how);
	/* What was opened is the one that the table named, or another came over it. */
	*ret_fd = openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret_fd < 0 ? call_fail_errno(call, -errno, "%s", fs->target) : 0;
}

Postern__V1__Filesystem *filesystem_message(struct call *call, const struct filesystem *fs)
{
	Postern__V1__Filesystem *message = arena_alloc(call->arena, sizeof(*message));

	if (!message)
		return NULL;
	postern__v1__filesystem__init(message);
	message->has_target = message->has_source = message->has_major = message->has_minor = true;
	message->target = call_text(call, fs->target);
	message->source = call_text(call, fs->source);
	message->type = fs->type ? arena_strdup(call->arena, fs->type) : NULL;
	message->major = major(fs->device);
	message->minor = minor(fs->device);
	return message;
}

Postern__V1__FilesystemProblem *filesystem_problem(
	struct call *call, const Postern__V1__Filesystem *fs, int error)
{
	Postern__V1__FilesystemProblem *problem = arena_alloc(call->arena, sizeof(*problem));

	if (!problem)
		return NULL;
	postern__v1__filesystem_problem__init(problem);
	problem->filesystem = (Postern__V1__Filesystem *)fs;
	problem->has_sys_errno = true;
	problem->sys_errno = error;
	problem->message = arena_strdup(call->arena, strerror(error));
	return problem;
}
