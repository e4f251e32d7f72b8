/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kmod-helpers/types.h"

#include <string.h>

static const struct fs_type types[] = {
	{"virtiofs", "virtiofs", SOURCE_TAG, true, false, true, "dax"},
	{"9p", "9pnet_virtio", SOURCE_TAG, true, false, true,
		"trans version msize cache access uname aname dfltuid dfltgid cachetag posixacl"},
	{"tmpfs", NULL, SOURCE_NONE, true, false, true,
		"size nr_blocks nr_inodes mode uid gid huge mpol inode32 inode64"},
	{"overlay", "overlay", SOURCE_NONE, true, false, true,
		"lowerdir upperdir workdir redirect_dir index metacopy nfs_export xino userxattr "
		"volatile"},
	{"nfs4", "nfsv4", SOURCE_REMOTE, true, false, false,
		"addr clientaddr proto port vers minorversion rsize wsize timeo retrans hard soft "
		"softerr sec acregmin acregmax acdirmin acdirmax actimeo ac noac cto nocto "
		"lookupcache nconnect sharecache nosharecache sloppy"},
	{"cifs", "cifs", SOURCE_REMOTE, true, true, false,
		"user username domain dom workgroup ip addr port vers sec uid gid forceuid "
		"forcegid file_mode dir_mode cache seal sign nobrl mfsymlinks rsize wsize "
		"actimeo acregmax acdirmax nocase noperm noserverino serverino soft hard "
		"echo_interval "
		"iocharset unc guest"},
	{"ceph", "ceph", SOURCE_REMOTE, true, true, false,
		"name fs mds_namespace mon_addr fsid rsize wsize rasize caps_max readdir_max_bytes "
		"recover_session ms_mode noshare dcache nodcache"},
	{"ext4", "ext4", SOURCE_DEVICE, false, false, false,
		"errors data commit noload norecovery barrier nobarrier discard nodiscard "
		"journal_checksum sb resgid resuid init_itable noinit_itable delalloc nodelalloc "
		"acl "
		"noacl user_xattr nouser_xattr"},
	{"xfs", "xfs", SOURCE_DEVICE, false, false, false,
		"norecovery nouuid discard nodiscard logbufs logbsize allocsize inode64 inode32 "
		"noquota "
		"largeio nolargeio"},
	{"btrfs", "btrfs", SOURCE_DEVICE, false, false, false,
		"subvol subvolid compress compress-force degraded discard nodiscard ssd nossd "
		"space_cache autodefrag commit nodatacow nodatasum"},
	{"vfat", "vfat", SOURCE_DEVICE, false, false, false,
		"uid gid umask fmask dmask codepage iocharset shortname utf8 flush quiet tz errors "
		"discard"},
	{"exfat", "exfat", SOURCE_DEVICE, false, false, false,
		"uid gid umask fmask dmask iocharset errors discard time_offset"},
	{"iso9660", "isofs", SOURCE_DEVICE, false, false, false,
		"uid gid mode dmode norock nojoliet iocharset utf8 block session sbsector"},
	{"squashfs", "squashfs", SOURCE_DEVICE, false, false, false, "errors threads"},
	{"erofs", "erofs", SOURCE_DEVICE, false, false, false, "user_xattr acl cache_strategy"},
};

const struct fs_type *fs_types(size_t *ret_n)
{
	*ret_n = sizeof(types) / sizeof(types[0]);
	return types;
}

const struct fs_type *fs_type_find(const char *name)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
	return NULL;
}

bool fs_type_takes(const struct fs_type *type, const char *key)
{
	size_t len = strlen(key);

	for (const char *at = type->options; len > 0 && *at; at += strspn(at, " ")) {
		size_t n = strcspn(at, " ");

		if (n == len && memcmp(at, key, n) == 0)
			return true;
		at += n;
	}
	return false;
}
