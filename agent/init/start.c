/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/init/start.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/log.h"
#include "proto/exec.h"

#define START_DIR "/etc/postern/start.d"

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void start(const char *path)
{
	char *argv[] = {(char *)path, NULL};
	pid_t pid;
	int r = spawn_program(path, argv, -EBADF, true, &pid);

	if (r < 0)
		log_error("%s: %s", path, strerror(-r));
}

void start_programs(void)
{
	struct dirent **entries;
	int n = scandir(START_DIR, &entries, is_visible, alphasort);

	if (n < 0)
		return;
	for (int i = 0; i < n; i++) {
		char path[512];

		(void)snprintf(path, sizeof(path), START_DIR "/%s", entries[i]->d_name);
		if (access(path, X_OK) == 0)
			start(path);
		free(entries[i]);
	}
	free(entries);
}
