/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a disk is, by its path in sysfs: "../../devices/pci0000:00/0000:00:04.0/virtio1/block/vda".
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/methods/disk_table.h"
#include "proto/cleanup.h"

#define ATTRIBUTE_MAX 512

static char *trimmed(struct call *call, char *text, size_t len)
{
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	while (len > 0 && isspace((unsigned char)*text)) {
		text++;
		len--;
	}
	return len > 0 ? arena_copy(call->arena, text, len) : NULL;
}

static ssize_t read_attribute(int dir, const char *name, char buffer[ATTRIBUTE_MAX])
{
	AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -1 : read(fd, buffer, ATTRIBUTE_MAX);
}

char *disk_attribute(struct call *call, int dir, const char *name)
{
	char buffer[ATTRIBUTE_MAX];
	ssize_t n = read_attribute(dir, name, buffer);

	return n > 0 ? trimmed(call, buffer, strnlen(buffer, (size_t)n)) : NULL;
}

/* The serial number of a SCSI disk: vital product data, page 0x80, has it behind four bytes. */
static char *scsi_serial(struct call *call, int dir)
{
	char buffer[ATTRIBUTE_MAX];
	ssize_t n = read_attribute(dir, "device/vpd_pg80", buffer);

	return n > 4 ? trimmed(call, buffer + 4, strnlen(buffer + 4, (size_t)n - 4)) : NULL;
}

char *disk_serial(struct call *call, int dir, bool usb)
{
	char *serial = disk_attribute(call, dir, "serial");

	if (!serial)
		serial = disk_attribute(call, dir, "device/serial");
	if (!serial)
		serial = scsi_serial(call, dir);
	/* Behind unit, target, host and interface. */
	if (!serial && usb)
		serial = disk_attribute(call, dir, "device/../../../../serial");
	return serial;
}

/* The part of a path that begins at `at`, as text. */
static bool next_part(const char **at, char part[64])
{
	size_t len;

	*at += strspn(*at, "/");
	len = strcspn(*at, "/");
	if (len == 0)
		return false;
	(void)snprintf(part, 64, "%.*s", (int)len, *at);
	*at += len;
	return true;
}

static bool is_numbered(const char *part, const char *word)
{
	size_t len = strlen(word);

	return strncmp(part, word, len) == 0 && part[len] != '\0' &&
	       part[len + strspn(part + len, "0123456789")] == '\0';
}

static void take_part(
	struct call *call, const char *part, const char **bus, Postern__V1__Disk *disk)
{
	static const struct {
		const char *word, *bus;
	} buses[] = {{"virtio", "virtio"}, {"host", "scsi"}, {"ata", "ata"}, {"usb", "usb"},
		{"nvme", "nvme"}, {"mmc", "mmc"}, {"vmbus_", "vmbus"}, {"vbd-", "xen"}};
	unsigned int a[4];
	int end = 0;

	if (sscanf(part, "%4x:%2x:%2x.%1x%n", &a[0], &a[1], &a[2], &a[3], &end) == 4 &&
		part[end] == '\0' && end >= (int)strlen("0000:00:00.0")) {
		disk->has_pci_address = true;
		disk->pci_address = call_text(call, part);
		return;
	}
	end = 0;
	if (sscanf(part, "%u:%u:%u:%u%n", &a[0], &a[1], &a[2], &a[3], &end) == 4 &&
		part[end] == '\0') {
		disk->scsi_address = arena_copy(call->arena, a, sizeof(a));
		disk->n_scsi_address = disk->scsi_address ? 4 : 0;
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(buses); i++)
		/* A stick on USB, or a disk on SATA, is one of SCSI too. */
		if (is_numbered(part, buses[i].word) &&
			!(*bus && (strcmp(*bus, "usb") == 0 || strcmp(*bus, "ata") == 0)))
			*bus = buses[i].bus;
}

/* "loop0" is of loop; what has no number is of itself. */
static char *family_of(struct call *call, const char *name)
{
	size_t len = strcspn(name, "0123456789-");

	return arena_copy(call->arena, name, len);
}

static void set(
	struct call *call, protobuf_c_boolean *has, ProtobufCBinaryData *field, const char *text)
{
	*has = text != NULL;
	if (text)
		*field = call_text(call, text);
}

int disk_describe_bus(struct call *call, int dir, const char *link, Postern__V1__Disk *disk)
{
	const char *bus = NULL, *name = strrchr(link, '/') + 1, *at = link;
	bool is_virtual = strstr(link, "/devices/virtual/") != NULL;
	char part[64], *serial;

	while (next_part(&at, part))
		take_part(call, part, &bus, disk);
	if (is_virtual || !bus)
		bus = family_of(call, name);
	if (!bus)
		return -ENOMEM;
	set(call, &disk->has_bus, &disk->bus, bus);
	serial = disk_serial(call, dir, strcmp(bus, "usb") == 0);
	set(call, &disk->has_serial, &disk->serial, serial);
	set(call, &disk->has_model, &disk->model, disk_attribute(call, dir, "device/model"));
	set(call, &disk->has_wwid, &disk->wwid,
		disk_attribute(call, dir, "wwid") ?: disk_attribute(call, dir, "device/wwid"));
	set(call, &disk->has_alias, &disk->alias,
		disk_attribute(call, dir, "dm/name")
			?: disk_attribute(call, dir, "loop/backing_file"));
	return 0;
}

/* "1-2.3": a device on USB, by the ports that lead to it. */
static bool is_usb_port(const char *part)
{
	size_t bus = strspn(part, "0123456789");

	return bus > 0 && part[bus] == '-' && part[bus + 1] != '\0' &&
	       part[bus + 1 + strspn(part + bus + 1, "0123456789.")] == '\0';
}

char *disk_place_name(struct call *call, const char *link, const Postern__V1__Disk *disk)
{
	const char *pci = (const char *)disk->pci_address.data, *at = link;
	char part[64], port[64] = "";

	if (!disk->has_pci_address)
		return NULL;
	while (next_part(&at, part))
		if (is_usb_port(part) || is_numbered(part, "ata"))
			memcpy(port, part, sizeof(port));
	if (is_usb_port(port))
		return arena_printf(call->arena, "pci-%s-usb-%s", pci, port);
	if (port[0] != '\0')
		return arena_printf(call->arena, "pci-%s-%s", pci, port);
	/* A host has another number at each boot. */
	if (disk->n_scsi_address == 4)
		return arena_printf(call->arena, "pci-%s-scsi-%u:%u:%u", pci, disk->scsi_address[1],
			disk->scsi_address[2], disk->scsi_address[3]);
	return arena_printf(call->arena, "pci-%s", pci);
}
