/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/replace_alike.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "agent/methods/library.h"
#include "proto/cleanup.h"
#include "proto/copy/open.h"
#include "proto/write.h"

#define LABEL     "security.selinux"
#define LABEL_MAX 1024

int alike_read(struct call *call, int dir, const char *name, size_t most, char **ret_text)
{
	AUTO_CLOSE int fd =
		openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	size_t len = 0;
	char *text;

	*ret_text = NULL;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size > (off_t)most)
		return -EFBIG;
	text = arena_alloc(call->arena, (size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	while (len < (size_t)st.st_size) {
		ssize_t n = read(fd, text + len, (size_t)st.st_size - len);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	if (strlen(text) != len)
		return -EBADMSG;
	*ret_text = text;
	return 0;
}

static int (*is_enabled)(void);
static int (*restorecon)(const char *path, unsigned int flags);

/* Whether somebody goes by labels here. */
static bool labels_count(void)
{
	static const struct library_symbol symbols[] = {
		{"is_selinux_enabled", &is_enabled}, {"selinux_restorecon", &restorecon}};

	return library_load("libselinux.so.1", symbols, ARRAY_SIZE(symbols)) == 0 &&
	       is_enabled() > 0;
}

/* What the policy has for a file that is not there yet. Where libselinux is not, nothing is
 * labelled. */
static int label_new(int fd)
{
	char link[32], path[PATH_MAX];
	ssize_t n;

	if (!labels_count())
		return 0;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	return restorecon(path, 0) < 0 ? -errno : 0;
}

/* Without SELinux in the kernel only CAP_SYS_ADMIN sets one (xattr(7)); nobody misses it then. */
static int copy_label(int from, int to)
{
	char label[LABEL_MAX];
	ssize_t n = fgetxattr(from, LABEL, label, sizeof(label));

	if (n < 0)
		return errno == ENODATA || errno == EOPNOTSUPP ? 0 : -errno;
	if (fsetxattr(to, LABEL, label, (size_t)n, 0) == 0)
		return 0;
	return errno == EPERM && !labels_count() ? 0 : -errno;
}

/* Owner first: a change of it takes bits of the mode away. Whose a group it cannot give keeps what
 * the group could do from the one that it has. */
static int make_alike(int old, int fd)
{
	struct stat st, now;

	if (fstat(old, &st) < 0 || fstat(fd, &now) < 0)
		return -errno;
	if ((st.st_uid != now.st_uid || st.st_gid != now.st_gid) &&
		fchown(fd, st.st_uid, st.st_gid) < 0) {
		if (st.st_uid != now.st_uid)
			return -errno;
		st.st_mode &= ~(mode_t)S_IRWXG;
	}
	if (fchmod(fd, st.st_mode & 07777) < 0)
		return -errno;
	return copy_label(old, fd);
}

int alike_fresh_name(const char *prefix, char ret[ALIKE_NAME_SIZE])
{
	uint64_t number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -errno;
	(void)snprintf(ret, ALIKE_NAME_SIZE, "%.64s%016" PRIx64, prefix, number);
	return 0;
}

/* Under its other name; gone again where it fails. */
static int write_fresh(
	int dir, const char *name, const char *fresh, mode_t mode, const void *data, size_t len)
{
	AUTO_CLOSE int old = -EBADF, fd = -EBADF;
	int r = open_entry(dir, name, &old);

	/* A link goes, and where it leads stays as it is. */
	if (r < 0 && r != -ENOENT && r != -ELOOP)
		return r;
	fd = openat(dir, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, data, len);
	if (r == 0 && old >= 0)
		r = make_alike(old, fd);
	else if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dir, fresh, dir, name) < 0)
		r = -errno;
	/* By its own name, which the policy may know. */
	if (r == 0 && old < 0)
		r = label_new(fd);
	return r;
}

int alike_replace(int dir, const char *name, mode_t mode, const void *data, size_t len)
{
	char fresh[ALIKE_NAME_SIZE];
	int r = alike_fresh_name(ALIKE_PREFIX, fresh);

	if (r == 0)
		r = write_fresh(dir, name, fresh, mode, data, len);
	if (r < 0 && r != -EEXIST)
		(void)unlinkat(dir, fresh, 0);
	return r;
}
