/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/file_entry.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "proto/clock.h"

static Postern__V1__FileType type_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return POSTERN__V1__FILE_TYPE__FILE_REGULAR;
	case S_IFDIR:
		return POSTERN__V1__FILE_TYPE__FILE_FOLDER;
	case S_IFLNK:
		return POSTERN__V1__FILE_TYPE__FILE_LINK;
	case S_IFIFO:
		return POSTERN__V1__FILE_TYPE__FILE_FIFO;
	case S_IFSOCK:
		return POSTERN__V1__FILE_TYPE__FILE_SOCKET;
	case S_IFCHR:
		return POSTERN__V1__FILE_TYPE__FILE_CHARACTER_DEVICE;
	default:
		return POSTERN__V1__FILE_TYPE__FILE_BLOCK_DEVICE;
	}
}

static int64_t ns_of(int64_t seconds, int64_t ns)
{
	return seconds * (int64_t)NSEC_PER_SEC + ns;
}

void file_entry_describe(
	Postern__V1__FileEntry *entry, const struct stat *st, const char *path, size_t path_len)
{
	postern__v1__file_entry__init(entry);
	entry->has_path = entry->has_type = entry->has_mode = entry->has_uid = entry->has_gid =
		entry->has_modified_ns = true;
	entry->path = (ProtobufCBinaryData){.len = path_len, .data = (uint8_t *)path};
	entry->type = type_of(st->st_mode);
	entry->has_size = S_ISREG(st->st_mode);
	entry->size = entry->has_size ? (uint64_t)st->st_size : 0;
	entry->mode = st->st_mode & 07777;
	entry->uid = st->st_uid;
	entry->gid = st->st_gid;
	entry->modified_ns = ns_of(st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
		entry->has_major = entry->has_minor = true;
		entry->major = major(st->st_rdev);
		entry->minor = minor(st->st_rdev);
	}
}

/* Where a link leads; a text that is cut is none. */
static int add_target(struct call *call, int at, Postern__V1__FileEntry *entry)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(at, "", target, sizeof(target));

	if (n < 0)
		return -errno;
	entry->has_target = n < (ssize_t)sizeof(target);
	if (entry->has_target)
		entry->target = call_bytes(call, target, (size_t)n);
	return 0;
}

static int add_created(int at, Postern__V1__FileEntry *entry)
{
	struct statx stx;

	if (statx(at, "", AT_EMPTY_PATH, STATX_BTIME, &stx) < 0)
		return -errno;
	entry->has_created_ns = (stx.stx_mask & STATX_BTIME) != 0;
	entry->created_ns = ns_of(stx.stx_btime.tv_sec, stx.stx_btime.tv_nsec);
	return 0;
}

static int describe_all(struct call *call, int at, const char *path, Postern__V1__FileEntry *entry)
{
	struct stat st;
	int r = fstat(at, &st) < 0 ? -errno : 0;

	if (r < 0)
		return r;
	file_entry_describe(entry, &st, path, strlen(path));
	entry->has_changed_ns = entry->has_accessed_ns = entry->has_allocated = entry->has_inode =
		entry->has_links = true;
	entry->changed_ns = ns_of(st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	entry->accessed_ns = ns_of(st.st_atim.tv_sec, st.st_atim.tv_nsec);
	entry->allocated = (uint64_t)st.st_blocks * S_BLKSIZE;
	entry->inode = st.st_ino;
	entry->links = (uint32_t)st.st_nlink;
	r = add_created(at, entry);
	return r == 0 && S_ISLNK(st.st_mode) ? add_target(call, at, entry) : r;
}

int file_entry_of(
	struct call *call, const struct file_place *place, Postern__V1__FileEntry **ret_entry)
{
	AUTO_CLOSE int at = file_look(place);
	int r = at;

	*ret_entry = arena_alloc(call->arena, sizeof(**ret_entry));
	if (!*ret_entry)
		return -ENOMEM;
	if (at >= 0)
		r = describe_all(call, at, place->path, *ret_entry);
	return r < 0 ? file_fail(call, place, r) : 0;
}
