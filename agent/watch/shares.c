/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The shares that workers recorded in the run folder, a tmpfs: reading there never waits. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/methods/mount_entry.h"
#include "agent/watch/watch.h"
#include "proto/verify.h"

#define RECORD_MAX 65536

/* A record as it was written (agent/methods/share.h); NULL where it cannot be read. */
static Postern__V1__Share *read_record(struct arena *arena, int dir, const char *name)
{
	AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint8_t *bytes = arena_alloc(arena, RECORD_MAX);
	ssize_t n = fd < 0 || !bytes ? -1 : read(fd, bytes, RECORD_MAX);
	const char *why;

	if (n < 0)
		return NULL;
	return (Postern__V1__Share *)verify_unpack(&postern__v1__share__descriptor, bytes,
		(size_t)n, &verify_agent_limits, arena, &why);
}

static void add_if_mounted(
	struct snapshot *snapshot, struct libmnt_table *mounts, int dir, const char *name)
{
	Postern__V1__NotifySharesMount notify = POSTERN__V1__NOTIFY_SHARES_MOUNT__INIT;
	struct arena arena;
	char *target = NULL;

	arena_init(&arena, ARENA_REQUEST_MAX);
	notify.share = read_record(&arena, dir, name);
	if (notify.share)
		target = arena_copy(&arena, notify.share->target.data, notify.share->target.len);
	if (target && mount_table_find(mounts, target)) {
		notify.share->has_state = true;
		notify.share->state = POSTERN__V1__SHARE_STATE__SHARE_MOUNTED;
		snapshot_add(snapshot, TOPIC_shares_mount, &notify.base);
	}
	arena_done(&arena);
}

void shares_snapshot(struct watch *watch, struct snapshot *snapshot)
{
	char path[sizeof(watch->facts.run_dir) + 16];
	struct libmnt_table *mounts = NULL;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "%s/shares", watch->facts.run_dir);
	dir = opendir(path);
	/* As it is now, not as it was last told: a share's event may be ahead of its mount's. */
	if (dir && mount_table_read(watch->fds[WATCH_FD_MOUNTINFO], &mounts) == 0) {
		for (struct dirent *entry; (entry = readdir(dir));)
			if (entry->d_name[0] != '.')
				add_if_mounted(snapshot, mounts, dirfd(dir), entry->d_name);
		mnt_unref_table(mounts);
	}
	if (dir)
		(void)closedir(dir);
}
