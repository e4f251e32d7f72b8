/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vmm/stats_wait.h"

#include <errno.h>
#include <stdlib.h>

#include "host/common/fail.h"

bool stats_wait(struct stats_wait **list, vmm_stats_fn fn, void *ctx)
{
	struct stats_wait *wait = malloc(sizeof(*wait));
	struct postern_error error = {0};
	bool first = !*list;

	if (!wait) {
		(void)fail_errno(&error, POSTERN_ANSWERED, ENOMEM, "statistics");
		fn(ctx, &error, NULL);
		return false;
	}
	*wait = (struct stats_wait){*list, fn, ctx};
	*list = wait;
	return first;
}

void stats_tell(struct stats_wait **list, const struct postern_error *error, const void *values)
{
	struct stats_wait *all = *list;

	*list = NULL;
	while (all) {
		struct stats_wait *wait = all;

		all = wait->next;
		wait->fn(wait->ctx, error, error ? NULL : values);
		free(wait);
	}
}

void stats_forget(struct stats_wait **list)
{
	while (*list) {
		struct stats_wait *wait = *list;

		*list = wait->next;
		free(wait);
	}
}
