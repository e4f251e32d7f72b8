/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/guest_restored.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "host/cli/guest_clock.h"
#include "host/common/fail.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/client/base64.h"
#include "proto/client/json_call.h"

#define ENTROPY 64

static int call(struct postern_client *client, json_t **ret_answer, struct postern_error *error)
{
	AUTO_FREE char *base64 = NULL;
	struct guest_clock clock;
	uint8_t random[ENTROPY];
	json_t *params;
	int r;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return fail_errno(error, POSTERN_ANSWERED, errno, "random bytes");
	base64 = base64_encode(random, sizeof(random));
	explicit_bzero(random, sizeof(random));
	params = json_pack("{s:{s:s}}", "entropy", "base64", base64);
	/* A guest that lets nobody see its clock is left with it. */
	if (guest_clock_read(client, 0, &clock, NULL) == 0) {
		(void)json_object_set_new(
			params, "adjust_ns", json_integer(-(json_int_t)clock.offset_ns));
		json_decref(clock.said);
	}
	r = json_call_object(client, "system.restored", params, 0, ret_answer, error);
	json_decref(params);
	return r;
}

int guest_restored(const char *vm, json_t **ret_answer, struct postern_error *error)
{
	static const struct postern_options options = {.name = "postern " POSTERN_VERSION};
	struct postern_client *client = NULL;
	AUTO_FREE char *address = NULL;
	int r = postern_vm_address(vm, &address, error);

	if (r == 0)
		r = postern_client_open(address, &options, &client, error);
	if (r < 0)
		return r;
	r = call(client, ret_answer, error);
	postern_client_close(client);
	return r;
}
