/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/holders.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/methods/mount_entry.h"
#include "agent/methods/process.h"
#include "proto/cleanup.h"

#define HOLDERS_MAX    256
#define USES_MAX       64
#define NAMESPACES_MAX 64

struct search {
	struct call *call;
	struct holders *found;
	const char *target;
	size_t target_len;
	int mount_id;
	unsigned int major, minor;
	ino_t own_namespace;
	char peer[24];                    /* ":N" of our peer group, empty: none */
	ino_t namespaces[NAMESPACES_MAX]; /* others, each looked at once */
	size_t namespaces_n;
	bool failed;
};

/* The holder of the process, made with its first use. NULL: none fits any more. */
static Postern__V1__Holder *holder_of(struct search *search, const struct process *process)
{
	struct holders *found = search->found;
	Postern__V1__Holder *holder;
	char user[64];

	if (found->n > 0 && found->list[found->n - 1]->pid == (process ? process->pid : 0))
		return found->list[found->n - 1];
	if (found->n == HOLDERS_MAX) {
		found->more++;
		return NULL;
	}
	holder = arena_alloc(search->call->arena, sizeof(*holder));
	if (holder)
		holder->uses = arena_alloc(search->call->arena, USES_MAX * sizeof(*holder->uses));
	if (!holder || !holder->uses) {
		search->failed = true;
		return NULL;
	}
	Postern__V1__Use **uses = holder->uses;
	postern__v1__holder__init(holder);
	holder->uses = uses;
	holder->has_pid = true;
	if (process) {
		user_name(process->uid, user, sizeof(user));
		holder->pid = process->pid;
		holder->has_command = holder->has_uid = true;
		holder->command = call_text(search->call, process->command);
		holder->uid = process->uid;
		holder->has_user = user[0] != '\0';
		holder->user = call_text(search->call, user);
	}
	found->list[found->n++] = holder;
	return holder;
}

static void add_use(struct search *search, const struct process *process, Postern__V1__UseKind kind,
	const char *path, int fd)
{
	Postern__V1__Holder *holder = holder_of(search, process);
	Postern__V1__Use *use;

	if (!holder || holder->n_uses == USES_MAX)
		return;
	use = arena_alloc(search->call->arena, sizeof(*use));
	if (!use) {
		search->failed = true;
		return;
	}
	postern__v1__use__init(use);
	use->has_kind = true;
	use->kind = kind;
	use->has_path = path[0] != '\0';
	use->path = call_text(search->call, path);
	use->has_fd = fd >= 0;
	use->fd = fd;
	holder->uses[holder->n_uses++] = use;
}

static void link_text(int dir, const char *name, char text[PATH_MAX])
{
	ssize_t n = readlinkat(dir, name, text, PATH_MAX - 1);

	text[n > 0 ? n : 0] = '\0';
}

/* mnt_id of /proc/PID/fdinfo/FD (proc_pid_fdinfo(5)); -1 where it cannot be read. */
static int mount_id_of(int fdinfo, const char *name)
{
	AUTO_CLOSE int fd = openat(fdinfo, name, O_RDONLY | O_CLOEXEC);
	char text[512];
	const char *at;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		return -1;
	text[n] = '\0';
	at = strstr(text, "mnt_id:");
	return at ? atoi(at + 7) : -1;
}

static void look_at_files(struct search *search, const struct process *process)
{
	AUTO_CLOSE int fds = openat(process->dir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fdinfo = openat(process->dir, "fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdinfo < 0 ? NULL : fdopendir(fdinfo);
	char path[PATH_MAX];

	if (!dir) {
		(void)fd_close(fdinfo);
		return;
	}
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (entry->d_name[0] == '.' ||
			mount_id_of(dirfd(dir), entry->d_name) != search->mount_id)
			continue;
		link_text(fds, entry->d_name, path);
		add_use(search, process, POSTERN__V1__USE_KIND__OPEN_FILE, path,
			atoi(entry->d_name));
	}
	(void)closedir(dir);
}

/* Opened as a place only (O_PATH): the file system is not asked. */
static void look_at_places(struct search *search, const struct process *process)
{
	static const struct {
		const char *name;
		Postern__V1__UseKind kind;
	} places[] = {
		{"cwd", POSTERN__V1__USE_KIND__CURRENT_DIRECTORY},
		{"root", POSTERN__V1__USE_KIND__ROOT_DIRECTORY},
		{"exe", POSTERN__V1__USE_KIND__EXECUTABLE},
	};
	AUTO_CLOSE int own = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		AUTO_CLOSE int place = openat(process->dir, places[i].name, O_PATH | O_CLOEXEC);
		char number[16], path[PATH_MAX];

		(void)snprintf(number, sizeof(number), "%d", place);
		if (place < 0 || mount_id_of(own, number) != search->mount_id)
			continue;
		link_text(process->dir, places[i].name, path);
		add_use(search, process, places[i].kind, path, -1);
	}
}

