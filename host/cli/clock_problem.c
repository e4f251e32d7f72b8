/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/clock_problem.h"

#include <stdlib.h>

#include "host/common/file.h"
#include "host/common/json_line.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define ASK_MS 1000 /* to connect, and to answer */
/* An emulated guest that is busy, or waited for a host that was, is a second or two behind. */
#define AGREE_NS ((int64_t)(5 * NSEC_PER_SEC))

/* 0, with what the agent says of itself. */
static int ask(const char *name, char **ret_info)
{
	struct postern_options options = {
		.name = "postern", .connect_ms = ASK_MS, .call_grace_ms = 1};
	struct postern_client *client = NULL;
	AUTO_FREE char *address = NULL;
	int r = postern_vm_address(name, &address, NULL);

	if (r == 0)
		r = postern_client_open(address, &options, &client, NULL);
	if (r < 0)
		return r;
	r = postern_json_call(client, "system.info", NULL, ASK_MS, ret_info, NULL);
	postern_client_close(client);
	return r;
}

json_t *clock_problem(const char *name)
{
	int64_t before = (int64_t)clock_ns(CLOCK_REALTIME), after, guest, off = 0;
	AUTO_FREE char *text = NULL, *help = NULL;
	AUTO_JSON json_t *info = NULL;

	if (ask(name, &text) < 0)
		return NULL;
	after = (int64_t)clock_ns(CLOCK_REALTIME);
	info = json_loads(text, 0, NULL);
	guest = json_field_int(info, "time_ns", 0);
	if (guest == 0)
		return NULL;
	/* It was read at some moment between the two. */
	if (guest < before - AGREE_NS)
		off = before - guest;
	else if (guest > after + AGREE_NS)
		off = guest - after;
	else
		return NULL;
	help = text_format("it is %.0f s %s this host's; set it in the guest", (double)off / 1e9,
		guest < before ? "behind" : "ahead of");
	return help ? json_pack("{s:s, s:s}", "problem", "clock off", "help", help) : NULL;
}
