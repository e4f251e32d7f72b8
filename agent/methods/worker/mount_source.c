/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/mount_source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "agent/methods/disk_serial.h"
#include "agent/methods/place.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/openat2.h"

#define TAG_MAX    36 /* virtio 1.2, 5.11.4: the tag of a file system device */
#define TAG_9P_MAX 127
#define SERIAL_MAX 255
#define RETRY_NS   20000000

static int check_tag(struct call *call, const struct fs_type *type, const char *tag)
{
	size_t most = strcmp(type->name, "virtiofs") == 0 ? TAG_MAX : TAG_9P_MAX;

	if (strlen(tag) > most)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"source: a tag of %s has at most %zu bytes", type->name, most);
	for (const char *at = tag; *at; at++)
		if (*at <= ' ' || *at == ',' || *at == 0x7f)
			return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
				"source: a tag holds neither blanks nor commas");
	return 0;
}

int mount_source_check(
	struct call *call, bool has, const ProtobufCBinaryData *source, struct mount_wish *wish)
{
	if (wish->type->source == SOURCE_NONE) {
		if (has && source->len > 0)
			return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
				"source: %s has none", wish->type->name);
		return 0;
	}
	wish->source = wish->type->source == SOURCE_DEVICE
			       ? call_path(call, has, source, "source")
			       : call_string(call, has, source, PATH_MAX - 1, "source");
	if (!wish->source)
		return -EINVAL;
	if (wish->type->source == SOURCE_TAG)
		return check_tag(call, wish->type, wish->source);
	if (wish->type->source == SOURCE_DEVICE && strncmp(wish->source, "/dev/", 5) != 0)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"source: expected a block device below /dev");
	return 0;
}

int mount_source_check_serial(struct call *call, const ProtobufCBinaryData *serial,
	uint32_t partition, struct mount_wish *wish)
{
	if (wish->type->source != SOURCE_DEVICE)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"source_serial: %s is on no disk", wish->type->name);
	wish->serial = call_string(call, true, serial, SERIAL_MAX, "source_serial");
	wish->partition = partition;
	return wish->serial ? 0 : -EINVAL;
}

/*
 * The links of /dev/disk/by-* are followed, but never out of /dev, nor onto what is mounted in it:
 * a look-up elsewhere may hang, and here nothing is named to the broker before it.
 */
static int look_at_device(const char *source, dev_t *ret_device)
{
	AUTO_CLOSE int dev = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = -EBADF;
	struct stat st;

	if (dev < 0)
		return -errno;
	fd = path_open(dev, source + strlen("/dev/"), O_PATH, 0,
		RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_device = st.st_rdev;
	return S_ISBLK(st.st_mode) ? 0 : -ENOTBLK;
}

/* Told by the kernel, which at that moment has it ready: who asks every few milliseconds is late,
 * and in the way of what is done for it. */
static int wait_for_serial(struct call *call, struct mount_wish *wish)
{
	uint64_t until = monotonic_ns() + wish->wait_ms * NSEC_PER_MSEC;
	AUTO_CLOSE int told = wish->wait_ms ? disk_serial_listen() : -EBADF;
	char *node;
	int r;

	while ((r = disk_serial_find(call, wish->serial, wish->partition, &node)) == -ENODEV &&
		monotonic_ns() < until)
		disk_serial_wait(told, until);
	if (r == -ENODEV)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, 0,
			"there is no disk with the serial number %s%s%s", wish->serial,
			wish->partition ? ", or it has no such partition" : "",
			wish->wait_ms ? ", although it was waited for" : "");
	wish->source = node;
	return r;
}

int mount_source_wait(struct call *call, struct mount_wish *wish)
{
	uint64_t until = monotonic_ns() + wish->wait_ms * NSEC_PER_MSEC;
	dev_t device = 0;
	int r;

	if (wish->type->source != SOURCE_DEVICE)
		return 0;
	if (wish->serial)
		return wait_for_serial(call, wish);
	while ((r = look_at_device(wish->source, &device)) == -ENOENT && monotonic_ns() < until)
		(void)nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
	if (r == -ENOENT)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENOENT, "%s: no such device%s",
			wish->source,
			wish->wait_ms ? ", although it was waited for"
				      : "; wait_ms waits for one that is being plugged in");
	if (r == -EXDEV)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, EXDEV,
			"%s: leads out of /dev", wish->source);
	return r < 0 ? call_fail_errno(call, r, "%s", wish->source) : 0;
}

