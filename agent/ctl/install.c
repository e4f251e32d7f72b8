/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* posternd install and uninstall: the service, for guests that no package manager looks after. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/ctl/ctl.h"
#include "agent/init_kind.h"
#include "proto/cleanup.h"
#include "proto/client/client.h"
#include "proto/log.h"

struct service_file {
	const char *from; /* below the data folder; NULL ends the list */
	const char *to;
	mode_t mode;
};

/* What each service manager needs: files to copy, the first of which is the service itself, and
 * commands to run. */
struct service {
	struct service_file files[4];
	const char *after_copy[4]; /* a command each, NULL where there is none */
	const char *enable[4];
	const char *start[4];
	const char *stop[5];
	const char *disable[4];
};

#define SYSTEMD_DIR "/etc/systemd/system/"

static const struct service systemd = {
	{
		{"posternd.service", SYSTEMD_DIR "posternd.service", 0644},
		{"postern-kmod.socket", SYSTEMD_DIR "postern-kmod.socket", 0644},
		{"postern-kmod@.service", SYSTEMD_DIR "postern-kmod@.service", 0644},
	},
	{"systemctl", "daemon-reload"},
	{"systemctl", "enable", "posternd.service"},
	{"systemctl", "restart", "posternd.service"},
	{"systemctl", "stop", "posternd.service", "postern-kmod.socket"},
	{"systemctl", "disable", "posternd.service"},
};

static const struct service openrc = {
	{{"posternd.initd", "/etc/init.d/posternd", 0755}},
	{0},
	{"rc-update", "add", "posternd"},
	{"rc-service", "posternd", "restart"},
	{"rc-service", "posternd", "stop"},
	{"rc-update", "del", "posternd"},
};

/* The service manager of this guest: the one that runs, else the one that is installed (an image
 * that is being built). */
static const struct service *find_service(bool *ret_running)
{
	enum init_kind kind = init_kind();

	*ret_running = kind == INIT_SYSTEMD || kind == INIT_OPENRC;
	if (kind == INIT_SYSTEMD || access("/lib/systemd/systemd", X_OK) == 0)
		return &systemd;
	if (kind == INIT_OPENRC || access("/sbin/openrc-run", X_OK) == 0)
		return &openrc;
	return NULL;
}

static int run(const char *const *command)
{
	pid_t pid;
	int status, r;

	if (!command[0])
		return 0;
	printf("%s %s %s\n", command[0], command[1] ? command[1] : "",
		command[2] ? command[2] : "");
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

/* Copies beside the target and renames: it is old or new, never half. */
static int copy_file(const char *from, const char *to, mode_t mode)
{
	AUTO_CLOSE int in = open(from, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int out = -EBADF;
	char fresh[512], chunk[8192];
	ssize_t n;

	if (in < 0)
		return -errno;
	(void)snprintf(fresh, sizeof(fresh), "%s.new", to);
	(void)unlink(fresh);
	out = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (out < 0)
		return -errno;
	while ((n = read(in, chunk, sizeof(chunk))) > 0)
		if (write(out, chunk, (size_t)n) != n) {
			n = -1;
			break;
		}
	if (n < 0 || fchmod(out, mode) < 0 || rename(fresh, to) < 0) {
		int r = -errno;

		(void)unlink(fresh);
		return r;
	}
	printf("installed %s\n", to);
	return 0;
}

static int copy_service_file(const struct service_file *file)
{
	char from[512];
	int r;

	(void)snprintf(from, sizeof(from), POSTERN_DATA_DIR "/%s", file->from);
	r = copy_file(from, file->to, file->mode);
	if (r < 0)
		log_error("%s to %s: %s", from, file->to, strerror(-r));
	return r;
}

int ctl_install(const char *settings, int argc, char **argv)
{
	bool start = !(argc == 2 && strcmp(argv[1], "--no-start") == 0), running;
	const struct service *service = find_service(&running);
	int r = 0;

	(void)settings;
	if (argc > 1 && start) {
		log_error("usage: posternd install [--no-start]");
		return POSTERN_USAGE;
	}
	if (!service) {
		log_error("neither systemd nor OpenRC is here; start posternd from your init");
		return POSTERN_ABSENT;
	}
	for (const struct service_file *file = service->files; file->from && r == 0; file++)
		r = copy_service_file(file);
	if (r < 0)
		return POSTERN_ANSWERED;
	if (running)
		r = run(service->after_copy);
	if (r == 0)
		r = run(service->enable);
	if (r == 0 && start && running)
		r = run(service->start);
	if (r == 0)
		puts(start && running ? "the agent is enabled and started"
				      : "the agent is enabled");
	return r < 0 ? POSTERN_ANSWERED : 0;
}

int ctl_uninstall(const char *settings, int argc, char **argv)
{
	const struct service *service;
	bool running;
	int r;

	(void)settings;
	(void)argv;
	service = find_service(&running);
	if (argc > 1 || !service) {
		log_error(argc > 1 ? "usage: posternd uninstall" : "no service manager is here");
		return argc > 1 ? POSTERN_USAGE : POSTERN_ABSENT;
	}
	if (access(service->files[0].to, F_OK) < 0) {
		log_error("%s: not installed", service->files[0].to);
		return POSTERN_ANSWERED;
	}
	if (running)
		(void)run(service->stop);
	r = run(service->disable);
	for (const struct service_file *file = service->files; file->from; file++) {
		if (unlink(file->to) < 0)
			r = -errno;
		else
			printf("removed %s\n", file->to);
	}
	if (running)
		(void)run(service->after_copy);
	return r < 0 ? POSTERN_ANSWERED : 0;
}
