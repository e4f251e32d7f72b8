/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/methods/holder_search.h"
#include "agent/methods/mount_entry.h"
#include "proto/cleanup.h"

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
		search_add(search, process, POSTERN__V1__USE_KIND__OPEN_FILE, path,
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
		search_add(search, process, places[i].kind, path, -1);
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
		search_add(search, process, POSTERN__V1__USE_KIND__MAPPING, path, -1);
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

/* True for a mount namespace that is not our own and was not looked at yet; it is from now on. */
static bool is_new(struct search *search, ino_t namespace)
{
	size_t n = search->namespaces_n;

	if (namespace == search->own_namespace)
		return false;
	for (size_t i = 0; i < n; i++)
		if (search->namespaces[i] == namespace)
			return false;
	/* A power of two: all that there is room for is taken. */
	if ((n & (n - 1)) == 0) {
		ino_t *more = n < NAMESPACES_MAX ? reallocarray(search->namespaces, n ? n * 2 : 1,
							   sizeof(*more))
						 : NULL;

		if (!more) {
			search->failed = true;
			return false;
		}
		search->namespaces = more;
	}
	search->namespaces[search->namespaces_n++] = namespace;
	return true;
}

/* The same file system in the table of another mount namespace. */
static void look_at_namespace(struct search *search, const struct process *process)
{
	struct libmnt_table *table = NULL;
	struct libmnt_iter *iter;
	struct libmnt_fs *fs;
	struct stat st;
	int fd;

	if (fstatat(process->dir, "ns/mnt", &st, 0) < 0 || !is_new(search, st.st_ino))
		return;
	fd = openat(process->dir, "mountinfo", O_RDONLY | O_CLOEXEC);
	iter = mnt_new_iter(MNT_ITER_FORWARD);
	if (fd >= 0 && iter && mount_table_read(fd, &table) == 0)
		while (mnt_table_next_fs(table, iter, &fs) == 0)
			if (mnt_fs_get_devno(fs) == makedev(search->major, search->minor) &&
				!follows_ours(search, fs))
				search_add(search, process, POSTERN__V1__USE_KIND__MOUNT_NAMESPACE,
					mnt_fs_get_target(fs), -1);
	mnt_unref_table(table);
	mnt_free_iter(iter);
	(void)fd_close(fd);
}

void search_process(struct search *search, const struct process *process)
{
	look_at_files(search, process);
	look_at_places(search, process);
	look_at_mappings(search, process);
	look_at_namespace(search, process);
}
