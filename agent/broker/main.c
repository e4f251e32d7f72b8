/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* posternd: the agent's broker. Any other word than an option is a command of postern-ctl. */
#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/broker/broker.h"
#include "agent/broker/freeze.h"
#include "agent/broker/generation.h"
#include "agent/broker/keeper.h"
#include "agent/broker/sources.h"
#include "agent/broker/stop.h"
#include "agent/broker/wake.h"
#include "agent/broker/watcher.h"
#include "agent/init_kind.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define NOBODY 65534

static struct broker broker;

static void usage(void)
{
	puts("Usage: posternd [--config FILE]                       run the agent\n"
	     "       posternd [--config FILE] COMMAND [ARGUMENTS]   ask the agent; posternd help\n"
	     "                                                      lists commands\n"
	     "\n"
	     "  -c, --config FILE   settings (default " CONFIG_DEFAULT_FILE ")\n"
	     "  -h, --help          this text\n"
	     "  -V, --version       the version\n"
	     "\n"
	     "Settings are KEY = VALUE lines; postern.KEY=VALUE on the kernel command line wins.\n"
	     "posternd check-config prints them all. See posternd(8).");
}

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	if (read(io->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		stop_begin(&broker);
}

static int watch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	broker.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (broker.signals < 0)
		return -errno;
	broker.signal_io.fn = on_signal;
	return loop_io_add(&broker.loop, &broker.signal_io, broker.signals, EPOLLIN);
}

/* The user of unprivileged roles, from /etc/passwd alone: no name service is asked. */
static void find_user(void)
{
	AUTO_FILE FILE *file = fopen("/etc/passwd", "re");
	struct passwd *user;

	broker.uid = broker.gid = NOBODY;
	while (file && (user = fgetpwent(file)))
		if (strcmp(user->pw_name, broker.config.user) == 0 && user->pw_uid != 0 &&
			user->pw_gid != 0) {
			broker.uid = user->pw_uid;
			broker.gid = user->pw_gid;
			return;
		}
	log_debug("no user %s: unprivileged parts run as %d", broker.config.user, NOBODY);
}

static int make_dir(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) < 0 && errno != EEXIST) {
		log_error("%s: %s", path, strerror(errno));
		return -errno;
	}
	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != 0) {
		log_error("%s: expected a folder of root", path);
		return -ENOTDIR;
	}
	return 0;
}

static int configure(const char *file, bool chosen)
{
	char problem[512];
	int r;

	config_init(&broker.config);
	r = config_read_file(&broker.config, file, problem, sizeof(problem));
	if (r == -ENOENT && !chosen)
		r = 0;
	if (r == 0)
		r = config_read_cmdline(&broker.config, "/proc/cmdline", problem, sizeof(problem));
	if (r == 0)
		r = policy_read(&broker.policy, broker.config.policy_dir, problem, sizeof(problem));
	if (r < 0)
		log_error("%s", problem);
	log_open("posternd", broker.config.log_level);
	return r;
}

static int set_up(void)
{
	int r;

	list_init(&broker.children);
	list_init(&broker.pending);
	list_init(&broker.sessions);
	list_init(&broker.lanes);
	list_init(&broker.calls);
	list_init(&broker.channels);
	list_init(&broker.jobs);
	for (int i = 0; i < PEER_LISTENERS; i++)
		listener_init(&broker.listeners[i]);
	broker.ready_socket = broker.wake = -EBADF;
	find_user();
	(void)umask(0022);
	r = make_dir(broker.config.run_dir, 0755);
	(void)snprintf(
		broker.empty_dir, sizeof(broker.empty_dir), "%s/empty", broker.config.run_dir);
	if (r == 0)
		r = make_dir(broker.empty_dir, 0555);
	if (r == 0)
		r = generation_init(&broker);
	if (r == 0)
		r = sources_open(&broker);
	if (r < 0)
		return r;
	memcpy(broker.worker_facts.run_dir, broker.config.run_dir, sizeof(broker.config.run_dir));
	memcpy(broker.worker_facts.state_dir, broker.config.state_dir,
		sizeof(broker.config.state_dir));
	memcpy(broker.worker_facts.sysctl_allow, broker.config.sysctl_allow,
		sizeof(broker.config.sysctl_allow));
	broker.worker_facts.renew_machine_id = broker.config.renew_machine_id;
	memcpy(broker.worker_facts.hooks_dir, broker.config.hooks_dir,
		sizeof(broker.config.hooks_dir));
	memcpy(broker.worker_facts.files_roots, broker.config.files_roots,
		sizeof(broker.config.files_roots));
	memcpy(broker.worker_facts.disks_folders, broker.config.disks_folders,
		sizeof(broker.config.disks_folders));
	memcpy(broker.worker_facts.disks_repository, broker.config.disks_repository,
		sizeof(broker.config.disks_repository));
	(void)snprintf(broker.facts.agent_version, sizeof(broker.facts.agent_version), "%s",
		POSTERN_VERSION);
	(void)snprintf(
		broker.facts.init, sizeof(broker.facts.init), "%s", init_kind_name(init_kind()));
	broker.facts.started_ns = clock_ns(CLOCK_BOOTTIME);
	broker.facts.max_frame = FRAME_DEFAULT_MAX;
	r = loop_init(&broker.loop);
	if (r == 0)
		r = keeper_start(&broker);
	if (r == 0)
		r = watch_signals();
	if (r < 0)
		log_error("cannot start: %s", strerror(-r));
	return r;
}

/* Installed in libexec; in a build tree, and in a guest that was put together by hand, beside us;
 * in a tree that was installed elsewhere, in its libexec. */
static int run_ctl(char **argv)
{
	char path[512], self[400] = "";
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0)
		*strrchr(self, '/') = '\0';
	config_init(&broker.config);
	(void)snprintf(path, sizeof(path), "%s/postern-ctl", broker.config.libexec_dir);
	(void)execv(path, argv);
	(void)snprintf(path, sizeof(path), "%s/postern-ctl", self);
	(void)execv(path, argv);
	(void)snprintf(path, sizeof(path), "%s/../libexec/postern/postern-ctl", self);
	(void)execv(path, argv);
	log_error("%s/postern-ctl: %s", broker.config.libexec_dir, strerror(errno));
	return 4;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0}};
	const char *file = CONFIG_DEFAULT_FILE;
	int option, r;

	log_open("posternd", LOG_LEVEL_INFO);
	while ((option = getopt_long(argc, argv, "+c:hV", options, NULL)) >= 0) {
		if (option == 'h' || option == 'V') {
			option == 'h' ? usage() : (void)puts("posternd " POSTERN_VERSION);
			return 0;
		}
		if (option != 'c')
			return 2;
		file = optarg;
	}
	if (optind == 1 && argc == 5 && strcmp(argv[1], role_name(ROLE_KMOD)) == 0)
		return keeper_main(argv[4]);
	if (optind < argc)
		return run_ctl(argv);
	if (geteuid() != 0) {
		log_error("the agent must be started by root; it gives up what it does not need");
		return 1;
	}
	log_never_wait();
	if (configure(file, strcmp(file, CONFIG_DEFAULT_FILE) != 0) < 0 || set_up() < 0)
		return 1;
	wake_start(&broker);
	watcher_start(&broker);
	freeze_start(&broker);
	r = loop_run(&broker.loop);
	stop_end(&broker);
	return r < 0 ? 1 : r;
}
