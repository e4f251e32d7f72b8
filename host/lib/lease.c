/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/lease.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/json_line.h"
#include "host/common/lock.h"
#include "host/common/text.h"
#include "proto/cleanup.h"
#include "proto/client/text.h"

#define CID_FIRST   3
#define CIDS_TRIED  65536
#define RACES       16 /* with those who claim and drop the same file at the same time */
#define CONTENT_MAX 4096

/* ---- Where they are ---- */

/* Anybody may put files there, and only remove their own. */
static bool is_shared(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == 0 &&
	       (st.st_mode & 01777) == 01777;
}

static int find_dir(const char *base, char dir[PATH_MAX], struct postern_error *error)
{
	int r;

	if (!getenv("POSTERN_RUNTIME_DIR")) {
		/* chmod() behind mkdir(): the umask is not ours. */
		if (geteuid() == 0 && mkdir(LEASE_DIR, 0700) == 0)
			(void)chmod(LEASE_DIR, 01777);
		if (is_shared(LEASE_DIR)) {
			(void)snprintf(dir, PATH_MAX, "%s", LEASE_DIR);
			return 0;
		}
	}
	(void)snprintf(dir, PATH_MAX, "%.4000s/.cids", base);
	r = make_dirs(dir);
	return r < 0 ? fail_errno(error, POSTERN_ANSWERED, -r, "%s", dir) : 0;
}

/* ---- One of them ---- */

static int write_content(int fd, const char *name)
{
	AUTO_JSON json_t *content = json_pack("{s:s}", "name", name);
	char *text = json_dumps(content, JSON_COMPACT);
	int r = text ? 0 : -ENOMEM;

	/* All users may read it, whatever the umask says. */
	if (r == 0 && (dprintf(fd, "%s\n", text) < 0 || fchmod(fd, 0644) < 0))
		r = -errno;
	free(text);
	return r;
}

/* Was it removed since it was opened? */
static bool is_gone(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 || st.st_nlink == 0;
}

/* One that is there already: 0 once it is out of the way, -EADDRINUSE where somebody has it. */
static int clear(const char *path)
{
	/* Another user's cannot be opened, and is theirs. */
	AUTO_CLOSE int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? 0 : -EADDRINUSE;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || lock_take(fd, false) < 0)
		return -EADDRINUSE;
	/* Held by nobody but us, who take no more than its name. */
	if (!is_gone(fd) && unlink(path) < 0 && errno != ENOENT)
		return -EADDRINUSE;
	return 0;
}

