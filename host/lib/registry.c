/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/json_line.h"
#include "host/common/remove.h"
#include "host/common/text.h"
#include "host/common/vm_files.h"
#include "proto/cleanup.h"

#define CID_FIRST     3
#define NAMES_TRIED   10000
#define SOCKET_SUFFIX "/" VM_FILE_VSOCK "_4294967295" /* the longest that must fit sun_path */
#define SUN_PATH_MAX  107

static int no_such(const char *name, struct postern_error *error)
{
	/* The name is the caller's own; it is shown only when it is a name. */
	return fail(error, POSTERN_ABSENT, ENOENT, "there is no VM %s",
		vm_name_valid(name) ? name : "of such a name");
}

static int find_root(char root[PATH_MAX], struct postern_error *error)
{
	const char *own = getenv("POSTERN_RUNTIME_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (own && own[0] == '/')
		n = snprintf(root, PATH_MAX, "%s", own);
	else if (geteuid() == 0)
		n = snprintf(root, PATH_MAX, "/run/postern-host");
	else if (xdg && xdg[0] == '/')
		n = snprintf(root, PATH_MAX, "%s/postern", xdg);
	else
		return fail(error, POSTERN_USAGE, ENOENT,
			"no folder for running VMs: XDG_RUNTIME_DIR and POSTERN_RUNTIME_DIR are "
			"unset");
	if (n >= PATH_MAX || (size_t)n + strlen(SOCKET_SUFFIX) + 2 > SUN_PATH_MAX)
		return fail(error, POSTERN_USAGE, ENAMETOOLONG,
			"%s is too long for the names of sockets in it", root);
	return 0;
}

int registry_root(char ret_root[PATH_MAX], struct postern_error *error)
{
	struct stat st;
	int r = find_root(ret_root, error);

	if (r < 0)
		return r;
	r = make_dirs(ret_root);
	if (r == 0 && lstat(ret_root, &st) < 0)
		r = -errno;
	if (r != 0)
		return fail_errno(error, POSTERN_ANSWERED, -r, "%s", ret_root);
	/* Others could plant a VM there, or reach into ours. */
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		return fail(error, POSTERN_REFUSED, EPERM,
			"%s must be a folder of ours that nobody else can enter (mode 0700)",
			ret_root);
	return 0;
}

static int set_lock(int fd, int command)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, command, &lock) < 0 ? -errno : 0;
}

