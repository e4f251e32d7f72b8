/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exec.h"

#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#define CHANNEL 3

static int set_attributes(posix_spawnattr_t *attributes, bool own_group)
{
	short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	r = posix_spawnattr_setflags(
		attributes, (short)(flags | (own_group ? POSIX_SPAWN_SETPGROUP : 0)));
	if (r == 0)
		r = posix_spawnattr_setsigmask(attributes, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attributes, &all);
	return r;
}

int spawn_program(const char *path, char *const argv[], int channel, bool own_group, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (r != 0) {
		(void)posix_spawn_file_actions_destroy(&actions);
		return -r;
	}
	if (channel >= 0)
		r = posix_spawn_file_actions_adddup2(&actions, channel, CHANNEL);
	if (r == 0)
		r = set_attributes(&attributes, own_group);
	if (r == 0)
		r = posix_spawnp(ret_pid, path, &actions, &attributes, argv, environ);
	(void)posix_spawnattr_destroy(&attributes);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}
