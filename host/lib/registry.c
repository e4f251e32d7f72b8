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
#include "host/common/lock.h"
#include "host/common/remove.h"
#include "host/common/text.h"
#include "host/common/vm_files.h"
#include "host/lib/environment.h"
#include "proto/cleanup.h"

#define NAMES_TRIED 10000

static int no_such(const char *name, struct postern_error *error)
{
	/* The name is the caller's own; it is shown only when it is a name. */
	return fail(error, POSTERN_ABSENT, ENOENT, "there is no VM %s",
		vm_name_valid(name) ? name : "of such a name");
}

bool registry_is_live(int dir_fd)
{
	AUTO_CLOSE int fd = openat(dir_fd, VM_FILE_LOCK, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && lock_is_held(fd);
}

/* Held until it is closed. The root is made where it is missing. */
static int lock_root(const char *env, char root[PATH_MAX], struct postern_error *error)
{
	for (;;) {
		AUTO_FREE char *path = NULL;
		AUTO_CLOSE int fd = -EBADF;
		struct stat st;
		int r = env_root(env, true, root, error);

		if (r < 0)
			return r;
		path = text_format("%s/.lock", root);
		fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
		r = fd < 0 ? -errno : lock_take(fd, true);
		/* An environment may go with its last VM while we wait. */
		if (r == -ENOENT || (r == 0 && fstat(fd, &st) == 0 && st.st_nlink == 0))
			continue;
		return r < 0 ? fail_errno(error, POSTERN_ANSWERED, -r, "%s/.lock", root)
			     : take_fd(&fd);
	}
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

static int is_env(const struct dirent *entry)
{
	return entry->d_name[0] == ENV_MARK && vm_name_valid(entry->d_name + 1);
}

/* The names in a folder, without their first `skip` bytes, behind `first` (NULL: nothing). */
static int list_names(const char *folder, int (*filter)(const struct dirent *), size_t skip,
	const char *first, char ***ret_names, size_t *ret_n, struct postern_error *error)
{
	struct dirent **found = NULL;
	int n = scandir(folder, &found, filter, alphasort), r = 0;
	size_t count = 0;
	char **names;

	if (n < 0 && errno != ENOENT)
		return fail_errno(error, POSTERN_ANSWERED, errno, "%s", folder);
	names = calloc((size_t)(n > 0 ? n : 0) + 2, sizeof(*names));
	if (names && first)
		names[count++] = strdup(first);
	for (int i = 0; i < n; i++) {
		if (names)
			names[count++] = strdup(found[i]->d_name + skip);
		free(found[i]);
	}
	free(found);
	for (size_t i = 0; i < count; i++)
		r = names[i] ? r : -ENOMEM;
	if (!names || r < 0) {
		registry_names_free(names, count);
		return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "%s", folder);
	}
	*ret_names = names;
	*ret_n = count;
	return 0;
}

int registry_names(const char *env, char ***ret_names, size_t *ret_n, struct postern_error *error)
{
	char root[PATH_MAX];
	int r = env_root(env ? env : env_default(), false, root, error);

	if (r < 0)
		return r;
	return list_names(root, is_entry, 0, NULL, ret_names, ret_n, error);
}

int registry_envs(char ***ret_envs, size_t *ret_n, struct postern_error *error)
{
	char base[PATH_MAX];
	int r = env_root("", false, base, error);

	if (r < 0)
		return r;
	return list_names(base, is_env, 1, "", ret_envs, ret_n, error);
}

void registry_names_free(char **names, size_t n)
{
	for (size_t i = 0; names && i < n; i++)
		free(names[i]);
	free(names);
}

static int open_entry(const char *root, const char *name, char ret_dir[PATH_MAX], int *ret_dir_fd,
	bool *ret_live, struct postern_error *error)
{
	int fd = vm_name_valid(name) ? open_dir(root, name) : -ENOENT;

	if (fd < 0)
		return fd == -ENOENT
			       ? no_such(name, error)
			       : fail_errno(error, POSTERN_ANSWERED, -fd, "%s/%s", root, name);
	(void)snprintf(ret_dir, PATH_MAX, "%.4000s/%s", root, name);
	*ret_dir_fd = fd;
	*ret_live = registry_is_live(fd);
	return 0;
}

int registry_open(const char *name, char ret_dir[PATH_MAX], int *ret_dir_fd, bool *ret_live,
	struct postern_error *error)
{
	char root[PATH_MAX], env[64] = "", own[64] = "";
	int r = env_split(name, env, own, error);

	if (r == 0)
		r = env_root(env, false, root, error);
	if (r != 0)
		return r > 0 ? no_such(own, error) : r;
	return open_entry(root, own, ret_dir, ret_dir_fd, ret_live, error);
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
	r = lock_fd < 0 ? -errno : lock_take(lock_fd, false);
	if (r < 0)
		return r;
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
	char env[64] = "", own[64] = "";
	int r = env_split(name ? name : "", env, own, error);

	if (r < 0 || vm_name_valid(own) || (!own[0] && (!name || strchr(name, '/'))))
		return r;
	return fail(error, POSTERN_USAGE, EINVAL,
		"a VM's name has 1 to %d of a-z, 0-9, dot, underscore and dash, and begins with a "
		"letter or digit",
		VM_NAME_MAX);
}

/* Its CID, and the record that it is being made. */
static int fill_entry(struct registry_entry *entry, const char *env, uint32_t cid, bool kernel,
	struct postern_error *error)
{
	AUTO_JSON json_t *claim = NULL;
	char base[PATH_MAX];
	int r = env_base(base, error);

	(void)snprintf(entry->full, sizeof(entry->full), "%s/%s", env, entry->name);
	if (r == 0)
		r = lease_claim(
			base, entry->full + (env[0] == '\0'), cid, kernel, &entry->lease, error);
	if (r < 0)
		return r;
	clear_dir(entry);
	claim = json_pack("{s:I}", "cid", (json_int_t)entry->lease.cid);
	r = claim ? file_replace_json(entry->dir_fd, VM_FILE_CONFIG, claim) : -ENOMEM;
	return r < 0 ? fail_errno(error, POSTERN_ANSWERED, -r, "%s", entry->dir) : 0;
}

int registry_claim(const char *name, uint32_t cid, bool vsock_kernel,
	struct registry_entry *ret_entry, struct postern_error *error)
{
	struct registry_entry entry = REGISTRY_NO_ENTRY;
	char root[PATH_MAX], env[64] = "", own[64] = "";
	AUTO_CLOSE int root_lock = -EBADF;
	int r = registry_check_name(name, error);

	if (r == 0)
		r = env_split(name ? name : "", env, own, error);
	if (r < 0)
		return r;
	root_lock = lock_root(env, root, error);
	if (root_lock < 0)
		return root_lock;
	r = claim_name(root, own[0] ? own : NULL, &entry, error);
	if (r == 0)
		r = fill_entry(&entry, env, cid, vsock_kernel, error);
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
	lease_done(&entry->lease);
}

/* An environment without a VM is none. Called under its lock. */
static void drop_env(const char *root)
{
	AUTO_FREE char *path = text_format("%s/.lock", root);
	char **names = NULL;
	size_t n = 0;

	if (!path || list_names(root, is_entry, 0, NULL, &names, &n, NULL) < 0)
		return;
	registry_names_free(names, n);
	if (n == 0 && unlink(path) == 0)
		(void)rmdir(root);
}

int registry_drop(const char *name, struct postern_error *error)
{
	char root[PATH_MAX], dir[PATH_MAX], env[64] = "", own[64] = "";
	AUTO_CLOSE int root_lock = -EBADF, dir_fd = -EBADF;
	bool live = false;
	int r = env_split(name, env, own, error);

	/* Where there is nothing, nothing is made to look. */
	if (r == 0)
		r = env_root(env, false, root, error);
	if (r != 0)
		return r > 0 ? no_such(own, error) : r;
	root_lock = lock_root(env, root, error);
	if (root_lock < 0)
		return root_lock;
	r = open_entry(root, own, dir, &dir_fd, &live, error);
	if (r == 0 && live)
		r = fail(error, POSTERN_ANSWERED, EBUSY, "the VM %s is running", name);
	if (r == 0) {
		r = remove_tree(dir);
		if (r < 0)
			(void)fail_errno(error, POSTERN_ANSWERED, -r, "%s", dir);
	}
	if (env[0])
		drop_env(root);
	return r;
}
