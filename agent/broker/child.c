/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/broker/spare.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"
#include "proto/exec.h"

/* Body of the largest message that a child sends to us. */
#define BODY_MAX      1024
#define MESSAGES_MOST 16 /* taken at once */
_Static_assert(sizeof(struct job_facts) <= BODY_MAX, "what postern-job tells fits");

static const char *program_of(enum role role)
{
	switch (role) {
	case ROLE_SESSION:
		return "postern-session";
	case ROLE_WATCH:
		return "postern-watch";
	case ROLE_KMOD:
		return "postern-kmod";
	case ROLE_JOB:
		return "postern-job";
	default:
		return "postern-worker";
	}
}

static void on_pidfd(struct loop_io *io, uint32_t events);

/* Who somebody else started says who it is: we can end it from here on. */
static void take_here(struct child *child, const struct inner_message *message, int *fd)
{
	if (child->pidfd >= 0 || *fd < 0)
		return;
	child->pid = (pid_t)message->arg;
	child->pidfd = take_fd(fd);
	child->pid_io.fn = on_pidfd;
	if (child->killed_ns != 0)
		(void)pidfd_send_signal(child->pidfd, SIGKILL, NULL, 0);
	if (loop_io_add(&child->broker->loop, &child->pid_io, child->pidfd, EPOLLIN) < 0) {
		(void)pidfd_send_signal(child->pidfd, SIGKILL, NULL, 0);
		child->pidfd = fd_close(child->pidfd); /* its connection's end is told */
	}
}

/* Takes one message. 1; 0 when there is none, or none any more. */
static int take_message(struct child *child)
{
	struct inner_message message;
	int fds[INNER_FDS_MAX];
	char body[BODY_MAX];
	size_t n_fds;
	int r = inner_receive(child->socket, &message, body, sizeof(body), fds, &n_fds);

	if (r == -EAGAIN)
		return 0;
	if (r <= 0) {
		/* Its end comes by the pidfd; one that broke the protocol is ended. */
		loop_io_del(&child->socket_io);
		if (r < 0 && r != -ECONNRESET) {
			log_warning("%s (pid %d) broke the inner protocol: %s",
				role_name(child->role), child->pid, strerror(-r));
			child_kill(child);
		}
		/* One that never told who it is has no other end than this. */
		if (child->pidfd < 0)
			child->on_exit(child);
		return 0;
	}
	if (message.kind == INNER_HERE)
		take_here(child, &message, &fds[0]);
	else
		child->on_message(child, &message, body, fds, n_fds);
	inner_close_fds(fds);
	return 1;
}

/* A child that talks without end does not keep the others waiting. */
static void on_socket(struct loop_io *io, uint32_t events)
{
	struct child *child = container_of(io, struct child, socket_io);
	int left = MESSAGES_MOST;

	(void)events;
	/* No message ends the child here; where there is none any more it may be gone. */
	while (child->socket_io.loop && take_message(child) > 0 && --left > 0)
		;
}

void child_hear(struct child *child)
{
	on_socket(&child->socket_io, EPOLLIN);
}

void child_hear_all(struct broker *broker)
{
	LIST_EACH(&broker->children, node)
	{
		struct child *child = container_of(node, struct child, node);

		if (child->role == ROLE_JOB || child->role == ROLE_WORKER ||
			child->role == ROLE_READER)
			child_hear(child);
	}
}

static void on_crash(const struct child *child, int signal)
{
	log_warning("%s (pid %d) ended by signal %d", role_name(child->role), child->pid, signal);
	if (child->role == ROLE_WORKER)
		spare_renew_worker(child->broker);
}

static void on_pidfd(struct loop_io *io, uint32_t events)
{
	struct child *child = container_of(io, struct child, pid_io);
	siginfo_t info = {0};
	bool ours;

	(void)events;
	/* Of a child of somebody else, as those of a unit are, nobody tells how it ended. */
	ours = waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG) == 0;
	if (ours && info.si_pid == 0)
		return;
	if (ours && info.si_code != CLD_EXITED && child->killed_ns == 0)
		on_crash(child, info.si_status);
	else
		log_debug("%s (pid %d) ended: %d", role_name(child->role), child->pid,
			info.si_status);
	/* What it said before its end counts. */
	while (child->socket_io.loop && take_message(child) > 0)
		;
	child->on_exit(child);
}

/* The keeper is this program; all others stand beside each other. */
static int spawn(struct broker *broker, enum role role, int socket, pid_t *ret_pid)
{
	const char *program = program_of(role);
	char path[512], uid[16], gid[16];
	char *argv[] = {
		(char *)program, (char *)role_name(role), uid, gid, broker->empty_dir, NULL};
	int r;

	(void)snprintf(path, sizeof(path), "%s/%s", broker->config.libexec_dir, program);
	(void)snprintf(uid, sizeof(uid), "%u", broker->uid);
	(void)snprintf(gid, sizeof(gid), "%u", broker->gid);
	if (role == ROLE_KMOD)
		argv[4] = path;
	r = spawn_program(
		role == ROLE_KMOD ? "/proc/self/exe" : path, argv, socket, false, ret_pid);
	if (r < 0)
		log_error("%s cannot be started: %s", path, strerror(-r));
	return r;
}

