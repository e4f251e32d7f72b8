/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/environment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/text.h"
#include "host/common/vm_files.h"

#define SOCKET_SUFFIX "/" VM_FILE_VSOCK "_4294967295" /* the longest that must fit sun_path */
#define SUN_PATH_MAX  107

int env_base(char ret_base[PATH_MAX], struct postern_error *error)
{
	const char *own = getenv("POSTERN_RUNTIME_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (own && own[0] == '/')
		n = snprintf(ret_base, PATH_MAX, "%s", own);
	else if (geteuid() == 0)
		n = snprintf(ret_base, PATH_MAX, "/run/postern-host");
	else if (xdg && xdg[0] == '/')
		n = snprintf(ret_base, PATH_MAX, "%s/postern", xdg);
	else
		return fail(error, POSTERN_USAGE, ENOENT,
			"no folder for running VMs: XDG_RUNTIME_DIR and POSTERN_RUNTIME_DIR are "
			"unset");
	if (n >= PATH_MAX || (size_t)n + strlen(SOCKET_SUFFIX) + 2 > SUN_PATH_MAX)
		return fail(error, POSTERN_USAGE, ENAMETOOLONG,
			"%s is too long for the names of sockets in it", ret_base);
	return 0;
}

/* It has no name, and one that people can type. */
static const char *real_name(const char *env)
{
	return strcmp(env, "default") == 0 ? "" : env;
}

const char *env_default(void)
{
	const char *env = getenv("POSTERN_ENV");

	return env ? real_name(env) : "";
}

static int check_env(const char *env, struct postern_error *error)
{
	if (!env[0] || vm_name_valid(env))
		return 0;
	return fail(error, POSTERN_USAGE, EINVAL,
		"an environment's name has 1 to %d of a-z, 0-9, dot, underscore and dash, and "
		"begins "
		"with a letter or digit",
		VM_NAME_MAX);
}

int env_split(const char *name, char ret_env[64], char ret_name[64], struct postern_error *error)
{
	const char *slash = strchr(name, '/'), *env = env_default();
	size_t len = slash ? (size_t)(slash - name) : strlen(env);

	/* What is too long for a name is none when it is cut, either. */
	(void)snprintf(ret_env, 64, "%.*s%s", (int)(len < 64 ? len : 0), slash ? name : env,
		len < 64 ? "" : "?");
	if (!real_name(ret_env)[0])
		ret_env[0] = '\0';
	name = slash ? slash + 1 : name;
	(void)snprintf(ret_name, 64, "%s", strlen(name) < 64 ? name : "?");
	return check_env(ret_env, error);
}

/* 0; 1 where it is not there; -errno, also where somebody else owns it or others may enter. */
static int look_at_root(const char *root, struct postern_error *error)
{
	struct stat st;

	if (lstat(root, &st) < 0)
		return errno == ENOENT ? 1 : fail_errno(error, POSTERN_ANSWERED, errno, "%s", root);
	/* Others could plant a VM there, or reach into ours. */
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		return fail(error, POSTERN_REFUSED, EPERM,
			"%s must be a folder of ours that nobody else can enter (mode 0700)", root);
	return 0;
}

int env_root(const char *env, bool make, char root[PATH_MAX], struct postern_error *error)
{
	char base[PATH_MAX];
	int n, r = env_base(base, error);

	env = real_name(env);
	if (r == 0)
		r = check_env(env, error);
	if (r < 0)
		return r;
	n = env[0] ? snprintf(root, PATH_MAX, "%.4000s/%c%s", base, ENV_MARK, env)
		   : snprintf(root, PATH_MAX, "%s", base);
	if ((size_t)n + strlen(SOCKET_SUFFIX) + 2 > SUN_PATH_MAX)
		return fail(error, POSTERN_USAGE, ENAMETOOLONG,
			"%s is too long for the names of sockets in it", root);
	r = make ? make_dirs(root) : 0;
	if (r < 0)
		return fail_errno(error, POSTERN_ANSWERED, -r, "%s", root);
	r = look_at_root(base, error);
	return r != 0 ? r : look_at_root(root, error);
}