static int touch_device(struct call *call, const char *source)
{
	dev_t device = 0;
	int r = look_at_device(source, &device);

	if (r < 0)
		return call_fail_errno(call, r, "%s", source);
	if (worker_is_quarantined(call, device, TOUCH_WRITE))
		return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, EHOSTDOWN,
			"%s does not respond, and somebody hangs on it", source);
	worker_touch(call, device, TOUCH_WRITE);
	return 0;
}

static int touch_layer(struct call *call, const struct mount_map *map, const char *key,
	const char *path, size_t len)
{
	ProtobufCBinaryData bytes = {.data = (uint8_t *)path, .len = len};
	char *layer = call_path(call, true, &bytes, key);
	AUTO_CLOSE int fd = -EBADF;
	struct statfs fs;
	int r = layer ? place_open_in(call, map, layer, PLACE_FOLDER, &fd) : -EINVAL;

	if (r < 0)
		return r;
	return fstatfs(fd, &fs) < 0 ? call_fail_errno(call, -errno, "%s", layer) : 0;
}

/*
 * The paths of an overlay's option, with a colon between those of lowerdir, where a backslash takes
 * from the next character what it means (Documentation/filesystems/overlayfs.rst).
 */
static int touch_layers(
	struct call *call, const struct mount_map *map, const Postern__V1__MountOption *option)
{
	bool many = strcmp(option->key, "lowerdir") == 0;
	char *path = arena_alloc(call->arena, option->value.len + 1);
	size_t n = 0;
	int r = path ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < option->value.len; i++) {
		char c = (char)option->value.data[i];

		if (many && c == '\\' && i + 1 < option->value.len)
			path[n++] = (char)option->value.data[++i];
		else if (!many || c != ':')
			path[n++] = c;
		else if (n > 0) { /* two colons: layers of data alone follow */
			r = touch_layer(call, map, option->key, path, n);
			n = 0;
		}
	}
	return r < 0 ? r : touch_layer(call, map, option->key, path, n);
}

/*
 * A device whose host side died and that was then unplugged keeps the kernel from ever letting go
 * of a lock that each mount of the type takes (virtio_fs_remove(), Linux 6.1).
 */
static int touch_new(struct call *call, const struct fs_type *type)
{
	size_t n;
	dev_t place = DEVICE_OF_NEW(type - fs_types(&n));

	if (worker_is_quarantined(call, place, TOUCH_LOOK))
		return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, EHOSTDOWN,
			"%s: somebody hangs in the kernel who mounts such a file system; when the "
			"host's side of one has died, only a restart of the guest may help",
			type->name);
	worker_touch(call, place, TOUCH_LOOK);
	return 0;
}

/* The upper one last: when the overlay is made, that is written to. */
static int touch_overlay(struct call *call, const struct mount_wish *wish)
{
	static const char *const keys[] = {"lowerdir", "workdir", "upperdir"};
	struct mount_map map;
	int r = mount_map_own(&map);

	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		for (size_t j = 0; r == 0 && j < wish->n_options; j++)
			if (strcmp(wish->options[j]->key, keys[i]) == 0)
				r = touch_layers(call, &map, wish->options[j]);
	mount_map_done(&map);
	return r;
}

int mount_source_touch(struct call *call, const struct mount_wish *wish)
{
	/* Whatever hangs from here on, it is not the target. */
	worker_touch_done(call);
	if (wish->type->source == SOURCE_DEVICE)
		return touch_device(call, wish->source);
	if (wish->type->source == SOURCE_TAG)
		return touch_new(call, wish->type);
	return strcmp(wish->type->name, "overlay") == 0 ? touch_overlay(call, wish) : 0;
}
