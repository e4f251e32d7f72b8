/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/init/basics.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/log.h"
#include "proto/exec.h"
#include "proto/places.h"

#define MOUNTS_MAX 256

static const struct {
	const char *type, *target, *options;
	unsigned long flags;
} basics[] = {
	{"proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
	{"sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
	{"devtmpfs", "/dev", "mode=0755", MS_NOSUID},
	{"devpts", "/dev/pts", "mode=0620,ptmxmode=0666", MS_NOSUID | MS_NOEXEC},
	{"tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV},
	{"tmpfs", "/run", "mode=0755", MS_NOSUID | MS_NODEV},
	{"tmpfs", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV},
	{"cgroup2", "/sys/fs/cgroup", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
};

static void open_console(void)
{
	AUTO_CLOSE int console = open("/dev/console", O_RDWR | O_NOCTTY);

	for (int fd = 0; fd <= 2 && console >= 0; fd++)
		(void)dup2(console, fd);
	if (console >= 0 && console <= 2)
		(void)take_fd(&console);
}

/* As /etc/hostname has it. */
static void set_host_name(void)
{
	AUTO_FILE FILE *file = fopen("/etc/hostname", "re");
	char name[HOST_NAME_MAX + 2] = "postern-guest";

	if (file && fgets(name, sizeof(name), file))
		name[strcspn(name, "\n")] = '\0';
	if (sethostname(name, strlen(name)) < 0)
		log_warning("host name: %s", strerror(errno));
}

static void lift_loopback(void)
{
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = "lo"};

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return;
	request.ifr_flags |= IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		log_warning("lo cannot be brought up: %s", strerror(errno));
}

/* The one program that may load modules, with the list that it has of its own. */
static void load_modules(void)
{
	char program[PATH_MAX];
	char *argv[] = {program, (char *)"--boot", NULL};
	int status, r;
	pid_t pid;

	(void)snprintf(program, sizeof(program), "%s/postern-kmod", place_libexec);
	r = spawn_program(program, argv, -EBADF, false, &pid);
	if (r < 0) {
		log_error("%s: %s", program, strerror(-r));
		return;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
}

void basics_do(void)
{
	(void)umask(0022);
	for (size_t i = 0; i < ARRAY_SIZE(basics); i++) {
		(void)mkdir(basics[i].target, 0755);
		if (mount(basics[i].type, basics[i].target, basics[i].type, basics[i].flags,
			    basics[i].options) < 0 &&
			errno != EBUSY)
			log_warning("%s: %s", basics[i].target, strerror(errno));
	}
	open_console();
	(void)setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	/* Mounts are told to whoever asks for a namespace of their own, as elsewhere. */
	(void)mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL);
	set_host_name();
	lift_loopback();
	load_modules();
}

static bool is_basic(const char *target)
{
	for (size_t i = 0; i < ARRAY_SIZE(basics); i++)
		if (strcmp(basics[i].target, target) == 0)
			return true;
	return strcmp(target, "/") == 0;
}

void basics_undo(void)
{
	FILE *table = setmntent("/proc/self/mounts", "re");
	char *targets[MOUNTS_MAX];
	struct mntent *entry;
	size_t n = 0;

	while (table && n < MOUNTS_MAX && (entry = getmntent(table))) {
		targets[n] = strdup(entry->mnt_dir);
		n += targets[n] != NULL;
	}
	if (table)
		(void)endmntent(table);
	/* The last one mounted goes first. One that does not answer must not keep the guest up. */
	while (n-- > 0) {
		if (!is_basic(targets[n]) && umount2(targets[n], MNT_DETACH) < 0)
			log_warning("%s: %s", targets[n], strerror(errno));
		free(targets[n]);
	}
	(void)mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
}
