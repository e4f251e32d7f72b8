/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's disks, by /sys/class/block, the mount table, and what udev knows of them. Nothing is
 * asked of a disk itself, and no right is needed. */
#pragma once

#include <libmount/libmount.h>
#include <stddef.h>

#include "agent/methods/call.h"
#include "messages.h"

#define DISKS_MAX 1024

struct disk_memo;

/* All disks and partitions, by name, in the call's arena; with a memo (disk_facts.h) they hold as
 * long as what is in that. NULL: nothing is kept. mounts: borrowed. 0 or -errno through
 * call_fail(). */
int disk_table_read(struct call *call, struct disk_memo *memo, struct libmnt_table *mounts,
	Postern__V1__Disk ***ret, size_t *ret_n);

/* What a line of a file of sysfs says (dir borrowed), in the call's arena, without blanks around
 * it. NULL: there is none, or it is empty. */
char *disk_attribute(struct call *call, int dir, const char *name);

/* The serial number of the disk whose folder in /sys/class/block this is (borrowed), in the call's
 * arena. usb: it hangs on USB. NULL: it has none. */
char *disk_serial(struct call *call, int dir, bool usb);

/* What sysfs says of where a disk is: its bus, its place on it, serial number, names. link: the
 * target of its link in /sys/class/block; dir: that folder (borrowed). 0 or -ENOMEM. */
int disk_describe_bus(struct call *call, int dir, const char *link, Postern__V1__Disk *disk);

/* What tells a disk without a name of its own from others: where it is on the PCI bus, and behind
 * the controller there ("pci-0000:00:04.0-usb-1-2"). NULL: it is not there, or no memory. */
char *disk_place_name(struct call *call, const char *link, const Postern__V1__Disk *disk);
