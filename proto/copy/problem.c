/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/copy/problem.h"

#include <string.h>

/* Of a text of the other side, bytes: a person reads it, and programs keep many of them. */
#define PATH_SIZE    4096
#define MESSAGE_SIZE 512

static void tell(const struct copy_watch *watch, struct copy_counts *counts, const char *who,
	const char *path, int sys_errno, const char *message)
{
	counts->problems++;
	if (watch->problem)
		watch->problem(watch->ctx, who, path, sys_errno, message);
}

void problem_hear(const struct copy_watch *watch, struct copy_counts *counts, const char *who,
	const Postern__V1__CopyProblem *problem)
{
	const char *said = problem->message ? problem->message : "";
	char path[PATH_SIZE], message[MESSAGE_SIZE];
	size_t len = problem->path.len < sizeof(path) ? problem->path.len : sizeof(path) - 1;

	if (len > 0)
		memcpy(path, problem->path.data, len);
	path[len] = '\0';
	len = strnlen(said, sizeof(message) - 1);
	memcpy(message, said, len);
	message[len] = '\0';
	tell(watch, counts, who, path, problem->sys_errno, message);
}

int problem_say(struct copy_stream *stream, const struct copy_watch *watch,
	struct copy_counts *counts, const char *path, int sys_errno, const char *message)
{
	Postern__V1__CopyProblem problem = POSTERN__V1__COPY_PROBLEM__INIT;

	tell(watch, counts, NULL, path, sys_errno, message);
	problem.has_path = problem.has_sys_errno = true;
	problem.path.data = (uint8_t *)path;
	problem.path.len = strlen(path);
	problem.sys_errno = sys_errno;
	problem.message = (char *)message;
	return copy_put(stream, POSTERN__V1__COPY_RECORD__KIND_PROBLEM, &problem);
}
