/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/balloon_rule.h"

#define PAGE       UINT64_C(4096)
#define STEP_PARTS 20 /* of the machine's memory */
#define STEP_LEAST (UINT64_C(16) << 20)
#define QUIET_MS   30000 /* without pressure, before something is taken */
#define SETTLE_MS  10000 /* for what was taken to show */
#define GIVE_MS    1000  /* between two gifts */
#define HOST_SPARE 5     /* percent that are not given away */

static uint64_t step_of(const struct balloon_bounds *bounds)
{
	uint64_t step = bounds->total / STEP_PARTS / PAGE * PAGE;

	return step < STEP_LEAST ? STEP_LEAST : step;
}

static uint64_t clamp(const struct balloon_bounds *bounds, uint64_t bytes)
{
	return bytes < bounds->floor     ? bounds->floor
	       : bytes > bounds->ceiling ? bounds->ceiling
					 : bytes;
}

static uint64_t less(uint64_t bytes, uint64_t by)
{
	return bytes > by ? bytes - by : 0;
}

static enum balloon_reason change(struct balloon_rule *rule, const struct balloon_view *view,
	uint64_t target, enum balloon_reason reason)
{
	if (target == rule->target)
		return BALLOON_KEPT;
	rule->target = target;
	rule->changed_ms = view->now_ms;
	return reason;
}

/* What was asked for last has come about, as far as it is seen from here. */
static bool is_settled(const struct balloon_rule *rule, const struct balloon_view *view)
{
	uint64_t away =
		view->left > rule->target ? view->left - rule->target : rule->target - view->left;

	return away < step_of(&rule->bounds) &&
	       (rule->changed_ms == 0 || view->now_ms - rule->changed_ms >= SETTLE_MS);
}

static bool may_take(const struct balloon_rule *rule, const struct balloon_view *view)
{
	if (view->host_available >= rule->bounds.host_low || !view->heard)
		return false;
	if (rule->pressed_ms != 0 && view->now_ms - rule->pressed_ms < QUIET_MS)
		return false;
	/* Two steps: what is taken is not what it needs next. */
	if (view->guest_available != BALLOON_UNKNOWN_BYTES &&
		view->guest_available < 2 * step_of(&rule->bounds))
		return false;
	return is_settled(rule, view);
}

static enum balloon_reason give(struct balloon_rule *rule, const struct balloon_view *view)
{
	uint64_t step = step_of(&rule->bounds) * view->pressure;

	rule->pressed_ms = view->now_ms;
	if (view->host_available < HOST_SPARE)
		return BALLOON_HOST_FULL;
	if (rule->changed_ms != 0 && view->now_ms - rule->changed_ms < GIVE_MS)
		return BALLOON_KEPT;
	return change(rule, view, clamp(&rule->bounds, rule->target + step), BALLOON_GIVEN);
}

enum balloon_reason balloon_rule_next(struct balloon_rule *rule, const struct balloon_view *view)
{
	uint64_t step = step_of(&rule->bounds);

	if (rule->target == 0)
		rule->target = view->left;
	if (view->pressure > 0)
		return give(rule, view);
	if (rule->target < rule->bounds.floor)
		return change(rule, view, rule->bounds.floor, BALLOON_BOUNDS);
	if (rule->target > rule->bounds.ceiling && is_settled(rule, view)) {
		uint64_t target = less(rule->target, step);

		return change(rule, view,
			target < rule->bounds.ceiling ? rule->bounds.ceiling : target,
			BALLOON_BOUNDS);
	}
	if (!may_take(rule, view))
		return BALLOON_KEPT;
	return change(rule, view, clamp(&rule->bounds, less(rule->target, step)), BALLOON_TAKEN);
}
