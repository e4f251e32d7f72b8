/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/ctl/service.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/init_kind.h"
#include "proto/log.h"

#define SYSTEMD_DIR "/etc/systemd/system/"

static const struct service systemd = {
	.manager = "systemd",
	.files =
		{
			{"posternd.service", SYSTEMD_DIR "posternd.service", 0644},
			{"postern-kmod.socket", SYSTEMD_DIR "postern-kmod.socket", 0644},
			{"postern-kmod@.service", SYSTEMD_DIR "postern-kmod@.service", 0644},
			{"postern-job.socket", SYSTEMD_DIR "postern-job.socket", 0644},
			{"postern-job@.service", SYSTEMD_DIR "postern-job@.service", 0644},
			{"postern-share@.service", SYSTEMD_DIR "postern-share@.service", 0644},
		},
	.reload = {"systemctl", "daemon-reload"},
	.enable = {"systemctl", "enable", "posternd.service"},
	.start = {"systemctl", "restart", "posternd.service"},
	.stop = {"systemctl", "stop", "posternd.service", "postern-kmod.socket",
		"postern-job.socket"},
	.disable = {"systemctl", "disable", "posternd.service"},
};

static const struct service openrc = {
	.manager = "OpenRC",
	.files = {{"posternd.initd", "/etc/init.d/posternd", 0755}},
	.enable = {"rc-update", "add", "posternd", "default"},
	.start = {"rc-service", "posternd", "restart"},
	.stop = {"rc-service", "posternd", "stop"},
	.disable = {"rc-update", "del", "posternd", "default"},
};

/* OpenRC writes it when it enters a runlevel; in an image its folder may exist all the same. */
static bool openrc_runs(void)
{
	return access("/run/openrc/softlevel", F_OK) == 0;
}

const struct service *service_find(bool *ret_running)
{
	*ret_running = true;
	if (init_kind() == INIT_SYSTEMD)
		return &systemd;
	if (openrc_runs())
		return &openrc;
	*ret_running = false;
	if (access("/lib/systemd/systemd", X_OK) == 0)
		return &systemd;
	if (access("/sbin/openrc-run", X_OK) == 0)
		return &openrc;
	return NULL;
}

int service_run(const char *const command[SERVICE_WORDS])
{
	pid_t pid;
	int status, r;

	if (!command[0])
		return 0;
	for (size_t i = 0; i < SERVICE_WORDS && command[i]; i++)
		printf("%s%s", i > 0 ? " " : "", command[i]);
	(void)putchar('\n');
	(void)fflush(stdout);
	r = posix_spawnp(&pid, command[0], NULL, NULL, (char **)command, environ);
	if (r != 0) {
		log_error("%s: %s", command[0], strerror(r));
		return -r;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}
