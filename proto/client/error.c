/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/client/error.h"
#include "proto/client/text.h"
#include "proto/encode.h"

void postern_error_clear(struct postern_error *error)
{
	if (!error)
		return;
	free(error->packed);
	*error = (struct postern_error){0};
}

void error_set(struct postern_error *error, enum postern_failure failure, int sys_errno,
	const char *format, ...)
{
	va_list args;

	if (!error)
		return;
	postern_error_clear(error);
	error->failure = failure;
	error->sys_errno = sys_errno;
	va_start(args, format);
	(void)vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
}

void error_copy(struct postern_error *to, const struct postern_error *from)
{
	if (!to || to == from)
		return;
	postern_error_clear(to);
	*to = *from;
	to->packed = from->packed ? malloc(from->packed_len + 1) : NULL;
	if (to->packed)
		memcpy(to->packed, from->packed, from->packed_len);
	else
		to->packed_len = 0;
}

/* EPERM and the like of a guest's system call is its answer; a rule's word is a refusal. */
static enum postern_failure failure_of(const Postern__V1__Error *error)
{
	if (error->rule || error->code == POSTERN__V1__CODE__UNAUTHENTICATED)
		return POSTERN_REFUSED;
	if (error->code == POSTERN__V1__CODE__DEADLINE_EXCEEDED)
		return POSTERN_TIMED_OUT;
	return POSTERN_ANSWERED;
}

void error_from_agent(struct postern_error *error, const Postern__V1__Error *from)
{
	if (!error)
		return;
	postern_error_clear(error);
	error->code = (int)from->code;
	error->failure = failure_of(from);
	error->sys_errno = from->sys_errno;
	error->outcome = from->outcome <= POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN
				 ? (enum postern_outcome)from->outcome
				 : POSTERN_UNKNOWN;
	if (from->message)
		postern_escape(from->message, strlen(from->message), error->message,
			sizeof(error->message));
	if (from->rule)
		postern_escape(from->rule, strlen(from->rule), error->rule, sizeof(error->rule));
	error->packed = encode_new(&from->base, &error->packed_len);
}
