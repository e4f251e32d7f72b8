/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/broker/ask.h"
#include "agent/broker/call.h"
#include "agent/broker/child.h"
#include "agent/broker/freeze.h"
#include "agent/broker/generation.h"
#include "agent/broker/job.h"
#include "agent/broker/lane.h"
#include "agent/broker/spare.h"
#include "agent/broker/stop.h"
#include "agent/broker/watcher.h"
#include "proto/cleanup.h"
#include "proto/log.h"

/* A read-only copy of the verdicts, and of the clauses behind them, that can be handed on. */
static int seal_verdicts(const struct verdicts *verdicts, const struct buffer *clauses, int *ret_fd)
{
	AUTO_CLOSE int fd = memfd_create("verdicts", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t len = buffer_len(clauses);

	if (fd < 0 || write(fd, verdicts, sizeof(*verdicts)) != (ssize_t)sizeof(*verdicts) ||
		(len > 0 && write(fd, buffer_front(clauses), len) != (ssize_t)len) ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) <
			0)
		return errno ? -errno : -EIO;
	*ret_fd = take_fd(&fd);
	return 0;
}

/* *ret_allowed: how many methods and topics the session may use. 0 or -errno. */
static int decide(struct session *session, size_t *ret_allowed)
{
	const struct policy *policy = &session->broker->policy;
	struct buffer clauses = {0};
	int r;

	*ret_allowed = policy_verdicts(policy, &session->identity, &session->verdicts);
	r = policy_clauses(policy, &session->identity, &session->verdicts, &clauses);
	if (r == 0)
		r = seal_verdicts(&session->verdicts, &clauses, &session->verdicts_fd);
	buffer_clear(&clauses);
	return r;
}

static void session_free(struct session *session)
{
	struct broker *broker = session->broker;

	call_end_all_of(session);
	lane_session_gone(session);
	job_session_gone(session);
	freeze_session_gone(session);
	list_remove(&session->node);
	broker->sessions_n--;
	session->verdicts_fd = fd_close(session->verdicts_fd);
	free(session);
	spare_trim(broker);
	stop_check(broker);
}

static void on_exit_(struct child *child)
{
	struct session *session = child->owner;

	child_free(child);
	session_free(session);
}

/* Joins the session with the watcher, for the topics and methods that the verdicts allow. */
static void send_events(struct session *session)
{
	struct inner_message message = {.kind = INNER_EVENTS};
	struct subscriber_facts facts = {
		.uid = session->identity.number, .guest = session->identity.kind == IDENTITY_LOCAL};
	int fd = -EBADF, r;

	identity_print(&session->identity, facts.identity, sizeof(facts.identity));
	for (int i = 0; i < TOPIC_COUNT; i++)
		if (session->verdicts.topic[i].allowed)
			facts.topics |= UINT64_C(1) << i;
	for (int i = 0; i < METHOD_COUNT; i++)
		facts.methods[i] = session->verdicts.method[i].allowed != 0;
	r = watcher_subscribe(session->broker, &facts, &fd);
	message.arg = (uint64_t)-r;
	(void)child_send(session->child, &message, NULL, &fd, r == 0 ? 1 : 0);
	(void)fd_close(fd);
}

static void on_message(struct child *child, const struct inner_message *message, const void *body,
	int fds[INNER_FDS_MAX], size_t n_fds)
{
	struct session *session = child->owner;

	(void)body;
	switch (message->kind) {
	case INNER_CALL:
		call_start(session, message, fds, n_fds);
		break;
	case INNER_CANCEL:
		call_cancel(session, message->id);
		lane_cancel(session, message);
		job_unwait(session, message->id);
		break;
	case INNER_LANE:
		lane_open(session, message, fds, n_fds);
		break;
	case INNER_SLOW:
		lane_slow(session, message);
		break;
	case INNER_ASK:
		ask_take(session, message, body, fds);
		break;
	case INNER_WANT_EVENTS:
		send_events(session);
		break;
	default:
		log_warning(
			"session (pid %d) sent a message of kind %u", child->pid, message->kind);
		child_kill(child);
	}
}

/*
 * The descriptors that this identity may read: its socket, its verdicts, and a kernel file only
 * where a method that needs it is allowed.
 */