/* proc_pid_maps(5): ADDRESS PERMS OFFSET MAJOR:MINOR INODE PATH */
static void look_at_mappings(struct search *search, const struct process *process)
{
	int fd = openat(process->dir, "maps", O_RDONLY | O_CLOEXEC);
	AUTO_FILE FILE *file = fd < 0 ? NULL : fdopen(fd, "re");
	char line[PATH_MAX + 128], last[PATH_MAX + 128] = "";

	if (!file) {
		(void)fd_close(fd);
		return;
	}
	while (fgets(line, sizeof(line), file)) {
		unsigned int major, minor;
		char *path = strchr(line, '/');

		if (!path || sscanf(line, "%*s %*s %*s %x:%x", &major, &minor) != 2)
			continue;
		path[strcspn(path, "\n")] = '\0';
		if (major != search->major || minor != search->minor || strcmp(path, last) == 0)
			continue;
		(void)snprintf(last, sizeof(last), "%s", path);
		add_use(search, process, POSTERN__V1__USE_KIND__MAPPING, path, -1);
	}
}

/* True for a mount of another namespace that goes when ours goes: the kernel passes the unmount on
 * to peers and slaves. */
static bool follows_ours(const struct search *search, struct libmnt_fs *fs)
{
	const char *fields = mnt_fs_get_optional_fields(fs);
	size_t len = strlen(search->peer);
	const char *at;

	if (len == 0 || !fields)
		return false;
	for (at = fields; (at = strstr(at, search->peer)); at += len)
		if (at[len] == '\0' || at[len] == ' ')
			return true;
	return false;
}

/* The same file system in the table of another mount namespace. */
static void look_at_namespace(struct search *search, const struct process *process)
{
	struct libmnt_table *table = NULL;
	struct libmnt_iter *iter;
	struct libmnt_fs *fs;
	struct stat st;
	int fd;

	if (fstatat(process->dir, "ns/mnt", &st, 0) < 0 || st.st_ino == search->own_namespace)
		return;
	for (size_t i = 0; i < search->namespaces_n; i++)
		if (search->namespaces[i] == st.st_ino)
			return;
	if (search->namespaces_n == NAMESPACES_MAX)
		return;
	search->namespaces[search->namespaces_n++] = st.st_ino;
	fd = openat(process->dir, "mountinfo", O_RDONLY | O_CLOEXEC);
	iter = mnt_new_iter(MNT_ITER_FORWARD);
	if (fd >= 0 && iter && mount_table_read(fd, &table) == 0)
		while (mnt_table_next_fs(table, iter, &fs) == 0)
			if (mnt_fs_get_devno(fs) == makedev(search->major, search->minor) &&
				!follows_ours(search, fs))
				add_use(search, process, POSTERN__V1__USE_KIND__MOUNT_NAMESPACE,
					mnt_fs_get_target(fs), -1);
	mnt_unref_table(table);
	mnt_free_iter(iter);
	(void)fd_close(fd);
}

static void look_at(void *ctx, const struct process *process)
{
	struct search *search = ctx;

	look_at_files(search, process);
	look_at_places(search, process);
	look_at_mappings(search, process);
	look_at_namespace(search, process);
}

static bool lies_below(const struct search *search, const char *path)
{
	return strncmp(path, search->target, search->target_len) == 0 &&
	       (path[search->target_len] == '/' || path[search->target_len] == '\0');
}

static void note_peer_group(struct search *search, struct libmnt_fs *fs)
{
	const char *fields = mnt_fs_get_optional_fields(fs);
	const char *shared = fields ? strstr(fields, "shared:") : NULL;

	if (shared)
		(void)snprintf(search->peer, sizeof(search->peer), ":%d", atoi(shared + 7));
}

