/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/disk_serial.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/methods/disk_table.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/copy/open.h"

#define BLOCK        "/sys/class/block"
#define SECTOR_SIZE  512
#define KERNEL_GROUP 1 /* of uevents; what udev makes of them is another's */
#define AGAIN_MS     100
#define UNTOLD_MS    20 /* where nobody tells */
#define LOOK_BYTES   (256u << 10)

int disk_serial_listen(void)
{
	const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP};
	AUTO_CLOSE int fd = socket(
		AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return take_fd(&fd);
}

/* "add@/devices/.../virtio3/block/vdb"; what it says of it is looked up. */
static bool tells_of_disk(int socket)
{
	char message[PATH_MAX];
	ssize_t n = recv(socket, message, sizeof(message) - 1, 0);

	if (n <= 0)
		return n < 0 && errno == ENOBUFS;
	message[n] = '\0';
	return strstr(message, "/block/") != NULL;
}

void disk_serial_wait(int socket, uint64_t until_ns)
{
	uint64_t most = monotonic_ns() + (socket < 0 ? UNTOLD_MS : AGAIN_MS) * NSEC_PER_MSEC;
	struct pollfd wait = {.fd = socket, .events = POLLIN};

	if (most > until_ns)
		most = until_ns;
	/* A poll() of a negative descriptor only sleeps. */
	while (poll(&wait, 1, ms_until(most)) > 0)
		if (tells_of_disk(socket))
			return;
}

/* "cciss!c0d0" is /dev/cciss/c0d0. */
static char *node_of(struct call *call, const char *name)
{
	char *node = arena_printf(call->arena, "/dev/%s", name);

	for (char *at = node; at && *at; at++)
		*at = *at == '!' ? '/' : *at;
	return node;
}

/* The folders of partitions are within that of their disk, and called as it. */
static bool find_partition(
	struct call *call, int disk, const char *name, uint32_t partition, char ret[NAME_MAX + 1])
{
	AUTO(dir_closep) DIR *dir = dir_open(disk);

	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		AUTO_CLOSE int part =
			strncmp(entry->d_name, name, strlen(name)) == 0
				? openat(disk, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
				: -EBADF;
		const char *number = part < 0 ? NULL : disk_attribute(call, part, "partition");

		if (!number || strtoul(number, NULL, 10) != partition)
			continue;
		(void)snprintf(ret, NAME_MAX + 1, "%s", entry->d_name);
		return true;
	}
	return false;
}

static bool is_it(struct call *call, int block, const char *name, const char *serial,
	uint32_t partition, char ret[NAME_MAX + 1])
{
	AUTO_CLOSE int disk = openat(block, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char link[PATH_MAX];
	ssize_t n = readlinkat(block, name, link, sizeof(link) - 1);
	const char *has;

	if (disk < 0 || n <= 0 || faccessat(disk, "partition", F_OK, 0) == 0)
		return false;
	link[n] = '\0';
	has = disk_serial(call, disk, strstr(link, "/usb") != NULL);
	if (!has || strcmp(has, serial) != 0)
		return false;
	(void)snprintf(ret, NAME_MAX + 1, "%s", name);
	return partition == 0 || find_partition(call, disk, name, partition, ret);
}

int disk_serial_find(struct call *call, const char *serial, uint32_t partition, char **ret_node)
{
	AUTO_CLOSE int block = open(BLOCK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(dir_closep) DIR *dir = block < 0 ? NULL : dir_open(block);
	char found[NAME_MAX + 1] = "";
	struct call scratch = *call;
	struct arena arena;

	/* Who waits looks again and again, and the call's own memory has an end. */
	arena_init(&arena, LOOK_BYTES);
	scratch.arena = &arena;
	for (struct dirent *entry; dir && found[0] == '\0' && (entry = readdir(dir));)
		if (entry->d_name[0] != '.' &&
			!is_it(&scratch, block, entry->d_name, serial, partition, found))
			found[0] = '\0';
	arena_done(&arena);
	if (found[0] == '\0')
		return -ENODEV;
	*ret_node = node_of(call, found);
	return *ret_node ? 0 : -ENOMEM;
}

uint64_t disk_serial_size(struct call *call, const char *node)
{
	char *path = arena_printf(call->arena, BLOCK "/%s", node + strlen("/dev/"));
	const char *sectors;

	for (char *at = path ? path + strlen(BLOCK "/") : NULL; at && *at; at++)
		*at = *at == '/' ? '!' : *at;
	sectors = path ? disk_attribute(call, AT_FDCWD, arena_printf(call->arena, "%s/size", path))
		       : NULL;
	return sectors ? strtoull(sectors, NULL, 10) * SECTOR_SIZE : 0;
}
