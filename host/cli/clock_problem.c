/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/clock_problem.h"

#include <stdlib.h>

#include "host/cli/guest_clock.h"
#include "host/common/file.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define ASK_MS 1000 /* to connect, and to answer */
/* An emulated guest that is busy, or waited for a host that was, is a second or two behind. */
#define AGREE_NS ((int64_t)(5 * NSEC_PER_SEC))

static int ask(const char *name, struct guest_clock *ret)
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
	r = guest_clock_read(client, ASK_MS, ret, NULL);
	postern_client_close(client);
	return r;
}

json_t *clock_problem(const char *name)
{
	AUTO_FREE char *help = NULL;
	struct guest_clock clock;
	int64_t slack;

	if (ask(name, &clock) < 0)
		return NULL;
	json_decref(clock.said);
	slack = AGREE_NS + (int64_t)clock.accuracy_ns;
	if (clock.offset_ns >= -slack && clock.offset_ns <= slack)
		return NULL;
	help = text_format("it is %.0f s %s this host's; postern time sync %s",
		(double)(clock.offset_ns < 0 ? -clock.offset_ns : clock.offset_ns) / 1e9,
		clock.offset_ns < 0 ? "behind" : "ahead of", name);
	return help ? json_pack("{s:s, s:s}", "problem", "clock off", "help", help) : NULL;
}
