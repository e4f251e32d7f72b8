/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "error.pb-c.h"
#include "proto/client/client.h"

/* Fills in an error of our own making; error may be NULL. */
void error_set(struct postern_error *error, enum postern_failure failure, int sys_errno,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

/* A copy that owns its parts; to may be NULL or from itself. */
void error_copy(struct postern_error *to, const struct postern_error *from);

/* Fills in what the agent answered: text escaped, details packed. */
void error_from_agent(struct postern_error *error, const Postern__V1__Error *from);
