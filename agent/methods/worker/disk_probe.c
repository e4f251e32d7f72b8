/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/disk_probe.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/methods/library.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/openat2.h"

/* Of libblkid: libmount, which we have, comes with it. */
static void *(*new_probe)(void);
static int (*set_device)(void *probe, int fd, int64_t offset, int64_t size);
static int (*do_probe)(void *probe);
static int (*look_up)(void *probe, const char *name, const char **data, size_t *len);
static void (*free_probe)(void *probe);

static bool load(void)
{
	static const struct library_symbol symbols[] = {{"blkid_new_probe", &new_probe},
		{"blkid_probe_set_device", &set_device}, {"blkid_do_safeprobe", &do_probe},
		{"blkid_probe_lookup_value", &look_up}, {"blkid_free_probe", &free_probe}};

	return library_load("libblkid.so.1", symbols, ARRAY_SIZE(symbols)) == 0;
}

/* A block device, and below /dev: nothing else is opened. */
static int open_device(struct call *call, const char *node)
{
	AUTO_CLOSE int dev = -EBADF, at = -EBADF;
	struct stat st;

	if (strncmp(node, "/dev/", 5) != 0)
		return -ENOTBLK;
	dev = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
	at = dev < 0 ? -errno
		     : path_open(dev, node + 5, O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
	if (at < 0 || fstat(at, &st) < 0 || !S_ISBLK(st.st_mode))
		return -ENOTBLK;
	if (worker_is_quarantined(call, st.st_rdev, TOUCH_LOOK))
		return -EHOSTDOWN;
	return path_open(dev, node + 5, O_RDONLY | O_NONBLOCK, 0,
		RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
}

static bool has_value(void *probe, const char *name, const char *wanted)
{
	const char *value = NULL;

	return look_up(probe, name, &value, NULL) == 0 && value && strcmp(value, wanted) == 0;
}

bool disk_probe_is_called(struct call *call, const char *node, const char *wanted)
{
	AUTO_CLOSE int fd = open_device(call, node);
	void *probe = fd >= 0 && load() ? new_probe() : NULL;
	bool called;

	if (!probe)
		return false;
	called = set_device(probe, fd, 0, 0) == 0 && do_probe(probe) == 0 &&
		 (has_value(probe, "LABEL", wanted) || has_value(probe, "UUID", wanted));
	free_probe(probe);
	return called;
}
