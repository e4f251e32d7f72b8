/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "agent/methods/file_entry.h"
#include "agent/methods/mount_path.h"
#include "proto/copy/open.h"

#define PART_BYTES   (192u << 10) /* of one response, so that any caller's frames hold it */
#define PART_ENTRIES 2048
#define ENTRY_BYTES  64 /* what an entry takes besides its path, at most */
#define DEPTH_MAX    128
#define PROBLEMS_MAX 64 /* in all */
#define MOUNTS_MAX   256

struct mount_below {
	const char *path; /* below the folder that is listed */
	dev_t device;
};

/* One listing; what was sent is written over by what comes next. */
struct lister {
	struct call *call;
	struct file_listing *listing;
	bool recursive;

	struct mount_below *mounts;
	size_t n_mounts;

	struct file_part part;
	Postern__V1__FileEntry *entries; /* of the part, in a row */
	char *text;                      /* their paths */
	size_t text_len, bytes, limit, told_problems;

	char path[PATH_MAX]; /* of what is looked at */
};

static int begin(struct lister *lister)
{
	struct arena *arena = lister->call->arena;
	struct file_part *part = &lister->part;

	lister->limit =
		lister->call->max_frame / 2 < PART_BYTES ? lister->call->max_frame / 2 : PART_BYTES;
	lister->entries = arena_take(arena, PART_ENTRIES * sizeof(*lister->entries));
	lister->text = arena_take(arena, PART_BYTES + PATH_MAX);
	part->entries = arena_alloc(arena, PART_ENTRIES * sizeof(*part->entries));
	part->problems = arena_alloc(arena, PROBLEMS_MAX * sizeof(*part->problems));
	if (!lister->entries || !lister->text || !part->entries || !part->problems)
		return -ENOMEM;
	for (size_t i = 0; i < PART_ENTRIES; i++)
		part->entries[i] = &lister->entries[i];
	return 0;
}

/* What is there goes out where the next one would make it too much. */
static int make_room(struct lister *lister, size_t len)
{
	struct file_part *part = &lister->part;
	int r;

	if (part->n < PART_ENTRIES && (part->n + part->n_problems == 0 ||
					      lister->bytes + len + ENTRY_BYTES <= lister->limit))
		return 0;
	lister->listing->put(lister->listing->reply, part);
	r = call_more(lister->call, lister->listing->reply);
	part->n = part->n_problems = 0;
	lister->text_len = lister->bytes = 0;
	return r;
}

static int add(struct lister *lister, const struct stat *st, size_t len)
{
	int r = make_room(lister, len);
	char *path = lister->text + lister->text_len;

	if (r < 0)
		return r;
	memcpy(path, lister->path, len);
	file_entry_describe(lister->part.entries[lister->part.n++], st, path, len);
	lister->text_len += len;
	lister->bytes += len + ENTRY_BYTES;
	lister->listing->count++;
	return 0;
}

static int add_not_responding(struct lister *lister, size_t len)
{
	Postern__V1__FileEntry *entry;
	ProtobufCBinaryData path;
	int r = add(lister, &(struct stat){.st_mode = S_IFDIR}, len);

	if (r < 0)
		return r;
	entry = lister->part.entries[lister->part.n - 1];
	path = entry->path;
	postern__v1__file_entry__init(entry);
	entry->has_path = entry->has_type = true;
	entry->path = path;
	entry->type = POSTERN__V1__FILE_TYPE__FILE_NOT_RESPONDING;
	return 0;
}

/* What is gone by now was not there. */
static int add_problem(struct lister *lister, size_t len, int error)
{
	struct call *call = lister->call;
	Postern__V1__FileProblem *problem;
	int r;

	if (error == ENOENT || error == ENOTDIR || error == ELOOP)
		return 0;
	if (lister->told_problems == PROBLEMS_MAX) {
		lister->listing->left_out++;
		return 0;
	}
	r = make_room(lister, len + 64);
	problem = r < 0 ? NULL : arena_alloc(call->arena, sizeof(*problem));
	if (!problem)
		return r < 0 ? r : -ENOMEM;
	postern__v1__file_problem__init(problem);
	problem->has_path = problem->has_sys_errno = true;
	problem->path = call_bytes(call, lister->path, len);
	problem->sys_errno = error;
	problem->message = arena_strdup(call->arena, strerror(error));
	lister->part.problems[lister->part.n_problems++] = problem;
	lister->bytes += len + 64;
	lister->told_problems++;
	return 0;
}

