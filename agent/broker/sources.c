/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/sources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/history.h"
#include "proto/cleanup.h"
#include "proto/log.h"

static int open_ro(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void open_kernel_files(struct sources *s)
{
	static const struct {
		const char *path;
		int session, watch; /* -1: not for them */
	} files[] = {
		{"/proc/loadavg", SESSION_FD_LOADAVG, WATCH_FD_LOADAVG},
		{"/proc/stat", SESSION_FD_STAT, WATCH_FD_STAT},
		{"/proc/meminfo", SESSION_FD_MEMINFO, WATCH_FD_MEMINFO},
		{"/proc/pressure/cpu", SESSION_FD_PSI_CPU, WATCH_FD_PSI_CPU},
		{"/proc/pressure/memory", SESSION_FD_PSI_MEMORY, WATCH_FD_PSI_MEMORY},
		{"/proc/pressure/io", SESSION_FD_PSI_IO, WATCH_FD_PSI_IO},
		{"/sys/kernel/uevent_seqnum", SESSION_FD_UEVENTS, -1},
		{"/proc/1/mountinfo", -1, WATCH_FD_MOUNTINFO},
		{"/proc/diskstats", SESSION_FD_DISKSTATS, WATCH_FD_DISKSTATS},
		{"/proc/1/net/dev", -1, WATCH_FD_NETDEV},
		{"/etc/os-release", SESSION_FD_OS_RELEASE, -1},
		{"/usr/lib/os-release", SESSION_FD_OS_RELEASE, -1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		/* Each its own open file: reading one must not move the other's place. */
		if (files[i].session >= 0 && s->session[files[i].session] < 0)
			s->session[files[i].session] = open_ro(files[i].path);
		if (files[i].watch >= 0)
			s->watch[files[i].watch] = open_ro(files[i].path);
	}
}

/* The watcher sets what it wants to be told of; older kernels let only CAP_SYS_RESOURCE open them.
 */
static void open_triggers(struct sources *s)
{
	for (int i = WATCH_FD_MEMORY_SOME; i <= WATCH_FD_MEMORY_FULL; i++)
		s->watch[i] = open("/proc/pressure/memory", O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

static bool history_fits(int fd, const struct history_head *want)
{
	struct history_head head;

	return pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
	       head.magic == want->magic && head.interval_s == want->interval_s &&
	       head.capacity == want->capacity;
}

/* Copies the file that an earlier boot left. */
static void history_restore(const struct broker *broker, int fd, const struct history_head *want)
{
	char path[512], chunk[8192];
	AUTO_CLOSE int saved = -EBADF;
	off_t at = 0;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%s/load", broker->config.state_dir);
	saved = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (saved < 0 || !history_fits(saved, want))
		return;
	while ((n = pread(saved, chunk, sizeof(chunk), at)) > 0 &&
		pwrite(fd, chunk, (size_t)n, at) == n)
		at += n;
}

static int open_history_file(struct broker *broker, const struct history_head *want)
{
	const struct config *config = &broker->config;
	AUTO_CLOSE int fd = -EBADF;
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/load", config->run_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (!history_fits(fd, want)) {
		if (ftruncate(fd, 0) < 0)
			return -errno;
		history_restore(broker, fd, want);
	}
	if (!history_fits(fd, want) &&
		(ftruncate(fd, 0) < 0 ||
			pwrite(fd, want, sizeof(*want), 0) != (ssize_t)sizeof(*want)))
		return errno ? -errno : -EIO;
	broker->sources.session[SESSION_FD_HISTORY] = open_ro(path);
	if (broker->sources.session[SESSION_FD_HISTORY] < 0)
		return -errno;
	broker->sources.watch[WATCH_FD_HISTORY] = take_fd(&fd);
	return 0;
}

/* A file in memory with a second, read-only descriptor. */
static int open_shared(const char *name, size_t size, int *ret_rw, int *ret_ro)
{
	AUTO_CLOSE int fd = memfd_create(name, MFD_CLOEXEC);
	char path[64];

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return -errno;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*ret_ro = open_ro(path);
	if (*ret_ro < 0)
		return -errno;
	*ret_rw = take_fd(&fd);
	return 0;
}

static int open_history(struct broker *broker)
{
	const struct config *config = &broker->config;
	struct sources *s = &broker->sources;
	struct history_head head = {.magic = HISTORY_MAGIC,
		.interval_s = config->sample_interval_s,
		.capacity = config->history_s / config->sample_interval_s};
	int r;

	if (head.capacity == 0)
		head.capacity = 1;
	r = open_history_file(broker, &head);
	if (r == 0)
		return 0;
	log_warning("%s/load: %s: the load history will not outlive this process", config->run_dir,
		strerror(-r));
	r = open_shared(
		"load", sizeof(head), &s->watch[WATCH_FD_HISTORY], &s->session[SESSION_FD_HISTORY]);
	if (r < 0)
		return r;
	return pwrite(s->watch[WATCH_FD_HISTORY], &head, sizeof(head), 0) == (ssize_t)sizeof(head)
		       ? 0
		       : -EIO;
}

/* Where the watcher keeps properties: without it they do not outlive the watcher. */
static void open_properties(struct broker *broker)
{
	int *fd = &broker->sources.watch[WATCH_FD_PROPERTIES];
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/properties", broker->config.run_dir);
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0)
		log_warning("%s: %s", path, strerror(errno));
}

int sources_open(struct broker *broker)
{
	struct sources *s = &broker->sources;
	int r;

	for (int i = 0; i < SESSION_FD_COUNT; i++)
		s->session[i] = -EBADF;
	for (int i = 0; i < WATCH_FD_COUNT; i++)
		s->watch[i] = -EBADF;
	open_kernel_files(s);
	open_triggers(s);
	open_properties(broker);
	r = open_history(broker);
	if (r < 0) {
		log_error("the load history: %s", strerror(-r));
		return r;
	}
	r = open_shared("rates", sizeof(struct rates), &s->watch[WATCH_FD_RATES],
		&s->session[SESSION_FD_RATES]);
	if (r == 0)
		r = open_shared(
			"quarantine", sizeof(struct quarantine), &s->quarantine, &s->quarantine_ro);
	if (r < 0)
		log_error("files in memory: %s", strerror(-r));
	return r;
}
