/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cleanup.h"

#define NOGROUP   65534
#define ENTRY_MAX 65536 /* bytes of one entry; groups can be large */

/* A whole decimal number below 2^32-1, which stands for "none" (chown(2)). */
static bool parse_id(const char *text, uint32_t *ret)
{
	unsigned long long value;
	char *end;

	if (text[0] < '0' || text[0] > '9' || strlen(text) > 10)
		return false;
	value = strtoull(text, &end, 10);
	*ret = (uint32_t)value;
	return *end == '\0' && value < UINT32_MAX;
}

/* Not found is no error of the name service, though some say so (getpwnam_r(3)). */
static int why(int error)
{
	return error == 0 || error == ESRCH || error == EBADF || error == EPERM ? -ENOENT : -error;
}

static int add_groups(struct account *account)
{
	int n = ACCOUNT_GROUPS_MAX;

	if (getgrouplist(account->name, account->gid, account->groups, &n) < 0)
		return -E2BIG;
	account->groups_n = (size_t)n;
	return 0;
}

static int take_entry(struct arena *arena, const struct passwd *entry, struct account *ret)
{
	ret->uid = entry->pw_uid;
	ret->gid = entry->pw_gid;
	ret->name = arena_strdup(arena, entry->pw_name);
	ret->home = arena_strdup(arena, entry->pw_dir[0] ? entry->pw_dir : "/");
	ret->shell = arena_strdup(arena, entry->pw_shell[0] ? entry->pw_shell : "/bin/sh");
	return ret->name && ret->home && ret->shell ? 0 : -ENOMEM;
}

int account_root(struct arena *arena, struct account *ret)
{
	static char name[] = "root", home[] = "/root", shell[] = "/bin/sh";
	const struct passwd none = {.pw_name = name, .pw_dir = home, .pw_shell = shell};
	AUTO_FILE FILE *file = fopen("/etc/passwd", "re");
	const struct passwd *entry = NULL;

	*ret = (struct account){.groups = {0}, .groups_n = 1};
	while (file && (entry = fgetpwent(file)) && entry->pw_uid != 0)
		;
	return take_entry(arena, entry ? entry : &none, ret);
}

int account_find(struct arena *arena, const char *user, struct account *ret)
{
	char *buffer = arena_alloc(arena, ENTRY_MAX);
	struct passwd entry, *found = NULL;
	uint32_t number = 0;
	bool numeric = parse_id(user, &number);
	int error;

	if (!buffer)
		return -ENOMEM;
	*ret = (struct account){0};
	error = getpwnam_r(user, &entry, buffer, ENTRY_MAX, &found);
	if (!found && numeric)
		error = getpwuid_r(number, &entry, buffer, ENTRY_MAX, &found);
	if (found)
		return take_entry(arena, found, ret) ?: add_groups(ret);
	if (!numeric)
		return why(error);
	/* Its own number may be a group that has rights. */
	ret->uid = number;
	ret->gid = NOGROUP;
	ret->name = arena_strdup(arena, user);
	ret->home = "/";
	ret->shell = "/bin/sh";
	return ret->name ? 0 : -ENOMEM;
}

int account_group(const char *group, gid_t *ret)
{
	static char buffer[ENTRY_MAX];
	struct group entry, *found = NULL;
	uint32_t number = 0;
	int error = getgrnam_r(group, &entry, buffer, sizeof(buffer), &found);

	if (found)
		*ret = found->gr_gid;
	else if (parse_id(group, &number))
		*ret = number;
	else
		return why(error);
	return 0;
}
