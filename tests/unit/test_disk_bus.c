/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a disk is, by its path in sysfs. */
/* needs: agent/methods/worker/disk_bus.c agent/methods/call.c */
/* libs: mount */
#include "tests/unit/unit.h"

#include "agent/methods/disk_table.h"
#include "proto/cleanup.h"

#define PCI "../../devices/pci0000:00/0000:00:02.3/0000:05:00.0/"

UNIT(a_disk_without_a_name_is_told_by_its_place)
{
	static const struct {
		const char *link, *bus, *place;
	} disks[] = {
		{PCI "virtio4/block/vda", "virtio", "pci-0000:05:00.0"},
		{PCI "usb2/2-1/2-1.4/2-1.4:1.0/host6/target6:0:0/6:0:0:0/block/sdf", "usb",
			"pci-0000:05:00.0-usb-2-1.4"},
		{PCI "usb2/2-3/2-3:1.0/host7/target7:0:0/7:0:0:1/block/sdg", "usb",
			"pci-0000:05:00.0-usb-2-3"},
		{PCI "ata5/host4/target4:0:0/4:0:0:0/block/sda", "ata", "pci-0000:05:00.0-ata5"},
		{PCI "virtio1/host2/target2:0:3/2:0:3:1/block/sdb", "scsi",
			"pci-0000:05:00.0-scsi-0:3:1"},
		{PCI "nvme/nvme0/nvme0n1", "nvme", "pci-0000:05:00.0"},
		{"../../devices/virtual/nvme-subsystem/nvme-subsys1/nvme1n1", "nvme", NULL},
		{"../../devices/virtual/block/dm-0", "dm", NULL},
		{"../../devices/pseudo_0/adapter0/host8/target8:0:0/8:0:0:0/block/sdi", "scsi",
			NULL},
	};
	struct call call = {0};
	struct arena arena;

	arena_init(&arena, 1 << 20);
	call.arena = &arena;
	for (size_t i = 0; i < ARRAY_SIZE(disks); i++) {
		Postern__V1__Disk disk = POSTERN__V1__DISK__INIT;
		char *place;

		arena_reset(&arena);
		assert_int_equal(disk_describe_bus(&call, -1, disks[i].link, &disk), 0);
		assert_string_equal((const char *)disk.bus.data, disks[i].bus);
		place = disk_place_name(&call, disks[i].link, &disk);
		if (disks[i].place)
			assert_string_equal(place, disks[i].place);
		else
			assert_null(place);
	}
	arena_done(&arena);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		RUN(a_disk_without_a_name_is_told_by_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
