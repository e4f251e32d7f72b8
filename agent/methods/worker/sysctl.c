/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define ROOT       "/proc/sys"
#define NAMES_MAX  64
#define VALUES_MAX 2048
#define NAME_MAX_  256
#define VALUE_MAX  4096
#define DEPTH_MAX  8

/* The path of a name below the root: dots and slashes change places, as sysctl(8) has it for names
 * of links with dots in them. 0 or -EINVAL. */
static int path_of(const char *name, char path[NAME_MAX_])
{
	size_t len = strlen(name);

	if (len == 0 || len >= NAME_MAX_ || name[0] == '.' || name[0] == '/' ||
		strstr(name, "..") || strstr(name, "//"))
		return -EINVAL;
	for (size_t i = 0; i <= len; i++)
		path[i] = name[i] == '.' ? '/' : name[i] == '/' ? '.' : name[i];
	return 0;
}

static int open_below(int root, const char *path, int flags)
{
	struct open_how how = {.flags = (unsigned int)flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* The patterns are the administrator's: words with spaces between. */
static bool is_allowed(struct call *call, const char *name)
{
	char *list = arena_strdup(call->arena, worker_facts(call)->sysctl_allow), *rest = NULL;

	for (char *word = list ? strtok_r(list, " \t", &rest) : NULL; word;
		word = strtok_r(NULL, " \t", &rest))
		if (fnmatch(word, name, 0) == 0)
			return true;
	return false;
}

static int read_value(struct call *call, int fd, ProtobufCBinaryData *ret)
{
	char value[VALUE_MAX];
	ssize_t n = pread(fd, value, sizeof(value), 0);

	if (n < 0)
		return -errno;
	while (n > 0 && value[n - 1] == '\n')
		n--;
	*ret = call_bytes(call, value, (size_t)n);
	return 0;
}

static int add_value(
	struct call *call, int root, const char *path, Postern__V1__SysctlGetReply *reply)
{
	AUTO_CLOSE int fd = open_below(root, path, O_RDONLY | O_NONBLOCK);
	Postern__V1__SysctlValue *value = arena_alloc(call->arena, sizeof(*value));

	if (!value)
		return -ENOMEM;
	if (reply->n_values == VALUES_MAX)
		return call_fail(call, POSTERN__V1__CODE__RESOURCE_EXHAUSTED, E2BIG,
			"names: more than %d values", VALUES_MAX);
	postern__v1__sysctl_value__init(value);
	value->name = arena_strdup(call->arena, path);
	if (!value->name)
		return -ENOMEM;
	for (char *at = value->name; *at; at++)
		*at = *at == '/' ? '.' : *at == '.' ? '/' : *at;
	value->has_value = fd >= 0 && read_value(call, fd, &value->value) == 0;
	value->has_settable = true;
	value->settable = is_allowed(call, value->name);
	reply->values[reply->n_values++] = value;
	return 0;
}

static int is_entry(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* All files below a folder, sorted. */
static int add_all(struct call *call, int root, const char *folder, unsigned int depth,
	Postern__V1__SysctlGetReply *reply)
{
	AUTO_CLOSE int fd = open_below(root, folder, O_RDONLY | O_DIRECTORY);
	struct dirent **entries = NULL;
	int n, r = 0;

	if (fd < 0)
		return fd;
	n = depth > DEPTH_MAX ? 0 : scandirat(fd, ".", &entries, is_entry, alphasort);
	for (int i = 0; i < n; i++) {
		char path[NAME_MAX_ * 2];

		(void)snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		if (r == 0 && strlen(path) < NAME_MAX_)
			r = entries[i]->d_type == DT_DIR
				    ? add_all(call, root, path, depth + 1, reply)
				    : add_value(call, root, path, reply);
		free(entries[i]);
	}
	free(entries);
	/* What only root may look into has nothing for us. */
	return r == -EACCES ? 0 : r;
}

static int add_named(
	struct call *call, int root, const char *name, Postern__V1__SysctlGetReply *reply)
{
	char path[NAME_MAX_];
	size_t len = strlen(name);
	struct stat st;
	int r = path_of(name, path);

	if (r < 0)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"names: \"%.64s\": expected one such as vm.swappiness", name);
	if (path[len - 1] == '/') {
		path[len - 1] = '\0';
		r = add_all(call, root, path, 0, reply);
	} else if (fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
		r = add_value(call, root, path, reply);
	} else {
		r = -ENOENT;
	}
	if (r == -ENOENT)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENOENT,
			"%.64s: this kernel has no such setting", name);
	return r;
}

int sysctl_get(struct call *call, const Postern__V1__SysctlGetRequest *request,
	Postern__V1__SysctlGetReply *reply)
{
	AUTO_CLOSE int root = open(ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	if (root < 0)
		return call_fail_errno(call, -errno, ROOT);
	if (request->n_names == 0 || request->n_names > NAMES_MAX)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"names: expected 1 to %d", NAMES_MAX);
	reply->values = arena_alloc(call->arena, VALUES_MAX * sizeof(*reply->values));
	if (!reply->values)
		return -ENOMEM;
	for (size_t i = 0; i < request->n_names && r == 0; i++)
		r = add_named(call, root, request->names[i], reply);
	return r;
}

int sysctl_set(struct call *call, const Postern__V1__SysctlSetRequest *request,
	Postern__V1__SysctlSetReply *reply)
{
	char *value =
		call_string(call, request->has_value, &request->value, VALUE_MAX - 1, "value");
	AUTO_CLOSE int root = open(ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = -EBADF;
	char path[NAME_MAX_];

	if (!value)
		return -EINVAL;
	if (!request->name || path_of(request->name, path) < 0)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"name: expected one such as vm.swappiness");
	if (!is_allowed(call, request->name))
		return call_fail(call, POSTERN__V1__CODE__PERMISSION_DENIED, 0,
			"%s: not among those that may be set (sysctl_allow in the guest's "
			"postern.conf)",
			request->name);
	fd = root < 0 ? -errno : open_below(root, path, O_RDWR | O_NONBLOCK);
	if (fd == -ENOENT)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENOENT,
			"%s: this kernel has no such setting", request->name);
	if (fd < 0)
		return call_fail_errno(call, fd, "%s", request->name);
	reply->has_before = read_value(call, fd, &reply->before) == 0;
	worker_changing(call);
	if (pwrite(fd, value, strlen(value), 0) < 0) {
		int r = -errno;

		call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
		return call_fail_errno(call, r, "%s", request->name);
	}
	reply->has_value = read_value(call, fd, &reply->value) == 0;
	return 0;
}
