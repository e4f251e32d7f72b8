/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is left out of a copy: one side says it, both hear it. */
#pragma once

#include "proto/copy/copy.h"

/* What the other side said. It counts. who: as of copy_watch. */
void problem_hear(const struct copy_watch *watch, struct copy_counts *counts, const char *who,
	const Postern__V1__CopyProblem *problem);

/* Tells it here, and the other side. 0 or -errno. */
int problem_say(struct copy_stream *stream, const struct copy_watch *watch,
	struct copy_counts *counts, const char *path, int sys_errno, const char *message);
