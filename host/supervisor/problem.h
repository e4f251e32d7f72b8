/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What can be wrong with a machine that goes on running, and what helps. */
#pragma once

#include <jansson.h>

struct machine;

enum problem {
	PROBLEM_CHANNEL_LOST,
	PROBLEM_NO_AGENT,
	PROBLEM_VMM_SILENT,
	PROBLEM_BALLOON_STUCK,
	PROBLEM_SHARE_DEAD,
	PROBLEM_SHARE_STUCK, /* dead, and somebody in the guest waits for it */
	PROBLEM_SHARE_UNMOUNTED,
};

/* {"problem": "share TAG dead", "help": "..."}: a new reference. tag is NULL for what is no
 * share's. */
json_t *problem_to_json(enum problem problem, const char *tag);

/* Tells the subscribers that it has just begun. */
void problem_tell(struct machine *machine, enum problem problem, const char *tag);
