/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/init_kind.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/cleanup.h"

const char *init_kind_name(enum init_kind kind)
{
	static const char *const names[INIT_KIND_COUNT] = {[INIT_OTHER] = "other",
		[INIT_SYSTEMD] = "systemd",
		[INIT_POSTERN] = "postern-init",
		[INIT_SYSVINIT] = "sysvinit",
		[INIT_OPENRC] = "openrc-init",
		[INIT_BUSYBOX] = "busybox"};

	return names[kind];
}

/* Its name for ps(1): at most 15 bytes. */
static void read_name(char *ret_name, int size)
{
	AUTO_FILE FILE *file = fopen("/proc/1/comm", "re");

	if (!file || !fgets(ret_name, size, file))
		ret_name[0] = '\0';
	ret_name[strcspn(ret_name, "\n")] = '\0';
}

/* /proc/1/exe would need a right; the program's link does not. */
static bool init_is_busybox(void)
{
	AUTO_FREE char *path = realpath("/sbin/init", NULL);
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash && strcmp(slash + 1, "busybox") == 0;
}

static bool is_fifo(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISFIFO(st.st_mode);
}

enum init_kind init_kind(void)
{
	char name[32];

	/* The folder is there for exactly this question (sd_booted(3)). */
	if (access("/run/systemd/system", F_OK) == 0)
		return INIT_SYSTEMD;
	read_name(name, sizeof(name));
	if (strcmp(name, "postern-init") == 0)
		return INIT_POSTERN;
	if (strcmp(name, "openrc-init") == 0)
		return INIT_OPENRC;
	if (strcmp(name, "busybox") == 0)
		return INIT_BUSYBOX;
	if (strcmp(name, "init") != 0)
		return INIT_OTHER;
	if (init_is_busybox())
		return INIT_BUSYBOX;
	return is_fifo(INIT_SYSVINIT_FIFO) ? INIT_SYSVINIT : INIT_OTHER;
}