bool registry_is_live(int dir_fd)
{
	AUTO_CLOSE int fd = openat(dir_fd, VM_FILE_LOCK, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* Held until it is closed. */
static int lock_root(const char *root, struct postern_error *error)
{
	AUTO_FREE char *path = text_format("%s/.lock", root);
	AUTO_CLOSE int fd = -EBADF;
	int r;

	fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
	r = fd < 0 ? -errno : set_lock(fd, F_OFD_SETLKW);
	return r < 0 ? fail_errno(error, POSTERN_ANSWERED, -r, "%s/.lock", root) : take_fd(&fd);
}

static int open_dir(const char *root, const char *name)
{
	AUTO_FREE char *path = text_format("%s/%s", root, name);
	int fd;

	if (!path)
		return -ENOMEM;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static int is_entry(const struct dirent *entry)
{
	return vm_name_valid(entry->d_name);
}

int registry_names(char ***ret_names, size_t *ret_n, struct postern_error *error)
{
	char root[PATH_MAX];
	struct dirent **found;
	char **names;
	int n, r = registry_root(root, error);

	if (r < 0)
		return r;
	n = scandir(root, &found, is_entry, alphasort);
	if (n < 0)
		return fail_errno(error, POSTERN_ANSWERED, errno, "%s", root);
	names = calloc((size_t)n + 1, sizeof(*names));
	for (int i = 0; i < n; i++) {
		if (names)
			names[i] = strdup(found[i]->d_name);
		if (!names || !names[i])
			r = -ENOMEM;
		free(found[i]);
	}
	free(found);
	if (r < 0) {
		if (names)
			registry_names_free(names, (size_t)n);
		return fail_errno(error, POSTERN_ANSWERED, -r, "%s", root);
	}
	*ret_names = names;
	*ret_n = (size_t)n;
	return 0;
}

void registry_names_free(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

int registry_open(const char *name, char ret_dir[PATH_MAX], int *ret_dir_fd, bool *ret_live,
	struct postern_error *error)
{
	char root[PATH_MAX];
	int fd, r = registry_root(root, error);

	if (r < 0)
		return r;
	fd = vm_name_valid(name) ? open_dir(root, name) : -ENOENT;
	if (fd < 0)
		return fd == -ENOENT
			       ? no_such(name, error)
			       : fail_errno(error, POSTERN_ANSWERED, -fd, "%s/%s", root, name);
	(void)snprintf(ret_dir, PATH_MAX, "%.4000s/%s", root, name);
	*ret_dir_fd = fd;
	*ret_live = registry_is_live(fd);
	return 0;
}

/* The CID in a VM's vm.json; 0 where it cannot be read. */
static uint32_t cid_of(int dir_fd)
{
	AUTO_JSON json_t *config = NULL;

	if (file_read_json(dir_fd, VM_FILE_CONFIG, &config) < 0)
		return 0;
	return (uint32_t)json_field_int(config, "cid", 0);
}

/* Is the CID that of a running VM other than `name`? */
static bool cid_taken(const char *root, char **names, size_t n, const char *name, uint32_t cid)
{
	for (size_t i = 0; i < n; i++) {
		AUTO_CLOSE int fd = strcmp(names[i], name) == 0 ? -EBADF : open_dir(root, names[i]);

		if (fd >= 0 && registry_is_live(fd) && cid_of(fd) == cid)
			return true;
	}
	return false;
}

static int choose_cid(const char *root, const char *name, uint32_t wanted, uint32_t *ret_cid,
	struct postern_error *error)
{
	char **names = NULL;
	size_t n = 0;
	uint32_t cid = wanted ? wanted : CID_FIRST;
	int r = registry_names(&names, &n, error);

	if (r < 0)
		return r;
	while (!wanted && cid_taken(root, names, n, name, cid))
		cid++;
	if (wanted && cid_taken(root, names, n, name, cid))
		r = fail(error, POSTERN_ANSWERED, EADDRINUSE, "another VM has the CID %u", wanted);
	registry_names_free(names, n);
	*ret_cid = cid;
	return r;
}

/* Makes the directory where it is missing and takes its lock. -EAGAIN: a VM runs there. */
static int claim_dir(const char *root, const char *name, struct registry_entry *entry)
{
	AUTO_CLOSE int dir_fd = -EBADF, lock_fd = -EBADF;
	int r;

	(void)snprintf(entry->dir, sizeof(entry->dir), "%.4000s/%s", root, name);
	if (mkdir(entry->dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	dir_fd = open_dir(root, name);
	if (dir_fd < 0)
		return dir_fd;
	lock_fd = openat(dir_fd, VM_FILE_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	r = lock_fd < 0 ? -errno : set_lock(lock_fd, F_OFD_SETLK);
	if (r < 0)
		return r == -EACCES ? -EAGAIN : r;
	(void)snprintf(entry->name, sizeof(entry->name), "%s", name);
	entry->dir_fd = take_fd(&dir_fd);
	entry->lock_fd = take_fd(&lock_fd);
	return 0;
}

/* What an ended VM left. Its persistent shares are for the next of its name. */
static void clear_dir(const struct registry_entry *entry)
{
	static const char *const kept[] = {".", "..", VM_FILE_LOCK, VM_FILE_SHARES};
	AUTO_CLOSE int fd = openat(entry->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *file;

	if (!stream)
		return;
	(void)take_fd(&fd);
	while ((file = readdir(stream))) {
		bool keep = false;

		for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
			keep |= strcmp(file->d_name, kept[i]) == 0;
		if (!keep)
			(void)unlinkat(entry->dir_fd, file->d_name, 0);
	}
	(void)closedir(stream);
}

static int claim_name(const char *root, const char *name, struct registry_entry *entry,
	struct postern_error *error)
{
	char made_up[32];
	int r = -EAGAIN;

	if (name)
		r = claim_dir(root, name, entry);
	for (unsigned i = 1; !name && r == -EAGAIN && i <= NAMES_TRIED; i++) {
		(void)snprintf(made_up, sizeof(made_up), "vm%u", i);
		r = claim_dir(root, made_up, entry);
	}
	if (r == -EAGAIN)
		return fail(error, POSTERN_ANSWERED, EEXIST, "a VM %s is running already",
			name ? name : "of each name");
	if (r < 0)
		return fail_errno(error, POSTERN_ANSWERED, -r, "%s/%s", root, name ? name : "vm1");
	return 0;
}

int registry_check_name(const char *name, struct postern_error *error)
{
	if (!name || vm_name_valid(name))
		return 0;
	return fail(error, POSTERN_USAGE, EINVAL,
		"a VM's name has 1 to %d of a-z, 0-9, dot, underscore and dash, and begins with a "
		"letter or digit",
		VM_NAME_MAX);
}

int registry_claim(const char *name, uint32_t cid, struct registry_entry *ret_entry,
	struct postern_error *error)
{
	char root[PATH_MAX];
	AUTO_CLOSE int root_lock = -EBADF;
	struct registry_entry entry = {.dir_fd = -EBADF, .lock_fd = -EBADF};
	int r;

	r = registry_check_name(name, error);
	if (r == 0)
		r = registry_root(root, error);
	if (r < 0)
		return r;
	root_lock = lock_root(root, error);
	if (root_lock < 0)
		return root_lock;
	r = claim_name(root, name, &entry, error);
	if (r == 0)
		r = choose_cid(root, entry.name, cid, &entry.cid, error);
	if (r == 0) {
		AUTO_JSON json_t *claim = json_pack("{s:I}", "cid", (json_int_t)entry.cid);

		clear_dir(&entry);
		/* The CID counts from now on; the whole vm.json follows. */
		r = claim ? file_replace_json(entry.dir_fd, VM_FILE_CONFIG, claim) : -ENOMEM;
		if (r < 0)
			r = fail_errno(error, POSTERN_ANSWERED, -r, "%s", entry.dir);
	}
	if (r < 0) {
		/* A directory that was made just now goes again; one with a record in it stays. */
		if (entry.dir_fd >= 0 && faccessat(entry.dir_fd, VM_FILE_CONFIG, F_OK, 0) < 0) {
			(void)unlinkat(entry.dir_fd, VM_FILE_LOCK, 0);
			(void)rmdir(entry.dir);
		}
		registry_entry_done(&entry);
		return r;
	}
	*ret_entry = entry;
	return 0;
}

void registry_entry_done(struct registry_entry *entry)
{
	entry->dir_fd = fd_close(entry->dir_fd);
	entry->lock_fd = fd_close(entry->lock_fd);
}

int registry_drop(const char *name, struct postern_error *error)
{
	char root[PATH_MAX], dir[PATH_MAX];
	AUTO_CLOSE int root_lock = -EBADF, dir_fd = -EBADF;
	bool live = false;
	int r = registry_root(root, error);

	if (r < 0)
		return r;
	root_lock = lock_root(root, error);
	if (root_lock < 0)
		return root_lock;
	r = registry_open(name, dir, &dir_fd, &live, error);
	if (r < 0)
		return r;
	if (live)
		return fail(error, POSTERN_ANSWERED, EBUSY, "the VM %s is running", name);
	r = remove_tree(dir);
	return r < 0 ? fail_errno(error, POSTERN_ANSWERED, -r, "%s", dir) : 0;
}