static size_t choose_fds(const struct session *session, int socket, int fds[], uint64_t *ret_mask)
{
	const struct broker *broker = session->broker;
	const struct verdict *method = session->verdicts.method;
	size_t n = 0;

	*ret_mask = 0;
	for (int i = 0; i < SESSION_FD_COUNT; i++) {
		int fd = broker->sources.session[i];
		bool wanted;

		if (i == SESSION_FD_SOCKET)
			fd = socket;
		if (i == SESSION_FD_VERDICTS)
			fd = session->verdicts_fd;
		/* That of uevents tells how often something changed, and no more. */
		if (i <= SESSION_FD_VERDICTS || i == SESSION_FD_UEVENTS)
			wanted = true;
		else if (i == SESSION_FD_OS_RELEASE)
			wanted = method[METHOD_system_info].allowed;
		else if (i == SESSION_FD_DISKSTATS)
			wanted = method[METHOD_disks_stats].allowed;
		else if (i == SESSION_FD_HISTORY)
			wanted = method[METHOD_system_load_historical].allowed;
		else
			wanted = method[METHOD_system_load_current].allowed ||
				 method[METHOD_metrics_get].allowed;
		if (!wanted || fd < 0)
			continue;
		fds[n++] = fd;
		*ret_mask |= UINT64_C(1) << i;
	}
	return n;
}

static int hand_over(struct session *session, int socket)
{
	struct broker *broker = session->broker;
	struct session_facts facts = broker->facts;
	struct inner_message message = {.kind = INNER_START, .body_len = sizeof(facts)};
	int fds[SESSION_FD_COUNT];
	size_t n = choose_fds(session, socket, fds, &message.arg);

	identity_print(&session->identity, facts.identity, sizeof(facts.identity));
	return child_send(session->child, &message, &facts, fds, n);
}

static bool is_user(const struct identity *identity)
{
	return identity->kind == IDENTITY_LOCAL && identity->number != 0;
}

static size_t places_of_one(const struct identity *identity, size_t allowed)
{
	if (allowed == 0)
		return SESSIONS_REFUSED_MAX;
	return is_user(identity) ? SESSIONS_USER_MAX : SESSIONS_EACH_MAX;
}

/* Somebody without any right gets few places, the guest's users some, and nobody all of them. */
static bool has_place(const struct broker *broker, const struct identity *identity, size_t allowed)
{
	size_t same = 0, users = 0;

	LIST_EACH(&broker->sessions, node)
	{
		const struct session *other = container_of(node, struct session, node);

		same += identity_equal(&other->identity, identity);
		users += is_user(&other->identity);
	}
	if (broker->sessions_n < SESSIONS_MAX && same < places_of_one(identity, allowed) &&
		(!is_user(identity) || users < SESSIONS_USERS_MAX))
		return true;
	log_debug("a connection was closed: too many are served already");
	return false;
}

void session_start(struct broker *broker, int fd, const struct identity *identity)
{
	AUTO_CLOSE int socket = fd;
	struct session *session;
	size_t allowed;
	int r;

	generation_check(broker);
	session = calloc(1, sizeof(*session));
	if (!session)
		return;
	session->broker = broker;
	session->identity = *identity;
	session->verdicts_fd = -EBADF;
	r = decide(session, &allowed);
	if (r == 0 && !has_place(broker, identity, allowed)) {
		(void)fd_close(session->verdicts_fd);
		free(session);
		return;
	}
	if (r == 0)
		r = spare_take(broker, ROLE_SESSION, &session->child);
	if (r < 0) {
		log_warning("a connection was closed: %s", strerror(-r));
		(void)fd_close(session->verdicts_fd);
		free(session);
		return;
	}
	session->child->owner = session;
	session->child->on_exit = on_exit_;
	session->child->on_message = on_message;
	list_append(&broker->sessions, &session->node);
	broker->sessions_n++;
	r = hand_over(session, socket);
	if (r < 0) {
		log_warning("a session could not be started: %s", strerror(-r));
		child_kill(session->child);
	}
}

void session_stop_all(struct broker *broker)
{
	struct inner_message message = {.kind = INNER_STOP};

	LIST_EACH(&broker->sessions, node)
	{
		struct session *session = container_of(node, struct session, node);

		(void)child_send(session->child, &message, NULL, NULL, 0);
	}
}
