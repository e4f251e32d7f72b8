/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/job/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "proto/cleanup.h"

#define ROOT         "/sys/fs/cgroup"
#define LEAF         "/postern-agent" /* in a unit of our own, all of which is ours */
#define FOLDER_MAX   320
#define REMOVE_TRIES 50
#define REMOVE_NS    10000000
#define PERIOD_US    100000 /* over which processor time is counted: the kernel's own default */

/* The group below which the program's is, and whether one above it has to hand controllers down. */
static char folder[FOLDER_MAX];
static bool below_root;

static int put(const char *group, const char *file, const char *text)
{
	AUTO_CLOSE int fd = -EBADF;
	char path[FOLDER_MAX + 64];

	(void)snprintf(path, sizeof(path), "%s/%s", group, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return -errno;
	return 0;
}

/* A controller is there for a group once all groups above it hand it down. */
static int enable(const char *controller)
{
	char text[32];
	int r;

	(void)snprintf(text, sizeof(text), "+%s", controller);
	r = below_root ? put(ROOT, "cgroup.subtree_control", text) : 0;
	if (r == 0)
		r = put(folder, "cgroup.subtree_control", text);
	return r == -ENOENT || r == -EINVAL ? -EOPNOTSUPP : r;
}

static int limit(const char *group, const char *controller, const char *file, const char *text)
{
	int r = enable(controller);

	return r < 0 ? r : put(group, file, text);
}

static int set_limits(const char *group, const struct cgroup_limits *limits)
{
	char text[64];
	int r = 0;

	if (limits->memory_max > 0) {
		(void)snprintf(text, sizeof(text), "%" PRIu64, limits->memory_max);
		r = limit(group, "memory", "memory.max", text);
	}
	if (r == 0 && limits->pids_max > 0) {
		(void)snprintf(text, sizeof(text), "%" PRIu32, limits->pids_max);
		r = limit(group, "pids", "pids.max", text);
	}
	if (r == 0 && limits->cpu_percent > 0) {
		(void)snprintf(text, sizeof(text), "%" PRIu64 " %d",
			(uint64_t)limits->cpu_percent * (PERIOD_US / 100), PERIOD_US);
		r = limit(group, "cpu", "cpu.max", text);
	}
	return r;
}

/* Its process is gone: that is the number at its end. */
static bool is_left(const char *name)
{
	pid_t pid = (pid_t)strtol(strrchr(name, '-') + 1, NULL, 10);

	return pid > 0 && kill(pid, 0) < 0 && errno == ESRCH;
}

/* Groups that outlived their job's process, since something of the program did, and are empty now.
 */
static void sweep(void)
{
	DIR *dir = opendir(folder);

	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (strncmp(entry->d_name, "job-", 4) == 0 && is_left(entry->d_name))
			(void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
	if (dir)
		(void)closedir(dir);
}

static void path_of(uint64_t number, char *path, size_t size)
{
	(void)snprintf(path, size, "%s/job-%" PRIu64 "-%d", folder, number, getpid());
}

/* Our own group, as /proc has it. False where there is no cgroup v2. */
static bool own_group(char line[256])
{
	AUTO_FILE FILE *file = fopen("/proc/self/cgroup", "re");

	while (file && fgets(line, 256, file))
		if (strncmp(line, "0::/", 4) == 0) {
			line[strcspn(line, "\n")] = '\0';
			memmove(line, line + 3, strlen(line + 3) + 1);
			return true;
		}
	return false;
}

int cgroup_enter_leaf(void)
{
	char own[256], path[FOLDER_MAX + 16];

	if (!own_group(own))
		return -EOPNOTSUPP;
	(void)snprintf(path, sizeof(path), ROOT "%s" LEAF, own);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	return put(path, "cgroup.procs", "0");
}

/* Where groups are made: in our own unit, else in a folder beside those of others. */
static int find_folder(void)
{
	char own[256];
	size_t len = own_group(own) ? strlen(own) : 0;

	if (len > strlen(LEAF) && strcmp(own + len - strlen(LEAF), LEAF) == 0) {
		own[len - strlen(LEAF)] = '\0';
		(void)snprintf(folder, sizeof(folder), ROOT "%s", own);
		return 0;
	}
	below_root = true;
	(void)snprintf(folder, sizeof(folder), ROOT "/postern");
	return mkdir(folder, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

int cgroup_make(uint64_t number, const struct cgroup_limits *limits, int *ret_procs, int *ret_kill)
{
	char path[FOLDER_MAX + 64], file[FOLDER_MAX + 96];
	struct statfs fs;
	int r;

	if (statfs(ROOT, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
		return -EOPNOTSUPP;
	r = find_folder();
	if (r < 0)
		return r;
	sweep();
	path_of(number, path, sizeof(path));
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
	char path[FOLDER_MAX + 64];

	path_of(number, path, sizeof(path));
	/* Who was killed a moment ago is still on the way out. */
	for (int i = 0; i < REMOVE_TRIES && rmdir(path) < 0 && errno == EBUSY; i++)
		(void)nanosleep(&(struct timespec){.tv_nsec = REMOVE_NS}, NULL);
}