static void find_nested(struct search *search, struct libmnt_table *table)
{
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;

	while (iter && mnt_table_next_fs(table, iter, &fs) == 0)
		if (mnt_fs_get_id(fs) == search->mount_id)
			note_peer_group(search, fs);
		else if (mnt_fs_get_parent_id(fs) == search->mount_id)
			add_use(search, NULL, POSTERN__V1__USE_KIND__NESTED_MOUNT,
				mnt_fs_get_target(fs), -1);
	mnt_free_iter(iter);
}

static void find_loop_devices(struct search *search)
{
	DIR *dir = opendir("/sys/block");

	if (!dir)
		return;
	for (struct dirent *entry; (entry = readdir(dir));) {
		char path[PATH_MAX], backing[PATH_MAX] = "";
		AUTO_FILE FILE *file = NULL;

		if (strncmp(entry->d_name, "loop", 4) != 0)
			continue;
		(void)snprintf(
			path, sizeof(path), "/sys/block/%.32s/loop/backing_file", entry->d_name);
		file = fopen(path, "re");
		if (!file || !fgets(backing, sizeof(backing), file))
			continue;
		backing[strcspn(backing, "\n")] = '\0';
		if (lies_below(search, backing))
			add_use(search, NULL, POSTERN__V1__USE_KIND__LOOP_DEVICE, backing, -1);
	}
	(void)closedir(dir);
}

static void find_swap(struct search *search)
{
	AUTO_FILE FILE *file = fopen("/proc/swaps", "re");
	char line[PATH_MAX + 128];

	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, " \t\n")] = '\0';
		if (line[0] == '/' && lies_below(search, line))
			add_use(search, NULL, POSTERN__V1__USE_KIND__SWAP, line, -1);
	}
}

int holders_find(struct call *call, const Postern__V1__MountEntry *mount, struct holders *ret)
{
	AUTO_CLOSE int mountinfo = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	struct libmnt_table *table = NULL;
	struct search search = {.call = call,
		.found = ret,
		.target = (const char *)mount->target.data,
		.target_len = mount->target.len,
		.mount_id = (int)mount->id,
		.major = mount->major,
		.minor = mount->minor};
	struct stat st;
	int r;

	*ret = (struct holders){.list = arena_alloc(call->arena, HOLDERS_MAX * sizeof(*ret->list))};
	if (!ret->list)
		return -ENOMEM;
	if (stat("/proc/self/ns/mnt", &st) < 0 || mountinfo < 0)
		return -errno;
	search.own_namespace = st.st_ino;
	r = mount_table_read(mountinfo, &table);
	if (r < 0)
		return r;
	find_nested(&search, table);
	mnt_unref_table(table);
	find_loop_devices(&search);
	find_swap(&search);
	r = process_each(look_at, &search);
	return search.failed ? -ENOMEM : r;
}

static const char *in_words(Postern__V1__UseKind kind)
{
	switch (kind) {
	case POSTERN__V1__USE_KIND__OPEN_FILE:
		return "has open";
	case POSTERN__V1__USE_KIND__CURRENT_DIRECTORY:
		return "works in";
	case POSTERN__V1__USE_KIND__ROOT_DIRECTORY:
		return "has as its root";
	case POSTERN__V1__USE_KIND__EXECUTABLE:
		return "runs";
	case POSTERN__V1__USE_KIND__MAPPING:
		return "has mapped";
	case POSTERN__V1__USE_KIND__NESTED_MOUNT:
		return "has mounted";
	case POSTERN__V1__USE_KIND__LOOP_DEVICE:
		return "has a loop device on";
	case POSTERN__V1__USE_KIND__SWAP:
		return "swaps to";
	case POSTERN__V1__USE_KIND__MOUNT_NAMESPACE:
		return "has in its mount namespace";
	default:
		return "uses";
	}
}

void holders_in_words(const struct holders *holders, char *text, size_t size)
{
	const Postern__V1__Holder *first = holders->n > 0 ? holders->list[0] : NULL;
	const Postern__V1__Use *use = first && first->n_uses > 0 ? first->uses[0] : NULL;
	char who[64] = "the kernel";
	size_t others = holders->n + holders->more;
	int len;

	if (!use) {
		(void)snprintf(text, size, "no holder was found");
		return;
	}
	if (first->pid > 0)
		(void)snprintf(who, sizeof(who), "%.20s (pid %d)",
			(const char *)first->command.data, first->pid);
	len = snprintf(
		text, size, "%s %s %.300s", who, in_words(use->kind), (const char *)use->path.data);
	if (others > 1 && len > 0 && (size_t)len < size)
		(void)snprintf(text + len, size - (size_t)len, ", and %zu more", others - 1);
}
