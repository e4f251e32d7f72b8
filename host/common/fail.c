/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/common/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/cleanup.h"

static const char *const names[] = {
	[POSTERN_DONE] = "done",
	[POSTERN_ANSWERED] = "answered",
	[POSTERN_USAGE] = "usage",
	[POSTERN_REFUSED] = "refused",
	[POSTERN_ABSENT] = "absent",
	[POSTERN_TIMED_OUT] = "timed-out",
	[POSTERN_PROTOCOL] = "protocol",
};

__attribute__((format(printf, 4, 0))) static int fill(struct postern_error *error,
	enum postern_failure failure, int err, const char *format, va_list args)
{
	/* The arguments may point into the old message. */
	char message[sizeof(error->message)];

	(void)vsnprintf(message, sizeof(message), format, args);
	if (error) {
		postern_error_clear(error);
		error->failure = failure;
		error->sys_errno = err;
		memcpy(error->message, message, sizeof(message));
	}
	return err ? -err : -EIO;
}

int fail(
	struct postern_error *error, enum postern_failure failure, int err, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = fill(error, failure, err, format, args);
	va_end(args);
	return r;
}

int fail_errno(
	struct postern_error *error, enum postern_failure failure, int err, const char *format, ...)
{
	va_list args;
	size_t len;
	int r;

	va_start(args, format);
	r = fill(error, failure, err, format, args);
	va_end(args);
	if (error) {
		len = strlen(error->message);
		(void)snprintf(
			error->message + len, sizeof(error->message) - len, ": %s", strerror(err));
	}
	return r;
}

const char *failure_name(enum postern_failure failure)
{
	return (size_t)failure < ARRAY_SIZE(names) ? names[failure] : "answered";
}

enum postern_failure failure_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], name) == 0)
			return (enum postern_failure)i;
	return POSTERN_ANSWERED;
}
