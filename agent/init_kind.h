/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What runs as process 1, for everything that differs by it. */
#pragma once

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum init_kind { INIT_OTHER, INIT_SYSTEMD, INIT_POSTERN, INIT_OPENRC };

static inline const char *init_kind_name(enum init_kind kind)
{
	static const char *const names[] = {"other", "systemd", "postern-init", "openrc"};

	return names[kind];
}

/* systemd and OpenRC leave a folder for exactly this question (sd_booted(3)); ours has its name. */
static inline enum init_kind init_kind(void)
{
	char name[32] = "";
	FILE *file;

	if (access("/run/systemd/system", F_OK) == 0)
		return INIT_SYSTEMD;
	if (access("/run/openrc", F_OK) == 0)
		return INIT_OPENRC;
	file = fopen("/proc/1/comm", "re");
	if (file) {
		if (!fgets(name, sizeof(name), file))
			name[0] = '\0';
		(void)fclose(file);
	}
	/* comm holds 15 bytes; the program is started as /init too. */
	if (strcmp(name, "postern-init\n") == 0)
		return INIT_POSTERN;
	return INIT_OTHER;
}
