/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/tools.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/common/file.h"
#include "proto/cleanup.h"
#include "proto/places.h"

static char *if_runs(char *path)
{
	if (path && access(path, X_OK) == 0)
		return path;
	free(path);
	return NULL;
}

/* The shared library, where this is in one. */
static bool find_library(char path[PATH_MAX])
{
	Dl_info info;

	return dladdr(__extension__(void *) find_library, &info) != 0 && info.dli_fname &&
	       strstr(info.dli_fname, "/libpostern.so") && realpath(info.dli_fname, path);
}

char *tool_self_dir(void)
{
	char self[PATH_MAX];
	ssize_t n;

	if (!find_library(self)) {
		n = readlink("/proc/self/exe", self, sizeof(self) - 1);
		if (n <= 0)
			return NULL;
		self[n] = '\0';
	}
	*strrchr(self, '/') = '\0';
	return strdup(self);
}

char *tool_own(const char *name)
{
	/* As make lays them out, and as make install does, wherever the whole was moved to. */
	static const char *const near[] = {"", "/../libexec/postern", "/../sbin"};
	const char *dir = getenv("POSTERN_LIBEXEC_DIR");
	AUTO_FREE char *self = tool_self_dir();
	char *found = dir ? if_runs(text_format("%s/%s", dir, name)) : NULL;

	for (size_t i = 0; self && !found && i < ARRAY_SIZE(near); i++)
		found = if_runs(text_format("%s%s/%s", self, near[i], name));
	if (!found)
		found = if_runs(text_format("%s/%s", place_libexec, name));
	return found ? found : if_runs(text_format("%s/%s", place_sbin, name));
}

char *tool_virtiofsd(void)
{
	static const char *const places[] = {"/usr/libexec/virtiofsd", "/usr/lib/virtiofsd",
		"/usr/lib/qemu/virtiofsd", "/usr/libexec/qemu/virtiofsd"};
	const char *own = getenv("POSTERN_VIRTIOFSD");

	if (own)
		return own[0] ? strdup(own) : NULL;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i], X_OK) == 0)
			return strdup(places[i]);
	return NULL;
}

char *tool_cache_dir(void)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	if (xdg && xdg[0] == '/')
		return text_format("%s/postern", xdg);
	if (geteuid() == 0)
		return strdup("/var/cache/postern");
	return home && home[0] == '/' ? text_format("%s/.cache/postern", home) : NULL;
}
