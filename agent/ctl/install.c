/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* posternd install and uninstall: the service, for guests that no package manager looks after. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ctl/ctl.h"
#include "agent/ctl/service.h"
#include "agent/policy/policy.h"
#include "proto/cleanup.h"
#include "proto/client/client.h"
#include "proto/log.h"
#include "proto/places.h"
#include "proto/replace.h"

#define FILE_MAX (64u << 10) /* of a service file */

/* The root, and a service manager: else the exit code that says so. */
static int find_service(const struct service **ret_service, bool *ret_running)
{
	if (geteuid() != 0) {
		log_error("only root may do this");
		return POSTERN_REFUSED;
	}
	*ret_service = service_find(ret_running);
	if (*ret_service)
		return POSTERN_DONE;
	log_error("neither systemd nor OpenRC is here; have your init run posternd");
	return POSTERN_ABSENT;
}

static void source_path(const struct service_file *file, char path[PATH_MAX])
{
	(void)snprintf(path, PATH_MAX, "%s/%s", place_data, file->from);
}

static int need(const char *path, int mode)
{
	if (access(path, mode) == 0)
		return 0;
	log_error("%s: %s", path, strerror(errno));
	return -ENOENT;
}

/* Everything that a start needs: what is missing is said, all of it, and nothing is changed then.
 */
static int check_pieces(const struct service *service)
{
	static const char *const programs[] = {"postern-session", "postern-watch", "postern-worker",
		"postern-job", "postern-kmod"};
	struct policy policy = {0};
	struct config config;
	char path[PATH_MAX], problem[512];
	/* As a start would read them. */
	int r = ctl_settings(NULL, &config) == POSTERN_DONE ? 0 : -EINVAL;

	if (r == 0 && policy_read(&policy, config.policy_dir, problem, sizeof(problem)) < 0) {
		log_error("%s", problem);
		r = -EINVAL;
	}
	policy_clear(&policy);
	/* As the service files have it. */
	(void)snprintf(path, sizeof(path), "%s/posternd", place_sbin);
	if (need(path, X_OK) < 0)
		r = -ENOENT;
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", config.libexec_dir, programs[i]);
		if (need(path, X_OK) < 0)
			r = -ENOENT;
	}
	for (const struct service_file *file = service->files; file->from; file++) {
		source_path(file, path);
		if (need(path, R_OK) < 0)
			r = -ENOENT;
	}
	if (r < 0)
		log_error("the agent is not complete, or could not start: nothing was installed");
	return r;
}

/* The bytes of a small file. -EFBIG: not a small one. */
static ssize_t read_small(const char *path, char bytes[FILE_MAX])
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = 0, n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, bytes + len, FILE_MAX - (size_t)len)) > 0)
		len += n;
	if (n < 0)
		return -errno;
	return len < FILE_MAX ? len : -EFBIG;
}

static int install_file(const struct service_file *file)
{
	AUTO_FREE char *bytes = malloc(FILE_MAX), *there = malloc(FILE_MAX);
	char from[PATH_MAX];
	ssize_t len;
	int r;

	if (!bytes || !there)
		return -ENOMEM;
	source_path(file, from);
	len = read_small(from, bytes);
	if (len >= 0 && read_small(file->to, there) == len &&
		memcmp(there, bytes, (size_t)len) == 0) {
		printf("unchanged %s\n", file->to);
		return 0;
	}
	r = len < 0 ? (int)len : replace_file(AT_FDCWD, file->to, file->mode, bytes, (size_t)len);
	if (r < 0)
		log_error("%s to %s: %s", from, file->to, strerror(-r));
	else
		printf("installed %s\n", file->to);
	return r;
}

static bool is_installed(const struct service *service)
{
	for (const struct service_file *file = service->files; file->from; file++)
		if (access(file->to, F_OK) == 0)
			return true;
	return false;
}

int ctl_install(const char *settings, int argc, char **argv)
{
	bool start = !(argc == 2 && strcmp(argv[1], "--no-start") == 0), running;
	const struct service *service;
	int r;

	(void)settings;
	if (argc > 1 && start) {
		log_error("usage: posternd install [--no-start]");
		return POSTERN_USAGE;
	}
	r = find_service(&service, &running);
	if (r != POSTERN_DONE)
		return r;
	r = check_pieces(service);
	for (const struct service_file *file = service->files; file->from && r == 0; file++)
		r = install_file(file);
	if (r == 0 && running)
		r = service_run(service->reload);
	if (r == 0)
		r = service_run(service->enable);
	if (r == 0 && start && running)
		r = service_run(service->start);
	if (r < 0)
		return POSTERN_ANSWERED;
	printf("the agent is enabled%s (%s)\n", start && running ? " and started" : "",
		service->manager);
	return POSTERN_DONE;
}

int ctl_uninstall(const char *settings, int argc, char **argv)
{
	const struct service *service;
	bool running;
	int r, code;

	(void)settings;
	(void)argv;
	if (argc > 1) {
		log_error("usage: posternd uninstall");
		return POSTERN_USAGE;
	}
	code = find_service(&service, &running);
	if (code != POSTERN_DONE)
		return code;
	if (!is_installed(service)) {
		printf("the service is not installed: nothing to do (%s)\n", service->manager);
		return POSTERN_DONE;
	}
	r = running ? service_run(service->stop) : 0;
	if (service_run(service->disable) < 0)
		r = -EIO;
	for (const struct service_file *file = service->files; file->from; file++) {
		if (unlink(file->to) == 0) {
			printf("removed %s\n", file->to);
		} else if (errno != ENOENT) {
			r = -errno;
			log_error("%s: %s", file->to, strerror(errno));
		}
	}
	if (running && service_run(service->reload) < 0)
		r = -EIO;
	if (r < 0)
		return POSTERN_ANSWERED;
	printf("the agent's service is removed; its programs, settings and state are left (%s)\n",
		service->manager);
	return POSTERN_DONE;
}
