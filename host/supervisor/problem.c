/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/supervisor/problem.h"

#include "host/supervisor/machine.h"

static const struct {
	const char *what, *help;
} problems[] = {
	[PROBLEM_CHANNEL_LOST] = {"channel lost", "the VM must be restarted"},
	[PROBLEM_NO_AGENT] = {"no agent answers",
		"look at the console; the guest needs postern's agent and the vsock driver"},
	[PROBLEM_VMM_SILENT] = {"the VMM does not answer",
		"it may be stopped, or wait for memory or a disk of the host; if it stays so, "
		"stop -f ends the VM"},
	[PROBLEM_BALLOON_STUCK] = {"balloon stuck",
		"the guest needs its memory, or lacks the driver: ask for less, or look at "
		"balloon-stats"},
	[PROBLEM_SHARE_DEAD] = {"dead", "remove it and add it again"},
	[PROBLEM_SHARE_STUCK] = {"dead", "the VM must be restarted"},
	[PROBLEM_SHARE_UNMOUNTED] = {"not mounted since the guest was booted again",
		"remove it and add it again"},
};

json_t *problem_to_json(enum problem problem, const char *tag)
{
	const char *what = problems[problem].what;

	return json_pack("{s:o, s:s}", "problem",
		tag ? json_sprintf("share %s %s", tag, what) : json_string(what), "help",
		problems[problem].help);
}

void problem_tell(struct machine *machine, enum problem problem, const char *tag)
{
	json_t *event = problem_to_json(problem, tag);

	(void)json_object_set_new(event, "name", json_string("problem"));
	control_event(&machine->control, event);
}
