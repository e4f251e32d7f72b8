/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/filesystem_grow.h"

#include <errno.h>
#include <linux/btrfs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include "proto/cleanup.h"

/* fs/ext4/ext4.h; in a header for programs since Linux 5.19 only. */
#define EXT4_RESIZE _IOW('f', 16, uint64_t)

/* fs/xfs/libxfs/xfs_fs.h: xfs_fsop_geom_v1 and xfs_growfs_data, which no header of the kernel's for
 * programs has. */
struct xfs_geometry {
	uint32_t block_size, rt_extent, ag_blocks, ag_count, log_blocks, sector, inode;
	uint32_t inodes_percent;
	uint64_t blocks, rt_blocks, rt_extents, log_start;
	uint8_t uuid[16];
	uint32_t stripe_unit, stripe_width;
	int32_t version;
	uint32_t flags, log_sector, rt_sector, dir_block;
};

struct xfs_grow {
	uint64_t blocks;
	uint32_t inodes_percent;
};

#define XFS_GEOMETRY _IOR('X', 100, struct xfs_geometry)
#define XFS_GROW     _IOW('X', 110, struct xfs_grow)

_Static_assert(sizeof(struct xfs_geometry) == 112 && sizeof(struct xfs_grow) == 16, "xfs_fs.h");

static int grow_ext4(int fd, uint64_t bytes)
{
	struct statfs st;
	uint64_t blocks;

	if (fstatfs(fd, &st) < 0)
		return -errno;
	blocks = bytes / (uint64_t)st.f_bsize;
	return ioctl(fd, EXT4_RESIZE, &blocks) < 0 ? -errno : 0;
}

static int grow_xfs(int fd, uint64_t bytes)
{
	struct xfs_geometry geometry;
	struct xfs_grow grow;

	if (ioctl(fd, XFS_GEOMETRY, &geometry) < 0)
		return -errno;
	grow = (struct xfs_grow){bytes / geometry.block_size, geometry.inodes_percent};
	/* Nothing to be had is an error of its own, and asking for less one that harms nothing. */
	if (grow.blocks <= geometry.blocks)
		return 0;
	return ioctl(fd, XFS_GROW, &grow) < 0 ? -errno : 0;
}

static int grow_btrfs(int fd, uint64_t bytes)
{
	struct btrfs_ioctl_vol_args args = {.name = "max"};

	(void)bytes;
	return ioctl(fd, BTRFS_IOC_RESIZE, &args) < 0 ? -errno : 0;
}

static int size_of(int fd, uint64_t *ret)
{
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return -errno;
	*ret = (uint64_t)st.f_blocks * (uint64_t)st.f_bsize;
	return 0;
}

int filesystem_grow(struct call *call, const struct filesystem *fs, uint64_t device_bytes,
	uint64_t *ret_before, uint64_t *ret_after)
{
	static const struct {
		const char *type;
		int (*grow)(int fd, uint64_t bytes);
	} types[] = {{"ext4", grow_ext4}, {"xfs", grow_xfs}, {"btrfs", grow_btrfs}};
	AUTO_CLOSE int fd = -EBADF;
	size_t i = 0;
	int r;

	while (i < ARRAY_SIZE(types) && strcmp(fs->type, types[i].type) != 0)
		i++;
	if (i == ARRAY_SIZE(types))
		return call_fail(call, POSTERN__V1__CODE__UNIMPLEMENTED, EOPNOTSUPP,
			"%s: %s does not grow while it is mounted (ext4, xfs and btrfs do)",
			fs->target, fs->type);
	r = filesystem_open(call, fs, TOUCH_WRITE, &fd);
	if (r < 0)
		return r;
	r = size_of(fd, ret_before);
	r = r < 0 ? r : types[i].grow(fd, device_bytes);
	r = r < 0 ? r : size_of(fd, ret_after);
	return r < 0 ? call_fail_errno(call, r, "%s", fs->target) : 0;
}
