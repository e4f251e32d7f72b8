/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The devices that are there, by sysfs: its uevent files hold what the events of their coming said.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "agent/watch/watch.h"

#define UEVENT_MAX 4096

static const struct {
	const char *subsystem, *folder;
} places[] = {
	{"block", "/sys/class/block"},
	{"net", "/sys/class/net"},
	{"virtio", "/sys/bus/virtio/devices"},
};

/* "../../devices/pci0000:00/.../vda" is /devices/pci0000:00/.../vda below /sys. */
static char *path_of(int dir, const char *name, char text[PATH_MAX])
{
	ssize_t n = readlinkat(dir, name, text, PATH_MAX - 1);
	char *path;

	if (n < 0)
		return NULL;
	text[n] = '\0';
	path = strstr(text, "/devices/");
	return path;
}

static bool read_uevent(int dir, const char *name, char text[UEVENT_MAX])
{
	AUTO_CLOSE int device = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = device < 0 ? -EBADF : openat(device, "uevent", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, UEVENT_MAX - 1);

	text[n > 0 ? n : 0] = '\0';
	return n >= 0;
}

static void add(struct snapshot *snapshot, const char *subsystem, int dir, const char *name)
{
	Postern__V1__NotifyDevicesAdded added = POSTERN__V1__NOTIFY_DEVICES_ADDED__INIT;
	Postern__V1__Device device = POSTERN__V1__DEVICE__INIT;
	char text[UEVENT_MAX], link[PATH_MAX], *rest = NULL, *path = path_of(dir, name, link);
	const char *action = NULL;

	if (!path || !read_uevent(dir, name, text))
		return;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		uevents_take_pair(line, &device, &action);
	device.subsystem = uevents_text((char *)subsystem, &device.has_subsystem);
	device.path = uevents_text(path, &device.has_path);
	added.device = &device;
	snapshot_add(snapshot, TOPIC_devices_added, &added.base);
}

void devices_snapshot(struct snapshot *snapshot)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		DIR *dir = opendir(places[i].folder);

		for (struct dirent *entry; dir && (entry = readdir(dir));)
			if (entry->d_type == DT_LNK)
				add(snapshot, places[i].subsystem, dirfd(dir), entry->d_name);
		if (dir)
			(void)closedir(dir);
	}
}
