/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kmod-helpers/types.h"

#include <string.h>

static const struct fs_type types[] = {
	{.name = "virtiofs",
		.modules = {"virtiofs"},
		.source = SOURCE_TAG,
		.share = true,
		.unit = true,
		.options = "dax"},
	{.name = "9p",
		.modules = {"9pnet_virtio", "9p"},
		.source = SOURCE_TAG,
		.share = true,
		.unit = true,
		/* By tag alone: its other transports would reach addresses and descriptors. */
		.always = "trans=virtio",
		.options = "version msize cache access uname aname dfltuid dfltgid cachetag "
			   "posixacl"},
	{.name = "tmpfs",
		.source = SOURCE_NONE,
		.share = true,
		.unit = true,
		.options = "size nr_blocks nr_inodes mode uid gid huge mpol inode32 inode64"},
	{.name = "overlay",
		.modules = {"overlay"},
		.source = SOURCE_NONE,
		.share = true,
		.unit = true,
		.options = "lowerdir upperdir workdir redirect_dir index metacopy nfs_export xino "
			   "userxattr volatile"},
	/* Without "sloppy", which would take any option, and "minorversion", which vers= has. */
	{.name = "nfs4",
		.modules = {"nfsv4"},
		.source = SOURCE_REMOTE,
		.share = true,
		.options = "addr clientaddr proto port vers rsize wsize timeo retrans hard soft "
			   "softerr sec acregmin acregmax acdirmin acdirmax actimeo ac noac cto "
			   "nocto lookupcache nconnect sharecache nosharecache resvport "
			   "noresvport"},
	/* Without "unc", which would name another server than the source. */
	{.name = "cifs",
		.modules = {"cifs"},
		.source = SOURCE_REMOTE,
		.share = true,
		.secret = "pass",
		.options = "user username domain dom ip addr port vers sec uid gid forceuid "
			   "forcegid file_mode dir_mode cache seal sign nobrl mfsymlinks rsize "
			   "wsize actimeo nocase noperm serverino noserverino soft hard "
			   "echo_interval iocharset"},
	{.name = "ceph",
		.modules = {"ceph"},
		.source = SOURCE_REMOTE,
		.share = true,
		.secret = "secret",
		.options = "name mds_namespace mon_addr fsid rsize wsize rasize caps_max "
			   "readdir_max_bytes readdir_max_entries recover_session ms_mode "
			   "mount_timeout noshare dcache nodcache"},
	{.name = "ext4",
		.modules = {"ext4"},
		.source = SOURCE_DEVICE,
		.options = "errors data commit noload norecovery barrier nobarrier discard "
			   "nodiscard journal_checksum sb resgid resuid init_itable noinit_itable "
			   "delalloc nodelalloc acl noacl user_xattr nouser_xattr"},
	{.name = "xfs",
		.modules = {"xfs"},
		.source = SOURCE_DEVICE,
		.options = "norecovery nouuid discard nodiscard logbufs logbsize allocsize inode64 "
			   "inode32 noquota largeio nolargeio"},
	{.name = "btrfs",
		.modules = {"btrfs"},
		.source = SOURCE_DEVICE,
		.options = "subvol subvolid compress compress-force degraded discard nodiscard ssd "
			   "nossd space_cache autodefrag commit nodatacow nodatasum"},
	{.name = "vfat",
		.modules = {"vfat"},
		.source = SOURCE_DEVICE,
		.options =
			"uid gid umask fmask dmask codepage iocharset shortname utf8 flush quiet "
			"tz errors discard"},
	{.name = "exfat",
		.modules = {"exfat"},
		.source = SOURCE_DEVICE,
		.options = "uid gid umask fmask dmask iocharset errors discard time_offset"},
	{.name = "iso9660",
		.modules = {"isofs"},
		.source = SOURCE_DEVICE,
		.options = "uid gid mode dmode norock nojoliet iocharset utf8 block session "
			   "sbsector"},
	{.name = "squashfs",
		.modules = {"squashfs"},
		.source = SOURCE_DEVICE,
		.options = "errors threads"},
	{.name = "erofs",
		.modules = {"erofs"},
		.source = SOURCE_DEVICE,
		.options = "user_xattr acl cache_strategy"},
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
