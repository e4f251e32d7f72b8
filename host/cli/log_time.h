/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>
#include <time.h>

/*
 * A moment as people type it, in the local time zone: "2026-11-22 18:30[:00]", "2026-11-22",
 * "18:30" (today), "today", "yesterday", "now", "-1h" and "1h ago" (units as parse_duration() has
 * them),
 * "@1700000000". now is the moment of asking. 0 with microseconds since 1970, or -EINVAL.
 */
int parse_moment(const char *text, time_t now, int64_t *ret_us);
