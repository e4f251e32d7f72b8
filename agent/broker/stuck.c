/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/stuck.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/broker/child.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

/* Writes down the devices that somebody hangs on, for all who look before they touch. */
static void publish(struct broker *broker)
{
	struct quarantine quarantine = {0};

	for (size_t i = 0; i < STUCK_MAX; i++) {
		const struct stuck *stuck = &broker->stuck[i];

		if (stuck->pid == 0 || stuck->device == 0)
			continue;
		quarantine.place[quarantine.n].device = stuck->device;
		quarantine.place[quarantine.n++].writes_only = stuck->writes_only;
	}
	if (pwrite(broker->sources.quarantine, &quarantine, sizeof(quarantine), 0) < 0)
		log_warning("the quarantine could not be written");
}

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
		publish(broker);
		return stuck;
	}
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
		publish(broker);
	}
}

static void on_child_exit(struct child *child)
{
	forget(child->broker, child->pid);
	child_free(child);
}

void stuck_add(struct child *child)
{
	child->owner = NULL;
	child->on_exit = on_child_exit;
	loop_io_del(&child->socket_io);
	(void)add(child->broker, child->pid, child->method, child->touching, child->writing);
}

static void on_pidfd(struct loop_io *io, uint32_t events)
{
	struct stuck *stuck = container_of(io, struct stuck, io);

	(void)events;
	forget(stuck->broker, stuck->pid);
}

void stuck_add_pid(struct broker *broker, pid_t pid, enum method method, uint64_t device)
{
	AUTO_CLOSE int pidfd = pidfd_open(pid, 0);
	struct stuck *stuck;

	if (pidfd < 0)
		return;
	stuck = add(broker, pid, method, device, false);
	if (!stuck)
		return;
	stuck->io.fn = on_pidfd;
	if (loop_io_add(&broker->loop, &stuck->io, pidfd, EPOLLIN) == 0)
		stuck->pidfd = take_fd(&pidfd);
}

bool stuck_full(const struct broker *broker)
{
	for (size_t i = 0; i < STUCK_MAX; i++)
		if (broker->stuck[i].pid == 0)
			return false;
	return true;
}

bool stuck_runs(const struct broker *broker, enum method method)
{
	for (size_t i = 0; i < STUCK_MAX; i++)
		if (broker->stuck[i].pid > 0 && broker->stuck[i].method == method)
			return true;
	return false;
}
