/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* postern-vsockd: a virtio-vsock device for one virtual machine, as a vhost-user back-end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "host/vsockd/device.h"
#include "host/vsockd/uds.h"
#include "host/vsockd/options.h"
#include "proto/cleanup.h"
#include "proto/log.h"

/* Descriptors beside those of flows: rings, listeners, the front-end's messages. */
#define OTHER_FDS 64U

struct program {
	struct options options;
	struct device device;
	struct loop_io signals;
	bool have_front_socket, have_uds; /* files to remove at the end */
};

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct program *program = container_of(io, struct program, signals);
	struct signalfd_siginfo info;

	(void)events;
	if (read(io->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1)
		counters_log(&program->device.counters, program->device.flows.count);
	else
		loop_stop(&program->device.loop, 0);
}

static int watch_signals(struct program *program)
{
	AUTO_CLOSE int fd = -EBADF;
	sigset_t set;
	int r;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	program->signals.fn = on_signal;
	r = loop_io_add(&program->device.loop, &program->signals, fd, EPOLLIN);
	if (r == 0)
		(void)take_fd(&fd);
	return r;
}

/* Makes room for the descriptors of all flows, or allows fewer flows. */
static void fit_limits(struct device_options *options)
{
	struct rlimit limit;
	rlim_t need = options->max_connections + OTHER_FDS;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= need)
		return;
	limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur >= need)
		return;
	options->max_connections = limit.rlim_cur > (rlim_t)2 * OTHER_FDS
					   ? (unsigned)limit.rlim_cur - OTHER_FDS
					   : OTHER_FDS;
	log_warning("only %u connections: the limit of open files is %lu", options->max_connections,
		(unsigned long)limit.rlim_cur);
}

static int open_listener(const char *path, int *ret_fd)
{
	int r = uds_listen(path, ret_fd);

	if (r == -EPERM)
		log_error("%s: its directory is another user's, or others may write to it", path);
	else if (r == -EADDRINUSE)
		log_error("%s: another process listens there", path);
	else if (r < 0)
		log_error("%s: %s", path, strerror(-r));
	return r;
}

static int open_front(struct program *program)
{
	const struct options *options = &program->options;
	int fd = options->fd;
	int r;

	program->device.frontend.once = options->once;
	if (fd >= 0) {
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
		return frontend_attach(&program->device, fd);
	}
	r = open_listener(options->socket_path, &fd);
	if (r < 0)
		return r;
	program->have_front_socket = true;
	return frontend_listen(&program->device, fd);
}

static int open_uds(struct program *program)
{
	const char *path = program->options.device.uds;
	int fd, r;

	r = open_listener(path, &fd);
	if (r < 0)
		return r;
	program->have_uds = true;
	return proxy_open(&program->device, fd);
}

static int run(struct program *program)
{
	struct device *device = &program->device;
	int r;

	r = watch_signals(program);
	if (r == 0)
		r = open_uds(program);
	if (r == 0)
		r = open_front(program);
	while (r == 0 && !device->loop.stop)
		r = device_step(device, -1);
	return r;
}

int main(int argc, char **argv)
{
	static struct program program;
	int r;

	r = options_parse(argc, argv, &program.options);
	if (r != 0)
		return r > 0 ? 0 : 2;
	log_open("postern-vsockd", program.options.log_level);
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	fit_limits(&program.options.device);
	r = device_init(&program.device, &program.options.device);
	if (r == 0)
		r = run(&program);
	if (r < 0)
		log_error("ends: %s", strerror(-r));
	counters_log(&program.device.counters, program.device.flows.count);
	if (program.have_front_socket)
		(void)unlink(program.options.socket_path);
	if (program.have_uds)
		(void)unlink(program.options.device.uds);
	if (program.signals.loop) {
		loop_io_del(&program.signals);
		(void)fd_close(program.signals.fd);
	}
	device_done(&program.device);
	options_done(&program.options);
	return r < 0 ? 1 : 0;
}
