/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/process1.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/methods/systemd.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define MODE(name) POSTERN__V1__SHUTDOWN_MODE__##name
#define MODES      (MODE(HALT) + 1)

/* initctl(5): fixed size; the process that reads it takes nothing else. */
struct initctl_request {
	int32_t magic;
	int32_t command;
	int32_t runlevel;
	int32_t pause_s; /* between SIGTERM and SIGKILL */
	char data[368];
};

#define LISTEN_MS 5000 /* for process 1 to listen */
#define LOOK_NS   50000000

#define INITCTL_MAGIC    0x03091969
#define INITCTL_RUNLEVEL 1
#define INITCTL_SETENV   6
#define INITCTL_PAUSE_S  3 /* what telinit(8) asks for */

static int fifo = -EBADF; /* this process serves one request */

/* openrc-init makes its FIFO and listens only once the guest is up, and the agent is up before. */
static int open_fifo(const char *path)
{
	uint64_t until = monotonic_ns() + LISTEN_MS * NSEC_PER_MSEC;

	for (;;) {
		/* Without anybody at the other end this is -ENXIO, and does not wait. */
		fifo = open(path, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
		if (fifo >= 0)
			return 0;
		if ((errno != ENOENT && errno != ENXIO) || monotonic_ns() >= until)
			return -errno;
		(void)nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
	}
}

/* No more than PIPE_BUF bytes: they go as a whole or not at all. */
static int write_fifo(const void *bytes, size_t len)
{
	ssize_t n = write(fifo, bytes, len);

	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EIO;
}

static int ask_systemd(Postern__V1__ShutdownMode mode)
{
	static const char *const targets[MODES] = {[MODE(POWER_OFF)] = "poweroff.target",
		[MODE(REBOOT)] = "reboot.target",
		[MODE(HALT)] = "halt.target"};

	return systemd_start_for_good(targets[mode]);
}

/* Runlevel 0 is the end of both; its scripts look into the variable for which one. */
static int ask_sysvinit(Postern__V1__ShutdownMode mode)
{
	static const char *const ends[MODES] = {
		[MODE(POWER_OFF)] = "INIT_HALT=POWEROFF", [MODE(HALT)] = "INIT_HALT=HALT"};
	struct initctl_request request = {.magic = INITCTL_MAGIC, .command = INITCTL_SETENV};
	int r = 0;

	_Static_assert(sizeof(request) == 384, "initctl(5)");
	if (ends[mode]) {
		memcpy(request.data, ends[mode], strlen(ends[mode]));
		r = write_fifo(&request, sizeof(request));
	}
	request = (struct initctl_request){.magic = INITCTL_MAGIC,
		.command = INITCTL_RUNLEVEL,
		.runlevel = mode == MODE(REBOOT) ? '6' : '0',
		.pause_s = INITCTL_PAUSE_S};
	return r < 0 ? r : write_fifo(&request, sizeof(request));
}

static int ask_openrc(Postern__V1__ShutdownMode mode)
{
	static const char *const words[MODES] = {
		[MODE(POWER_OFF)] = "poweroff", [MODE(REBOOT)] = "reboot", [MODE(HALT)] = "halt"};
	int r = write_fifo(words[mode], strlen(words[mode]));

	/* It reads up to the end of file. */
	fifo = fd_close(fifo);
	return r;
}

static int signal_it(Postern__V1__ShutdownMode mode)
{
	static const int signals[MODES] = {
		[MODE(POWER_OFF)] = SIGUSR2, [MODE(REBOOT)] = SIGTERM, [MODE(HALT)] = SIGUSR1};

	return kill(1, signals[mode]) < 0 ? -errno : 0;
}

int process1_prepare(enum init_kind kind)
{
	switch (kind) {
	case INIT_SYSTEMD:
		return systemd_available();
	case INIT_SYSVINIT:
		return open_fifo(INIT_SYSVINIT_FIFO);
	case INIT_OPENRC:
		return open_fifo(INIT_OPENRC_FIFO);
	case INIT_POSTERN:
	case INIT_BUSYBOX:
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

int process1_bring_down(enum init_kind kind, Postern__V1__ShutdownMode mode)
{
	switch (kind) {
	case INIT_SYSTEMD:
		return ask_systemd(mode);
	case INIT_SYSVINIT:
		return ask_sysvinit(mode);
	case INIT_OPENRC:
		return ask_openrc(mode);
	default:
		return signal_it(mode);
	}
}
