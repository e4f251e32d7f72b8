/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/guest_clock.h"

#include <errno.h>
#include <stdlib.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/client/json_call.h"
#include "proto/clock.h"

#define READINGS    5
#define ASK_MS      2000
#define OFF_MOST_NS ((int64_t)NSEC_PER_SEC)

static int read_once(struct postern_client *client, uint32_t timeout_ms, struct guest_clock *ret,
	struct postern_error *error)
{
	json_t *params = json_object();
	int64_t before = (int64_t)clock_ns(CLOCK_REALTIME), took;
	uint64_t start = monotonic_ns();
	int r = json_call_object(client, "time.get", params, timeout_ms, &ret->said, error);

	json_decref(params);
	if (r < 0)
		return r;
	if (!json_is_integer(json_object_get(ret->said, "time_ns")))
		return fail(error, POSTERN_PROTOCOL, 0, "the guest does not tell its time");
	took = (int64_t)(monotonic_ns() - start);
	ret->guest_ns = json_field_int(ret->said, "time_ns", 0);
	/* It was read at some moment between the two; no sum of what a guest says may overflow. */
	if (__builtin_sub_overflow(ret->guest_ns, before + took / 2, &ret->offset_ns) ||
		ret->offset_ns == INT64_MIN)
		return fail(error, POSTERN_PROTOCOL, 0, "the guest's clock says what no clock can");
	ret->accuracy_ns = (uint64_t)took / 2;
	return 0;
}

int guest_clock_read(struct postern_client *client, uint32_t timeout_ms, struct guest_clock *ret,
	struct postern_error *error)
{
	*ret = (struct guest_clock){.accuracy_ns = UINT64_MAX};
	for (int i = 0; i < READINGS; i++) {
		struct guest_clock one = {0};
		int r = read_once(client, timeout_ms, &one, error);

		if (r < 0) {
			json_decref(one.said);
			json_decref(ret->said);
			ret->said = NULL;
			return r;
		}
		if (one.accuracy_ns < ret->accuracy_ns) {
			json_t *worse = ret->said;

			*ret = one;
			one.said = worse;
		}
		json_decref(one.said);
	}
	return 0;
}

int guest_clock_correct(struct postern_client *client, const struct guest_clock *clock, bool slew,
	bool hardware, struct postern_error *error)
{
	json_t *params = json_pack("{s:I, s:s, s:b}", "adjust_ns", (json_int_t)-clock->offset_ns,
		       "mode", slew ? "SLEW" : "STEP", "set_hardware", hardware),
	       *answer = NULL;
	int r;

	/* Where there is no such clock, a step without it is no failure. */
	if (!slew && hardware)
		(void)json_object_del(params, "set_hardware");
	r = json_call_object(client, "time.set", params, 0, &answer, error);
	json_decref(params);
	json_decref(answer);
	return r;
}

int guest_clock_after_pause(const char *vm, int64_t *ret_ns, struct postern_error *error)
{
	struct postern_options options = {
		.name = "postern", .connect_ms = ASK_MS, .call_grace_ms = 1};
	struct postern_client *client = NULL;
	AUTO_FREE char *address = NULL;
	struct guest_clock clock;
	int r = postern_vm_address(vm, &address, error);

	*ret_ns = 0;
	if (r == 0)
		r = postern_client_open(address, &options, &client, error);
	if (r < 0)
		return r;
	r = guest_clock_read(client, ASK_MS, &clock, error);
	if (r == 0)
		json_decref(clock.said);
	if (r == 0 && (clock.offset_ns > OFF_MOST_NS || clock.offset_ns < -OFF_MOST_NS)) {
		r = guest_clock_correct(client, &clock, false, true, error);
		*ret_ns = clock.offset_ns;
	}
	postern_client_close(client);
	return r;
}
