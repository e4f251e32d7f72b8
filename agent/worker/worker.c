/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/worker/worker.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/methods/grant_message.h"
#include "agent/notify.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define COUNT_NS (250 * NSEC_PER_MSEC) /* between two counts of a channel that is busy */

const struct worker_facts *worker_facts(const struct call *call)
{
	const struct worker *worker = call->program;

	return &worker->facts;
}

int worker_prepare(struct call *call)
{
	const struct worker *worker = call->program;

	if (worker->confinement.role == ROLE_READER)
		return 0;
	return worker_raise(method_rows[call->method].caps);
}

int worker_fail_for_rights(struct call *call, int negative_errno)
{
	(void)call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, -negative_errno,
		"the agent was started without a capability that %s needs: %s",
		method_rows[call->method].name, strerror(-negative_errno));
	return dispatch_error(call, negative_errno);
}

static void tell(struct call *call, enum inner_kind kind, uint64_t arg, uint64_t aux)
{
	const struct worker *worker = call->program;
	struct inner_message message = {.kind = (uint16_t)kind, .arg = arg, .aux = aux};

	(void)inner_send(worker->broker, &message, NULL, NULL, 0);
}

void worker_touch(struct call *call, dev_t device, enum touch how)
{
	struct worker *worker = call->program;

	if (!worker->touch && device != 0)
		worker->touch = touch_open(worker->broker);
	touch_set(worker->touch, device, how);
}

void worker_touch_done(struct call *call)
{
	worker_touch(call, 0, TOUCH_LOOK);
}

void worker_changing(struct call *call)
{
	call->outcome = POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN;
	tell(call, INNER_CHANGING, 0, 0);
}

uint64_t worker_call_number(struct call *call)
{
	const struct worker *worker = call->program;

	return worker->call;
}

void worker_freezing(struct call *call, uint32_t lease_ms)
{
	tell(call, INNER_FREEZING, lease_ms, 0);
}

void worker_thawed(struct call *call)
{
	tell(call, INNER_THAWED, 0, 0);
}

void worker_generation(struct call *call, uint64_t generation)
{
	tell(call, INNER_GENERATION, generation, 0);
}

int worker_want_guard(struct call *call, int socket)
{
	const struct worker *worker = call->program;
	struct inner_message message = {.kind = INNER_WANT_GUARD};

	return inner_send(worker->broker, &message, NULL, &socket, 1);
}

int worker_want_hooks(struct call *call, uint32_t event, uint64_t deadline, int socket)
{
	const struct worker *worker = call->program;
	struct inner_message message = {
		.kind = INNER_WANT_HOOKS, .arg = event, .deadline = deadline};

	return inner_send(worker->broker, &message, NULL, &socket, 1);
}

void worker_hung(struct call *call, pid_t pid, dev_t device)
{
	struct worker *worker = call->program;

	if (device != 0 && worker->hung.n < QUARANTINE_MAX)
		worker->hung.place[worker->hung.n++].device = device;
	if (pid > 0)
		tell(call, INNER_HUNG, device, (uint64_t)pid);
}

void worker_read_quarantine(struct worker *worker)
{
	if (pread(worker->quarantine, &worker->hung, sizeof(worker->hung), 0) !=
		(ssize_t)sizeof(worker->hung))
		worker->hung = (struct quarantine){0};
}

const struct freeze_facts *worker_freeze(const struct call *call)
{
	const struct worker *worker = call->program;

	return &worker->hung.freeze;
}

bool worker_has_quarantine(struct call *call)
{
	const struct worker *worker = call->program;

	return worker->hung.n > 0;
}

bool worker_is_quarantined(struct call *call, dev_t device, enum touch how)
{
	const struct worker *worker = call->program;

	for (uint32_t i = 0; i < worker->hung.n && i < QUARANTINE_MAX; i++)
		if (worker->hung.place[i].device == device &&
			(how == TOUCH_WRITE || !worker->hung.place[i].writes_only))
			return true;
	return false;
}

int worker_kmod(struct call *call, int *ret_fd)
{
	const struct worker *worker = call->program;
	struct inner_message message;
	int fds[INNER_FDS_MAX], r;
	size_t n_fds;

	tell(call, INNER_WANT_KMOD, 0, 0);
	r = inner_receive(worker->broker, &message, NULL, 0, fds, &n_fds);
	if (r <= 0)
		return r < 0 ? r : -EPIPE;
	if (message.kind == INNER_KMOD && message.arg == 0 && n_fds == 1)
		*ret_fd = take_fd(&fds[0]);
	else
		r = message.kind == INNER_KMOD && message.arg != 0 ? -(int)message.arg : -EBADMSG;
	inner_close_fds(fds);
	return r < 0 ? r : 0;
}

Postern__V1__Channel *worker_grant(
	struct call *call, void (*serve)(struct worker_channel *channel, int socket), void *state)
{
	struct worker *worker = call->program;
	const struct grant *grant = &worker->facts.grants[0];

	if (grant->number == 0 || worker->channel.number != 0)
		return NULL;
	worker->channel = (struct worker_channel){
		.number = grant->number, .serve = serve, .state = state, .broker = worker->broker};
	return grant_message(call, grant);
}

void worker_count(struct worker_channel *channel)
{
	struct inner_message message = {.kind = INNER_COUNT,
		.id = channel->number,
		.arg = channel->from_caller,
		.aux = channel->to_caller};
	uint64_t now = monotonic_ns();

	if (now - channel->told_ns < COUNT_NS)
		return;
	channel->told_ns = now;
	(void)inner_send(channel->broker, &message, NULL, NULL, 0);
}

void worker_notify(struct call *call, enum topic topic, const ProtobufCMessage *message)
{
	const struct worker *worker = call->program;

	notify_send(worker->broker, call->arena, topic, message);
}
