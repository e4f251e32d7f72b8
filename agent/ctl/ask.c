/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>

#include "agent/ctl/ctl.h"
#include "proto/arena.h"
#include "proto/cleanup.h"
#include "proto/encode.h"
#include "proto/limits.h"
#include "proto/log.h"
#include "proto/verify.h"

struct asked {
	const ProtobufCMessageDescriptor *reply;
	int (*take)(void *ctx, const ProtobufCMessage *reply);
	void *ctx;
	int result;
};

static void on_reply(
	void *ctx, const struct postern_error *error, const uint8_t *result, size_t len, bool more)
{
	struct asked *asked = ctx;
	const ProtobufCMessage *reply;
	struct arena arena;
	const char *why;

	(void)error;
	(void)more;
	arena_init(&arena, ARENA_HOST_MAX);
	reply = verify_unpack(asked->reply, result, len, &verify_host_limits, &arena, &why);
	if (reply) {
		asked->result = asked->take ? asked->take(asked->ctx, reply) : POSTERN_DONE;
	} else {
		log_error("the agent's answer: %s", why);
		asked->result = POSTERN_PROTOCOL;
	}
	arena_done(&arena);
}

int ctl_ask(const char *settings, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *reply,
	int (*take)(void *ctx, const ProtobufCMessage *reply), void *ctx)
{
	struct asked asked = {reply, take, ctx, POSTERN_DONE};
	struct postern_client *client = NULL;
	struct postern_error error = {0};
	size_t len;
	AUTO_FREE uint8_t *params = encode_new(request, &len);
	int r;

	if (!params) {
		log_error("no memory");
		return POSTERN_ANSWERED;
	}
	r = ctl_connect(settings, &client);
	if (r != POSTERN_DONE)
		return r;
	r = postern_call(client, method, params, len, 0, on_reply, &asked, &error);
	postern_client_close(client);
	return r < 0 ? ctl_report(&error) : asked.result;
}

int ctl_seconds(const char *text, uint64_t *ret_ms)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end != '\0' || !(seconds >= 0.001) || seconds > 1e9)
		return -EINVAL;
	*ret_ms = (uint64_t)(seconds * 1000 + 0.5);
	return 0;
}