/* 0 with *ret_fd, -EADDRINUSE, or another -errno. */
static int take(const char *path, const char *name, int *ret_fd)
{
	for (int i = 0; i < RACES; i++) {
		AUTO_CLOSE int fd = open(
			path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
		int r;

		if (fd < 0 && errno != EEXIST)
			return -errno;
		if (fd < 0) {
			r = clear(path);
			if (r < 0)
				return r;
			continue;
		}
		/* Somebody may have taken it for a stale one in between. */
		if (lock_take(fd, false) < 0 || is_gone(fd))
			continue;
		r = write_content(fd, name);
		if (r < 0) {
			(void)unlink(path);
			return r;
		}
		*ret_fd = take_fd(&fd);
		return 0;
	}
	return -EADDRINUSE;
}

/* _IOW(VHOST_VIRTIO, 0x60, __u64) of linux/vhost.h: the kernel refuses a CID that another VM of
 * this host has, whoever started it. */
static int open_vhost_vsock(uint32_t cid, int *ret_fd)
{
	AUTO_CLOSE int fd = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC);
	uint64_t guest = cid;

	if (fd < 0 || ioctl(fd, _IOW(0xaf, 0x60, uint64_t), &guest) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

void lease_done(struct lease *lease)
{
	lease->vhost_fd = fd_close(lease->vhost_fd);
	lease->fd = fd_close(lease->fd);
	if (lease->path[0])
		(void)clear(lease->path);
	lease->path[0] = '\0';
}

static int claim(const char *dir, const char *name, uint32_t cid, bool kernel, struct lease *lease)
{
	int r;

	lease->cid = cid;
	(void)snprintf(lease->path, sizeof(lease->path), "%.4000s/%u", dir, cid);
	r = take(lease->path, name, &lease->fd);
	if (r < 0)
		lease->path[0] = '\0'; /* not ours */
	else if (kernel)
		r = open_vhost_vsock(cid, &lease->vhost_fd);
	if (r < 0)
		lease_done(lease);
	return r;
}

int lease_claim(const char *base, const char *name, uint32_t wanted, bool kernel,
	struct lease *ret_lease, struct postern_error *error)
{
	struct lease lease = {.fd = -EBADF, .vhost_fd = -EBADF};
	uint32_t cid = wanted ? wanted : CID_FIRST;
	char dir[PATH_MAX];
	int r = find_dir(base, dir, error);

	if (r < 0)
		return r;
	do
		r = claim(dir, name, cid, kernel, &lease);
	while (r == -EADDRINUSE && !wanted && ++cid < CID_FIRST + CIDS_TRIED);
	if (r == -EADDRINUSE)
		return fail(error, POSTERN_ANSWERED, EADDRINUSE, "another VM has the CID %u", cid);
	if (r < 0 && kernel)
		return fail_errno(error, POSTERN_ABSENT, -r,
			"/dev/vhost-vsock (is the module vhost_vsock loaded?), or %s", dir);
	if (r < 0)
		return fail_errno(error, POSTERN_ANSWERED, -r, "%s", dir);
	*ret_lease = lease;
	return 0;
}

/* ---- All of them ---- */

static int is_lease(const struct dirent *entry)
{
	uint64_t cid;

	return parse_number(entry->d_name, UINT32_MAX, &cid) == 0;
}

/* versionsort: numbers as numbers. */
static int by_number(const struct dirent **a, const struct dirent **b)
{
	return strverscmp((*a)->d_name, (*b)->d_name);
}

static void add_user(json_t *lease, uid_t uid)
{
	struct passwd entry, *found = NULL;
	char names[1024];

	(void)json_object_set_new(lease, "uid", json_integer(uid));
	if (getpwuid_r(uid, &entry, names, sizeof(names), &found) == 0 && found)
		(void)json_object_set_new(lease, "user", json_string(found->pw_name));
}

/* NULL where it has just gone, or is none. Another user wrote what is in it. */
static json_t *look(int dir_fd, const char *file)
{
	AUTO_CLOSE int fd =
		openat(dir_fd, file, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	AUTO_JSON json_t *content = NULL;
	char name[160];
	const char *raw;
	struct stat st;
	json_t *lease;
	uint64_t cid;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > CONTENT_MAX ||
		parse_number(file, UINT32_MAX, &cid) < 0)
		return NULL;
	(void)file_read_json(dir_fd, file, &content);
	raw = json_field_string(content, "name", "");
	(void)postern_escape(raw, strlen(raw), name, sizeof(name));
	lease = json_pack(
		"{s:I, s:s, s:b}", "cid", (json_int_t)cid, "name", name, "held", lock_is_held(fd));
	add_user(lease, st.st_uid);
	return lease;
}

int lease_list(const char *base, json_t **ret_list, struct postern_error *error)
{
	AUTO_CLOSE int dir_fd = -EBADF;
	struct dirent **files;
	char dir[PATH_MAX];
	int n, r = find_dir(base, dir, error);
	json_t *list;

	if (r < 0)
		return r;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	n = dir_fd < 0 ? -1 : scandir(dir, &files, is_lease, by_number);
	if (n < 0)
		return fail_errno(error, POSTERN_ANSWERED, errno, "%s", dir);
	list = json_array();
	for (int i = 0; i < n; i++) {
		json_t *lease = look(dir_fd, files[i]->d_name);

		if (lease)
			(void)json_array_append_new(list, lease);
		free(files[i]);
	}
	free(files);
	*ret_list = list;
	return list ? 0 : fail_errno(error, POSTERN_ANSWERED, ENOMEM, "%s", dir);
}
