/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent/methods/mount_entry.h"
#include "agent/watch/watch.h"
#include "proto/clock.h"
#include "proto/log.h"

#define ENTRY_ARENA_MAX (256u << 10)
#define RETRY_NS        (250 * NSEC_PER_MSEC)

/* What is mounted of a disk, under the name that disks.list_disks has for it. */
static void tell_disk(struct watch *watch, struct libmnt_fs *fs, bool mounted)
{
	Postern__V1__NotifyDisksState told = POSTERN__V1__NOTIFY_DISKS_STATE__INIT;
	const char *source = mnt_fs_get_source(fs), *target = mnt_fs_get_target(fs);

	if (!source || !target || strncmp(source, "/dev/", 5) != 0)
		return;
	told.has_state = true;
	told.disk = uevents_text((char *)source + 5, &told.has_disk);
	told.mounted_at = uevents_text((char *)target, &told.has_mounted_at);
	told.state = mounted ? POSTERN__V1__DISK_STATE__DISK_MOUNTED
			     : POSTERN__V1__DISK_STATE__DISK_UNMOUNTED;
	ring_add_message(watch, TOPIC_disks_state, &told.base, NULL);
}

static void tell(struct watch *watch, struct libmnt_fs *fs, bool mounted)
{
	Postern__V1__NotifyMountsMount mount = POSTERN__V1__NOTIFY_MOUNTS_MOUNT__INIT;
	Postern__V1__NotifyMountsUnmount unmount = POSTERN__V1__NOTIFY_MOUNTS_UNMOUNT__INIT;
	struct arena arena;

	arena_init(&arena, ENTRY_ARENA_MAX);
	mount.mount = unmount.mount = mount_entry_new(&arena, fs);
	if (mount.mount && mounted)
		ring_add_message(watch, TOPIC_mounts_mount, &mount.base, NULL);
	else if (mount.mount)
		ring_add_message(watch, TOPIC_mounts_unmount, &unmount.base, NULL);
	else
		ring_add_gap(watch, TOPIC_BIT(mounts_mount) | TOPIC_BIT(mounts_unmount) |
					    TOPIC_BIT(disks_state));
	arena_done(&arena);
	tell_disk(watch, fs, mounted);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* The same mount with nothing about it changed. Ids are used again, so the id alone says little. */
static bool same_mount(struct libmnt_fs *a, struct libmnt_fs *b)
{
	return mnt_fs_get_id(a) == mnt_fs_get_id(b) &&
	       mnt_fs_get_parent_id(a) == mnt_fs_get_parent_id(b) &&
	       mnt_fs_get_devno(a) == mnt_fs_get_devno(b) &&
	       same_text(mnt_fs_get_root(a), mnt_fs_get_root(b)) &&
	       same_text(mnt_fs_get_target(a), mnt_fs_get_target(b)) &&
	       same_text(mnt_fs_get_source(a), mnt_fs_get_source(b)) &&
	       same_text(mnt_fs_get_fstype(a), mnt_fs_get_fstype(b)) &&
	       same_text(mnt_fs_get_options(a), mnt_fs_get_options(b)) &&
	       same_text(mnt_fs_get_optional_fields(a), mnt_fs_get_optional_fields(b));
}

static int by_id(const void *a, const void *b)
{
	int one = mnt_fs_get_id(*(struct libmnt_fs *const *)a);
	int two = mnt_fs_get_id(*(struct libmnt_fs *const *)b);

	return (one > two) - (one < two);
}

/* The table's mounts in the order of their ids; the caller frees. NULL: no memory. */
static struct libmnt_fs **sorted(struct libmnt_table *table, size_t *ret_n)
{
	size_t n = (size_t)mnt_table_get_nents(table);
	struct libmnt_fs **all = calloc(n + 1, sizeof(struct libmnt_fs *));
	struct libmnt_iter *iter = all ? mnt_new_iter(MNT_ITER_FORWARD) : NULL;

	*ret_n = 0;
	if (!iter) {
		free(all);
		return NULL;
	}
	while (*ret_n < n && mnt_table_next_fs(table, iter, &all[*ret_n]) == 0)
		++*ret_n;
	mnt_free_iter(iter);
	qsort(all, *ret_n, sizeof(struct libmnt_fs *), by_id);
	return all;
}

/* Tells of every mount of one list that the other does not have. */
static void tell_missing(struct watch *watch, struct libmnt_fs **list, size_t n,
	struct libmnt_fs **other, size_t other_n, bool mounted)
{
	for (size_t i = 0; i < n; i++) {
		/* What lies upon others comes last when it appears, first when it goes. */
		struct libmnt_fs *fs = mounted ? list[i] : list[n - 1 - i];
		struct libmnt_fs **twin =
			bsearch(&fs, other, other_n, sizeof(struct libmnt_fs *), by_id);

		if (!twin || !same_mount(fs, *twin))
			tell(watch, fs, mounted);
	}
}

/* Tells all of what has changed, or, without memory (-ENOMEM), nothing. */
static int compare(struct watch *watch, struct libmnt_table *now)
{
	size_t old_n, new_n;
	struct libmnt_fs **old = sorted(watch->mounts, &old_n);
	struct libmnt_fs **new = sorted(now, &new_n);
	int r = old && new ? 0 : -ENOMEM;

	if (r == 0) {
		tell_missing(watch, old, old_n, new, new_n, false);
		tell_missing(watch, new, new_n, old, old_n, true);
	}
	free(old);
	free(new);
	return r;
}

/* The kernel tells of a change once: what could not be read is looked at again, against the table
 * as it was last told. */
static void look(struct watch *watch)
{
	struct libmnt_table *now = NULL;
	int r = mount_table_read(watch->fds[WATCH_FD_MOUNTINFO], &now);

	if (r == 0)
		r = compare(watch, now);
	if (r < 0) {
		if (!watch->mounts_late)
			log_warning("the mount table cannot be read: %s", strerror(-r));
		watch->mounts_late = true;
		mnt_unref_table(now);
		loop_timer_set(&watch->loop, &watch->mounts_retry, monotonic_ns() + RETRY_NS);
		return;
	}
	watch->mounts_late = false;
	loop_timer_del(&watch->mounts_retry);
	mnt_unref_table(watch->mounts);
	watch->mounts = now;
}

static void on_mountinfo(struct loop_io *io, uint32_t events)
{
	(void)events;
	look(container_of(io, struct watch, mounts_io));
}

static void on_retry(struct loop_timer *timer)
{
	look(container_of(timer, struct watch, mounts_retry));
}

int mounts_start(struct watch *watch)
{
	int fd = watch->fds[WATCH_FD_MOUNTINFO];
	int r = fd < 0 ? -EBADF : mount_table_read(fd, &watch->mounts);

	if (r < 0)
		return r;
	watch->mounts_io.fn = on_mountinfo;
	watch->mounts_retry.fn = on_retry;
	/* The kernel raises POLLPRI and POLLERR when the table changes (proc_pid_mountinfo(5)). */
	return loop_io_add(&watch->loop, &watch->mounts_io, fd, EPOLLPRI);
}

void mounts_snapshot(struct watch *watch, struct snapshot *snapshot)
{
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;

	while (iter && mnt_table_next_fs(watch->mounts, iter, &fs) == 0) {
		Postern__V1__NotifyMountsMount mount = POSTERN__V1__NOTIFY_MOUNTS_MOUNT__INIT;
		struct arena arena;

		arena_init(&arena, ENTRY_ARENA_MAX);
		mount.mount = mount_entry_new(&arena, fs);
		if (mount.mount)
			snapshot_add(snapshot, TOPIC_mounts_mount, &mount.base);
		arena_done(&arena);
	}
	mnt_free_iter(iter);
}
