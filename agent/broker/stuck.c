/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/stuck.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/broker/child.h"
#include "agent/broker/quarantine.h"
#include "agent/touch.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

static struct stuck *add(
	struct broker *broker, pid_t pid, enum method method, uint64_t device, bool writes_only)
{
	const char *name = method < METHOD_COUNT ? method_rows[method].name : "-";

	for (size_t i = 0; i < STUCK_MAX; i++) {
		struct stuck *stuck = &broker->stuck[i];

		if (stuck->pid > 0)
			continue;
		*stuck = (struct stuck){.pid = pid,
			.pidfd = -EBADF,
			.method = method,
			.device = device,
			.writes_only = writes_only,
			.since_ns = monotonic_ns(),
			.broker = broker};
		if (device == 0 || device & DEVICE_OF_NEW(0))
			log_warning("process %d (%s) does not end", pid, name);
		else
			log_warning("process %d (%s) does not end: it hangs on device %u:%u", pid,
				name, major(device), minor(device));
		quarantine_publish(broker);
		return stuck;
	}
	log_warning(
		"process %d (%s) does not end, and the list of such processes is full", pid, name);
	return NULL;
}

static void forget(struct broker *broker, pid_t pid)
{
	for (size_t i = 0; i < STUCK_MAX; i++) {
		struct stuck *stuck = &broker->stuck[i];

		if (stuck->pid != pid)
			continue;
		log_info("process %d has ended at last", pid);
		loop_io_del(&stuck->io);
		stuck->pidfd = fd_close(stuck->pidfd);
		stuck->pid = 0;
		quarantine_publish(broker);
	}
}

static void on_child_exit(struct child *child)
{
	forget(child->broker, child->pid);
	child_free(child);
}

void stuck_add(struct child *child)
{
	struct touched touch = touch_read(child->touch);

	child->owner = NULL;
	child->on_exit = on_child_exit;
	loop_io_del(&child->socket_io);
	(void)add(child->broker, child->pid, child->method, touch.device, touch.how == TOUCH_WRITE);
}

static void on_pidfd(struct loop_io *io, uint32_t events)
{
	struct stuck *stuck = container_of(io, struct stuck, io);

	(void)events;
	forget(stuck->broker, stuck->pid);
}

/* proc_pid_stat(5): "PID (COMMAND) STATE PPID ...", where the command may hold anything. */
static pid_t parent_of(pid_t pid)
{
	AUTO_CLOSE int fd = -EBADF;
	char path[32], text[512];
	const char *rest;
	ssize_t n;
	int parent;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	rest = strrchr(text, ')');
	return rest && sscanf(rest, ") %*c %d", &parent) == 1 ? parent : -1;
}

static bool is_listed(const struct broker *broker, pid_t pid)
{
	for (size_t i = 0; i < STUCK_MAX; i++)
		if (broker->stuck[i].pid == pid)
			return true;
	return false;
}

/* One that is no child of ours; pidfd is owned from here on. */
static void list_foreign(
	struct broker *broker, pid_t pid, int pidfd, enum method method, uint64_t device)
{
	struct stuck *stuck = add(broker, pid, method, device, false);

	if (stuck) {
		stuck->io.fn = on_pidfd;
		if (loop_io_add(&broker->loop, &stuck->io, pidfd, EPOLLIN) == 0)
			stuck->pidfd = take_fd(&pidfd);
	}
	(void)fd_close(pidfd);
}

void stuck_add_child_of(struct child *reader, pid_t pid, uint64_t device)
{
	struct broker *broker = reader->broker;
	AUTO_CLOSE int pidfd = pid > 0 ? pidfd_open(pid, 0) : -EBADF;

	if (pidfd < 0 || parent_of(pid) != reader->pid || is_listed(broker, pid))
		return;
	list_foreign(broker, pid, take_fd(&pidfd), reader->method, device);
}

/* A process that was killed with its parent, until it is gone or it turns out to hang. */
struct straggler {
	struct broker *broker;
	struct loop_timer timer;
	pid_t pid;
	int pidfd; /* owned */
	enum method method;
	uint64_t device;
};

static void on_grace(struct loop_timer *timer)
{
	struct straggler *straggler = container_of(timer, struct straggler, timer);
	struct pollfd ended = {.fd = straggler->pidfd, .events = POLLIN};

	if (poll(&ended, 1, 0) == 0)
		list_foreign(straggler->broker, straggler->pid, take_fd(&straggler->pidfd),
			straggler->method, straggler->device);
	(void)fd_close(straggler->pidfd);
	free(straggler);
}

/* The first child of a process (proc_pid_task_children(5)), or -1. */
static pid_t child_of(pid_t pid)
{
	AUTO_FILE FILE *file = NULL;
	char path[64];
	int child;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	file = fopen(path, "re");
	return file && fscanf(file, "%d", &child) == 1 ? child : -1;
}

void stuck_follow_child_of(struct child *child)
{
	pid_t pid = child->pid > 0 ? child_of(child->pid) : -1;
	int pidfd = pid > 0 ? pidfd_open(pid, 0) : -EBADF;
	struct straggler *straggler = NULL;
	struct touched touch = touch_read(child->touch);

	/* One that runs already touches nothing of ours any more. */
	if (pidfd >= 0 && parent_of(pid) == child->pid && touch.how == TOUCH_START)
		straggler = calloc(1, sizeof(*straggler));
	if (!straggler) {
		(void)fd_close(pidfd);
		return;
	}
	*straggler = (struct straggler){.broker = child->broker,
		.timer.fn = on_grace,
		.pid = pid,
		.pidfd = pidfd,
		.method = child->method,
		.device = touch.device};
	loop_timer_set(&child->broker->loop, &straggler->timer,
		monotonic_ns() + KILL_GRACE_MS * NSEC_PER_MSEC);
}

bool stuck_many(const struct broker *broker)
{
	size_t n = 0;

	for (size_t i = 0; i < STUCK_MAX; i++)
		n += broker->stuck[i].pid > 0;
	return n >= STUCK_MANY;
}

bool stuck_runs(const struct broker *broker, enum method method)
{
	for (size_t i = 0; i < STUCK_MAX; i++)
		if (broker->stuck[i].pid > 0 && broker->stuck[i].method == method)
			return true;
	return false;
}
