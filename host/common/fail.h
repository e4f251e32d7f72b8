/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the host's code says that something went wrong: -errno, and a sentence for a person. */
#pragma once

#include "proto/client/client.h"

/*
 * Fills *error (NULL is allowed) with the kind of failure, the errno that caused it (0: none) and a
 * sentence; what it held before is freed. The sentence is escaped text only: callers pass a guest's
 * or the VMM's bytes through postern_escape() first. Returns -err, or -EIO where err is 0:
 * return fail(...).
 */
int fail(struct postern_error *error, enum postern_failure failure, int err, const char *format,
	...) __attribute__((format(printf, 4, 5)));

/* fail() with ": " and the text of err behind the sentence. */
int fail_errno(struct postern_error *error, enum postern_failure failure, int err,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The name of a kind of failure as the control socket and --json carry it ("timed-out"), and back:
 * POSTERN_ANSWERED for a word that is not known. */
const char *failure_name(enum postern_failure failure);
enum postern_failure failure_parse(const char *name);