/* The file systems that are mounted below, topmost first where several are at one place. */
static int find_mounts(struct lister *lister, const char *path)
{
	size_t len = strcmp(path, "/") == 0 ? 0 : strlen(path);
	struct mount_map map;
	int r = mount_map_own(&map);

	lister->mounts = arena_alloc(lister->call->arena, MOUNTS_MAX * sizeof(*lister->mounts));
	if (!lister->mounts)
		r = -ENOMEM;
	for (size_t i = map.n; r == 0 && i-- > 0 && lister->n_mounts < MOUNTS_MAX;) {
		const struct mount_point *point = &map.points[i];
		struct mount_below *below = &lister->mounts[lister->n_mounts];

		if (point->len <= len + 1 || memcmp(point->target, path, len) != 0 ||
			point->target[len] != '/')
			continue;
		below->path = arena_copy(
			lister->call->arena, point->target + len + 1, point->len - len - 1);
		below->device = point->device;
		lister->n_mounts++;
		if (!below->path)
			r = -ENOMEM;
	}
	mount_map_done(&map);
	return r;
}

static const struct mount_below *mount_at(const struct lister *lister, size_t len)
{
	for (size_t i = 0; i < lister->n_mounts; i++)
		if (strncmp(lister->mounts[i].path, lister->path, len) == 0 &&
			lister->mounts[i].path[len] == '\0')
			return &lister->mounts[i];
	return NULL;
}

static int list_folder(
	struct lister *lister, int *fd, size_t prefix, unsigned int depth, dev_t device);

/* A folder's own entries come behind it. */
static int enter(struct lister *lister, int dir, const char *name, size_t len, unsigned int depth,
	dev_t device)
{
	AUTO_CLOSE int fd = -EBADF;

	if (depth == DEPTH_MAX || len + 1 >= PATH_MAX)
		return add_problem(lister, len, ENAMETOOLONG);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return add_problem(lister, len, errno);
	lister->path[len] = '/';
	return list_folder(lister, &fd, len + 1, depth + 1, device);
}

static int list_one(struct lister *lister, int dir, const char *name, size_t len,
	unsigned int depth, dev_t device)
{
	const struct mount_below *mount = lister->n_mounts > 0 ? mount_at(lister, len) : NULL;
	struct stat st = {0};
	int r;

	if (mount && worker_is_quarantined(lister->call, mount->device, TOUCH_LOOK))
		return add_not_responding(lister, len);
	if (mount)
		worker_touch(lister->call, mount->device, TOUCH_LOOK);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
		r = add_problem(lister, len, errno);
	else
		r = add(lister, &st, len);
	if (r == 0 && lister->recursive && S_ISDIR(st.st_mode))
		r = enter(lister, dir, name, len, depth, mount ? mount->device : device);
	if (mount)
		worker_touch(lister->call, device, TOUCH_LOOK);
	return r;
}

static int list_folder(
	struct lister *lister, int *fd, size_t prefix, unsigned int depth, dev_t device)
{
	AUTO(dir_closep) DIR *dir = fdopendir(*fd);
	int r = dir ? 0 : -errno;

	if (dir)
		*fd = -EBADF;
	while (dir && r == 0) {
		struct dirent *entry;
		size_t len;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return errno == 0 ? 0 : add_problem(lister, prefix ? prefix - 1 : 0, errno);
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		len = strlen(entry->d_name);
		if (prefix + len >= PATH_MAX) {
			r = add_problem(lister, prefix - 1, ENAMETOOLONG);
			continue;
		}
		memcpy(lister->path + prefix, entry->d_name, len);
		r = list_one(lister, dirfd(dir), entry->d_name, prefix + len, depth, device);
	}
	return r;
}

int file_list(struct call *call, const struct file_place *place, bool recursive,
	struct file_listing *listing)
{
	struct lister *lister = arena_alloc(call->arena, sizeof(*lister));
	AUTO_CLOSE int fd = -EBADF;
	struct stat st = {0};
	int r;

	if (!lister)
		return -ENOMEM;
	lister->call = call;
	lister->listing = listing;
	lister->recursive = recursive;
	r = begin(lister);
	if (r == 0)
		r = file_open_folder(call, place, &fd);
	if (r < 0)
		return r;
	/* Where links are followed, what is below may be mounted under another name. */
	r = place->follow ? 0 : find_mounts(lister, place->path);
	if (r == 0 && !place->follow && fstat(fd, &st) < 0)
		r = -errno;
	if (r == 0)
		r = list_folder(lister, &fd, 0, 0, st.st_dev);
	worker_touch_done(call);
	if (r < 0)
		return call->error ? r : call_fail_errno(call, r, "%s", place->path);
	listing->put(listing->reply, &lister->part);
	return 0;
}
