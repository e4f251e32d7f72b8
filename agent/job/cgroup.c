/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/job/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "proto/cleanup.h"

#define ROOT         "/sys/fs/cgroup"
#define FOLDER       ROOT "/postern"
#define REMOVE_TRIES 50
#define REMOVE_NS    10000000
#define PERIOD_US    100000 /* over which processor time is counted: the kernel's own default */

static int put(const char *folder, const char *file, const char *text)
{
	AUTO_CLOSE int fd = -EBADF;
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return -errno;
	return 0;
}

/* A controller is there for a group once both groups above it hand it down. */
static int enable(const char *controller)
{
	char text[32];
	int r;

	(void)snprintf(text, sizeof(text), "+%s", controller);
	r = put(ROOT, "cgroup.subtree_control", text);
	if (r == 0)
		r = put(FOLDER, "cgroup.subtree_control", text);
	return r == -ENOENT || r == -EINVAL ? -EOPNOTSUPP : r;
}

static int limit(const char *folder, const char *controller, const char *file, const char *text)
{
	int r = enable(controller);

	return r < 0 ? r : put(folder, file, text);
}

static int set_limits(const char *folder, const struct cgroup_limits *limits)
{
	char text[64];
	int r = 0;

	if (limits->memory_max > 0) {
		(void)snprintf(text, sizeof(text), "%" PRIu64, limits->memory_max);
		r = limit(folder, "memory", "memory.max", text);
	}
	if (r == 0 && limits->pids_max > 0) {
		(void)snprintf(text, sizeof(text), "%" PRIu32, limits->pids_max);
		r = limit(folder, "pids", "pids.max", text);
	}
	if (r == 0 && limits->cpu_percent > 0) {
		(void)snprintf(text, sizeof(text), "%" PRIu64 " %d",
			(uint64_t)limits->cpu_percent * (PERIOD_US / 100), PERIOD_US);
		r = limit(folder, "cpu", "cpu.max", text);
	}
	return r;
}

/* Groups that outlived their job's process, since something of the program did, and are empty now.
 */
static void sweep(void)
{
	DIR *folder = opendir(FOLDER);
	char path[320];

	for (struct dirent *entry; folder && (entry = readdir(folder));)
		if (strncmp(entry->d_name, "job-", 4) == 0) {
			(void)snprintf(path, sizeof(path), FOLDER "/%s", entry->d_name);
			(void)rmdir(path);
		}
	if (folder)
		(void)closedir(folder);
}

static void path_of(uint64_t number, char *path, size_t size)
{
	(void)snprintf(path, size, FOLDER "/job-%" PRIu64 "-%d", number, getpid());
}

int cgroup_make(uint64_t number, const struct cgroup_limits *limits, int *ret_procs, int *ret_kill)
{
	char path[128], file[160];
	struct statfs fs;
	int r;

	if (statfs(ROOT, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
		return -EOPNOTSUPP;
	path_of(number, path, sizeof(path));
	if (mkdir(FOLDER, 0755) < 0 && errno != EEXIST)
		return -errno;
	sweep();
	if (mkdir(path, 0755) < 0)
		return -errno;
	r = set_limits(path, limits);
	if (r == 0) {
		(void)snprintf(file, sizeof(file), "%s/cgroup.procs", path);
		*ret_procs = open(file, O_WRONLY | O_CLOEXEC);
		r = *ret_procs < 0 ? -errno : 0;
	}
	if (r < 0) {
		cgroup_remove(number);
		return r;
	}
	(void)snprintf(file, sizeof(file), "%s/cgroup.kill", path);
	*ret_kill = open(file, O_WRONLY | O_CLOEXEC);
	return 0;
}

void cgroup_remove(uint64_t number)
{
	char path[128];

	path_of(number, path, sizeof(path));
	/* Who was killed a moment ago is still on the way out. */
	for (int i = 0; i < REMOVE_TRIES && rmdir(path) < 0 && errno == EBUSY; i++)
		(void)nanosleep(&(struct timespec){.tv_nsec = REMOVE_NS}, NULL);
}
