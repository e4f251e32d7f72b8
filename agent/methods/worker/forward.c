/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/methods/forward_call.h"
#include "agent/methods/place.h"
#include "agent/methods/prototypes.h"
#include "proto/cleanup.h"

#define PORT_MAX 65535
#define MODE_MAX 0777

static int fail_end(struct call *call, const char *what)
{
	return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "%s", what);
}

static int inet_of(struct call *call, const Postern__V1__ForwardEnd *from, bool listens,
	struct forward_end *ret)
{
	enum forward_transport transport =
		from->transport == POSTERN__V1__FORWARD_TRANSPORT__FORWARD_TCP ? FORWARD_TCP
									       : FORWARD_UDP;

	if (from->port > PORT_MAX || (from->port == 0 && !listens))
		return fail_end(call, "port: expected 1 to 65535");
	if (forward_end_inet(ret, transport, from->address, (uint16_t)from->port) < 0)
		return fail_end(call, "address: expected digits, as in 127.0.0.1 or ::1");
	return 0;
}

/* The folder stays open as long as the process lives: nobody can swap what the path leads through,
 * and the file is found again to be taken away. */
static int unix_listener_of(
	struct call *call, const char *path, mode_t mode, struct forward_place *ret)
{
	char text[64];
	const char *name;
	int r = place_open_parent(call, path, &ret->dir, &name);

	if (r < 0)
		return r;
	if (strlen(name) > sizeof(text) - sizeof("/proc/self/fd/2147483647/"))
		return call_fail_errno(call, -ENAMETOOLONG, "%s", path);
	(void)snprintf(text, sizeof(text), "/proc/self/fd/%d/%s", ret->dir, name);
	r = forward_end_unix(&ret->end, text);
	ret->end.mode = mode;
	return r;
}

static int unix_of(struct call *call, const Postern__V1__ForwardEnd *from, bool listens,
	struct forward_place *ret)
{
	char *path = call_path(call, from->has_path, &from->path, "path");

	if (!path)
		return -EINVAL;
	if (from->has_mode && from->mode > MODE_MAX)
		return fail_end(call, "mode: expected permissions, 0 to 0777");
	if (listens)
		return unix_listener_of(call, path, from->has_mode ? from->mode : 0600, ret);
	if (forward_end_unix(&ret->end, path) < 0)
		return call_fail_errno(call, -ENAMETOOLONG, "%s", path);
	return 0;
}

static int place_of(struct call *call, const Postern__V1__ForwardEnd *from, bool listens,
	struct forward_place *ret)
{
	*ret = (struct forward_place){.fd = -EBADF, .dir = -EBADF};
	switch (from->transport) {
	case POSTERN__V1__FORWARD_TRANSPORT__FORWARD_TCP:
	case POSTERN__V1__FORWARD_TRANSPORT__FORWARD_UDP:
		return inet_of(call, from, listens, &ret->end);
	case POSTERN__V1__FORWARD_TRANSPORT__FORWARD_UNIX:
		return unix_of(call, from, listens, ret);
	default:
		return fail_end(call, "transport: expected TCP, UDP or UNIX");
	}
}

/* What is bound already when another cannot be is taken away with the process; but not its files.
 */
static void unlisten(const struct forward *forward)
{
	for (size_t i = 0; i < forward->n_listen; i++)
		if (forward->listen[i].fd >= 0)
			forward_unlisten(&forward->listen[i].end);
}

static int listen_all(struct call *call, struct forward *forward)
{
	char text[FORWARD_TEXT_SIZE];

	for (size_t i = 0; i < forward->n_listen; i++) {
		struct forward_place *place = &forward->listen[i];
		int r = forward_listen(&place->end, &place->fd);

		if (r == 0)
			continue;
		unlisten(forward);
		forward_end_print(&place->end, text);
		return call_fail_errno(call, r, "listen[%zu]: %s", i,
			place->dir >= 0 ? strrchr(text, '/') + 1 : text);
	}
	return 0;
}

static int tell_listening(struct call *call, const Postern__V1__ForwardOpenRequest *request,
	const struct forward *forward, Postern__V1__ForwardOpenReply *reply)
{
	reply->listening =
		arena_alloc(call->arena, forward->n_listen * sizeof(*reply->listening) + 1);
	if (!reply->listening)
		return -ENOMEM;
	for (size_t i = 0; i < forward->n_listen; i++) {
		Postern__V1__ForwardEnd *end = request->listen[i];

		end->has_port = end->transport != POSTERN__V1__FORWARD_TRANSPORT__FORWARD_UNIX;
		end->port = forward_end_port(&forward->listen[i].end);
		reply->listening[reply->n_listening++] = end;
	}
	return 0;
}

static int parse(
	struct call *call, const Postern__V1__ForwardOpenRequest *request, struct forward *forward)
{
	int r = 0;

	if (request->n_listen > FORWARD_ENDS_MAX || request->n_connect > FORWARD_ENDS_MAX ||
		request->n_listen + request->n_connect == 0)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"listen, connect: expected at most %d of each, and one of them",
			FORWARD_ENDS_MAX);
	for (size_t i = 0; i < request->n_listen && r == 0; i++, forward->n_listen++)
		r = place_of(call, request->listen[i], true, &forward->listen[i]);
	for (size_t i = 0; i < request->n_connect && r == 0; i++, forward->n_connect++)
		r = place_of(call, request->connect[i], false, &forward->connect[i]);
	worker_touch_done(call);
	return r;
}

int forward_open(struct call *call, const Postern__V1__ForwardOpenRequest *request,
	Postern__V1__ForwardOpenReply *reply)
{
	struct forward *forward = arena_alloc(call->arena, sizeof(*forward));
	int r = forward ? parse(call, request, forward) : -ENOMEM;

	if (r < 0)
		return r;
	worker_changing(call);
	call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
	r = listen_all(call, forward);
	if (r == 0)
		r = tell_listening(call, request, forward, reply);
	if (r < 0)
		return r;
	reply->channel = worker_grant(call, forward_serve, forward);
	return reply->channel ? 0 : -ENOMEM;
}
