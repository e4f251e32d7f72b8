/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/sleep_mode.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/cleanup.h"

#define MODE(name) POSTERN__V1__SUSPEND_MODE__##name

#define STATE   "/sys/power/state"
#define DISK    "/sys/power/disk"
#define DRIVERS "/sys/bus/virtio/drivers"

/* One of the words of such a file, "[platform] shutdown reboot". */
static bool has_word(const char *path, const char *word)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[256], *rest = NULL;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		return false;
	text[n] = '\0';
	for (const char *at = strtok_r(text, " []\n", &rest); at;
		at = strtok_r(NULL, " []\n", &rest))
		if (strcmp(at, word) == 0)
			return true;
	return false;
}

bool sleep_mode_is_offered(Postern__V1__SuspendMode mode)
{
	if (mode == MODE(RAM))
		return has_word(STATE, "mem");
	return has_word(STATE, "disk") && (mode == MODE(DISK) || has_word(DISK, "suspend"));
}

static bool has_device(const char *driver)
{
	char path[sizeof(DRIVERS) + 32];
	const struct dirent *entry;
	bool found = false;
	DIR *dir;

	(void)snprintf(path, sizeof(path), DRIVERS "/%s", driver);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir)))
		found = strncmp(entry->d_name, "virtio", 6) == 0;
	if (dir)
		(void)closedir(dir);
	return found;
}

/* The freeze of fs/fuse/virtio_fs.c answers EOPNOTSUPP (Linux 6.12); net/9p/trans_virtio.c has
 * none, and what sleeps with a queue in use has lost it when it wakes. */
const char *sleep_blocking_driver(void)
{
	static const char *const drivers[] = {"virtiofs", "9pnet_virtio"};

	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (has_device(drivers[i]))
			return drivers[i];
	return NULL;
}

static int write_word(const char *path, const char *word)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, word, strlen(word)) < 0 ? -errno : 0;
}

int sleep_by_kernel(Postern__V1__SuspendMode mode)
{
	int r = 0;

	if (mode != MODE(RAM))
		r = write_word(DISK, mode == MODE(HYBRID) ? "suspend" : "platform");
	/* A machine without such a platform is switched off. */
	if (r == -EINVAL && mode == MODE(DISK))
		r = write_word(DISK, "shutdown");
	return r < 0 ? r : write_word(STATE, mode == MODE(RAM) ? "mem" : "disk");
}
