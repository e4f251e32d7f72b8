/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kernel uevents: "ACTION@PATH", then KEY=VALUE strings, each ended by NUL. */
#include <errno.h>
#include <linux/netlink.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent/watch/watch.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#define KERNEL_GROUP 1
#define BUFFER_SIZE  (512 << 10)

/* Only what a host plugs and unplugs. */
static bool is_wanted(const char *subsystem)
{
	static const char *const wanted[] = {"block", "virtio", "net"};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (strcmp(subsystem, wanted[i]) == 0)
			return true;
	return false;
}

ProtobufCBinaryData uevents_text(char *text, protobuf_c_boolean *ret_has)
{
	*ret_has = true;
	return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
}

void uevents_take_pair(char *pair, Postern__V1__Device *device, const char **action)
{
	char *value = strchr(pair, '=');

	if (!value)
		return;
	*value++ = '\0';
	if (strcmp(pair, "ACTION") == 0)
		*action = value;
	else if (strcmp(pair, "SUBSYSTEM") == 0)
		device->subsystem = uevents_text(value, &device->has_subsystem);
	else if (strcmp(pair, "DEVPATH") == 0)
		device->path = uevents_text(value, &device->has_path);
	else if (strcmp(pair, "DEVNAME") == 0)
		device->node = uevents_text(value, &device->has_node);
	else if (strcmp(pair, "DEVTYPE") == 0)
		device->type = uevents_text(value, &device->has_type);
	else if (strcmp(pair, "DRIVER") == 0)
		device->driver = uevents_text(value, &device->has_driver);
	else if (strcmp(pair, "MAJOR") == 0 || strcmp(pair, "MINOR") == 0) {
		device->has_major = device->has_minor = true;
		*(pair[1] == 'A' ? &device->major : &device->minor) =
			(uint32_t)strtoul(value, NULL, 10);
	}
}

/* A disk of a whole, under the name that disks.list_disks has for it. */
static void tell_disk(struct watch *watch, const Postern__V1__Device *device, bool there)
{
	Postern__V1__NotifyDisksState told = POSTERN__V1__NOTIFY_DISKS_STATE__INIT;

	if (!device->has_node || !device->has_type ||
		strcmp((char *)device->subsystem.data, "block") != 0 ||
		strcmp((char *)device->type.data, "disk") != 0)
		return;
	told.has_disk = told.has_state = true;
	told.disk = device->node;
	told.state = there ? POSTERN__V1__DISK_STATE__DISK_CONNECTED
			   : POSTERN__V1__DISK_STATE__DISK_DISCONNECTED;
	ring_add_message(watch, TOPIC_disks_state, &told.base, NULL);
}

static void tell(struct watch *watch, Postern__V1__Device *device, const char *action)
{
	Postern__V1__NotifyDevicesAdded added = POSTERN__V1__NOTIFY_DEVICES_ADDED__INIT;
	Postern__V1__NotifyDevicesRemoved removed = POSTERN__V1__NOTIFY_DEVICES_REMOVED__INIT;

	added.device = removed.device = device;
	if (strcmp(action, "add") == 0) {
		ring_add_message(watch, TOPIC_devices_added, &added.base, NULL);
		tell_disk(watch, device, true);
	} else if (strcmp(action, "remove") == 0) {
		ring_add_message(watch, TOPIC_devices_removed, &removed.base, NULL);
		tell_disk(watch, device, false);
	}
}

static void take_event(struct watch *watch, char *message, size_t len)
{
	Postern__V1__Device device = POSTERN__V1__DEVICE__INIT;
	const char *action = NULL;

	/* nl_recv() leaves room for no NUL of ours: the last string must bring its own. */
	if (len == 0 || message[len - 1] != '\0' || !memchr(message, '@', len))
		return;
	for (char *at = message; at < message + len; at += strlen(at) + 1)
		uevents_take_pair(at, &device, &action);
	if (action && device.has_subsystem && is_wanted((char *)device.subsystem.data))
		tell(watch, &device, action);
}

static void on_uevent(struct loop_io *io, uint32_t events)
{
	struct watch *watch = container_of(io, struct watch, uevents_io);
	struct sockaddr_nl from = {0};
	unsigned char *message = NULL;
	int n;

	(void)events;
	n = nl_recv(watch->uevents, &from, &message, NULL);
	/* Only the kernel's own: another process can send to the group too. */
	if (n > 0 && from.nl_pid == 0 && from.nl_groups == KERNEL_GROUP)
		take_event(watch, (char *)message, (size_t)n);
	else if (n == -NLE_NOMEM)
		/* The kernel dropped some (ENOBUFS). */
		ring_add_gap(watch, TOPIC_BIT(devices_added) | TOPIC_BIT(devices_removed) |
					    TOPIC_BIT(disks_state));
	free(message);
}

int uevents_start(struct watch *watch)
{
	int r;

	watch->uevents = nl_socket_alloc();
	if (!watch->uevents)
		return -ENOMEM;
	nl_socket_disable_seq_check(watch->uevents);
	nl_join_groups(watch->uevents, KERNEL_GROUP);
	r = nl_connect(watch->uevents, NETLINK_KOBJECT_UEVENT);
	if (r < 0) {
		log_warning("kernel uevents: %s", nl_geterror(r));
		nl_socket_free(watch->uevents);
		watch->uevents = NULL;
		return -EPROTO;
	}
	(void)nl_socket_set_buffer_size(watch->uevents, BUFFER_SIZE, 0);
	(void)nl_socket_set_nonblocking(watch->uevents);
	watch->uevents_io.fn = on_uevent;
	return loop_io_add(
		&watch->loop, &watch->uevents_io, nl_socket_get_fd(watch->uevents), EPOLLIN);
}
