/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Balloon statistics from QEMU. The guest is asked only while somebody waits for the answer: the
 * property guest-stats-polling-interval is set, guest-stats is read until its last-update moves,
 * and the interval goes back to 0, so that an idle guest stays idle.
 */
#include "host/common/json_line.h"
#include "host/vmm/qemu_vmm.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define BALLOON_PATH "/machine/peripheral/balloon0"
#define LOOK_MS      100
#define LOOKS_MAX    22 /* last-update counts seconds: it moves within one, if the guest answers */

static void look(struct vmm *vmm);

static void set_interval(struct vmm *vmm, int seconds)
{
	(void)qemu_call(vmm, "qom-set",
		json_pack("{s:s, s:s, s:i}", "path", BALLOON_PATH, "property",
			"guest-stats-polling-interval", "value", seconds),
		NULL, NULL);
}

static uint64_t current_pages(const struct vmm *vmm, const json_t *result)
{
	uint64_t all = vmm->config->memory_bytes;
	json_int_t left = json_field_int(result, "actual", (json_int_t)all);

	return balloon_pages(all, left < 0 ? all : (uint64_t)left);
}

static void on_size(void *ctx, const struct postern_error *error, const json_t *result)
{
	struct vmm *vmm = ctx;
	struct balloon_stats values = {.current_pages = current_pages(vmm, result)};

	stats_tell(&vmm->size, error, &values);
}

void qemu_balloon_size(struct vmm *vmm, vmm_stats_fn fn, void *ctx)
{
	struct postern_error error = {0};
	int r;

	if (!stats_wait(&vmm->size, fn, ctx))
		return;
	r = qemu_call(vmm, "query-balloon", NULL, on_size, vmm);
	if (r == 0)
		return;
	(void)qemu_fail(&error, r, "query-balloon");
	stats_tell(&vmm->size, &error, NULL);
}

static void on_balloon(void *ctx, const struct postern_error *error, const json_t *result)
{
	struct vmm *vmm = ctx;

	vmm->stats_values.current_pages = current_pages(vmm, result);
	vmm->stats_values.requested_pages = vmm->balloon.requested;
	stats_tell(&vmm->stats, error, &vmm->stats_values);
}

static void end_round(struct vmm *vmm, const struct postern_error *error)
{
	loop_timer_del(&vmm->stats_timer);
	if (vmm->stats_looks > 0)
		set_interval(vmm, 0);
	if (error) {
		stats_tell(&vmm->stats, error, NULL);
		return;
	}
	if (qemu_call(vmm, "query-balloon", NULL, on_balloon, vmm) < 0)
		on_balloon(vmm, NULL, NULL);
}

static void on_look(struct loop_timer *timer)
{
	look(container_of(timer, struct vmm, stats_timer));
}

static void on_stats(void *ctx, const struct postern_error *error, const json_t *result)
{
	struct vmm *vmm = ctx;
	json_int_t at = 0;

	if (error) {
		end_round(vmm, error);
		return;
	}
	balloon_read_stats(json_object_get(result, "stats"), BALLOON_QEMU,
		vmm->config->memory_bytes + vmm->config->plug_bytes, &vmm->stats_values);
	at = json_field_int(result, "last-update", 0);
	if (vmm->stats_looks == 0) {
		vmm->stats_before = at;
		set_interval(vmm, 1);
	}
	if (at != vmm->stats_before || vmm->stats_looks++ >= LOOKS_MAX) {
		end_round(vmm, NULL);
		return;
	}
	vmm->stats_timer.fn = on_look;
	loop_timer_set(vmm->loop, &vmm->stats_timer, monotonic_ns() + LOOK_MS * NSEC_PER_MSEC);
}

static void look(struct vmm *vmm)
{
	struct postern_error error = {0};
	int r = qemu_call(vmm, "qom-get",
		json_pack("{s:s, s:s}", "path", BALLOON_PATH, "property", "guest-stats"), on_stats,
		vmm);

	if (r == 0)
		return;
	(void)qemu_fail(&error, r, "qom-get");
	end_round(vmm, &error);
}

void qemu_balloon_stats(struct vmm *vmm, vmm_stats_fn fn, void *ctx)
{
	if (!stats_wait(&vmm->stats, fn, ctx))
		return;
	vmm->stats_looks = 0;
	look(vmm);
}

void qemu_stats_forget(struct vmm *vmm)
{
	loop_timer_del(&vmm->stats_timer);
	stats_forget(&vmm->stats);
	stats_forget(&vmm->size);
}