static struct child *child_new(struct broker *broker, enum role role)
{
	struct child *child = calloc(1, sizeof(*child));

	if (!child)
		return NULL;
	*child = (struct child){.broker = broker,
		.role = role,
		.spare = true,
		.pidfd = -EBADF,
		.socket = -EBADF,
		.touch = -EBADF,
		.method = METHOD_COUNT,
		.on_exit = child_drop,
		.on_message = child_unasked};
	child->pid_io.fn = on_pidfd;
	child->socket_io.fn = on_socket;
	return child;
}

int child_adopt(struct broker *broker, enum role role, int socket, struct child **ret_child)
{
	struct child *child = child_new(broker, role);
	int r;

	if (!child) {
		(void)fd_close(socket);
		return -ENOMEM;
	}
	child->socket = socket;
	r = loop_io_add(&broker->loop, &child->socket_io, child->socket, EPOLLIN);
	if (r < 0) {
		child_free(child);
		return r;
	}
	list_append(&broker->children, &child->node);
	*ret_child = child;
	return 0;
}

int child_start(struct broker *broker, enum role role, struct child **ret_child)
{
	AUTO_CLOSE int theirs = -EBADF;
	struct child *child = child_new(broker, role);
	const int room = OPEN_REQUESTS_MAX * (int)TOLD_MAX;
	int pair[2], r;

	if (!child)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		free(child);
		return -errno;
	}
	child->socket = pair[0];
	theirs = pair[1];
	r = fcntl(child->socket, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
	/* All that it may have asked for at once fits. */
	if (role == ROLE_SESSION)
		(void)setsockopt(child->socket, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	if (r < 0)
		goto fail;
	r = spawn(broker, role, theirs, &child->pid);
	if (r < 0)
		goto fail;
	child->pidfd = pidfd_open(child->pid, 0);
	if (child->pidfd < 0) {
		r = -errno;
		goto fail;
	}
	r = loop_io_add(&broker->loop, &child->pid_io, child->pidfd, EPOLLIN);
	if (r == 0)
		r = loop_io_add(&broker->loop, &child->socket_io, child->socket, EPOLLIN);
	if (r < 0)
		goto fail;
	list_append(&broker->children, &child->node);
	*ret_child = child;
	return 0;
fail:
	if (child->pid > 0) {
		(void)kill(child->pid, SIGKILL);
		(void)waitpid(child->pid, NULL, 0);
	}
	child_free(child);
	return r;
}

int child_send(struct child *child, const struct inner_message *message, const void *body,
	const int *fds, size_t n_fds)
{
	int r = inner_send(child->socket, message, body, fds, n_fds);

	if (r < 0 && r != -EPIPE) {
		log_warning("%s (pid %d) does not take its messages: %s", role_name(child->role),
			child->pid, strerror(-r));
		child_kill(child);
	}
	return r;
}

void child_kill(struct child *child)
{
	if (child->killed_ns != 0)
		return;
	child->killed_ns = monotonic_ns();
	/* One that has not told who it is ends with its connection, or when it tells. */
	if (child->pidfd >= 0)
		(void)pidfd_send_signal(child->pidfd, SIGKILL, NULL, 0);
	else
		(void)shutdown(child->socket, SHUT_WR);
}

void child_unasked(struct child *child, const struct inner_message *message, const void *body,
	int fds[INNER_FDS_MAX], size_t n_fds)
{
	(void)body;
	(void)fds;
	(void)n_fds;
	log_warning("%s (pid %d) sent a message of kind %u that nobody asked for",
		role_name(child->role), child->pid, message->kind);
	child_kill(child);
}

void child_free(struct child *child)
{
	list_remove(&child->node);
	loop_io_del(&child->pid_io);
	loop_io_del(&child->socket_io);
	child->pidfd = fd_close(child->pidfd);
	child->socket = fd_close(child->socket);
	child->touch = fd_close(child->touch);
	free(child);
}

void child_drop(struct child *child)
{
	struct broker *broker = child->broker;

	if (broker->spare_session == child)
		broker->spare_session = NULL;
	if (broker->worker_zygote == child)
		broker->worker_zygote = NULL;
	if (broker->job_zygote == child)
		broker->job_zygote = NULL;
	for (size_t i = 0; i < IDLE_READERS; i++)
		if (broker->idle_reader[i] == child)
			broker->idle_reader[i] = NULL;
	child_free(child);
}
