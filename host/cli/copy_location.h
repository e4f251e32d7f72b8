/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A place of a copy as it is written: a path of this machine, or of a guest. */
#pragma once

#include <stddef.h>

struct copy_location {
	char *vm;         /* owned; NULL: this machine */
	const char *path; /* borrowed from the word */
};

/* "VM:PATH", "[ADDRESS]:PATH", or a path of ours. The caller frees vm. */
void copy_location_parse(const char *word, struct copy_location *ret);

/* What is wrong with copying from there to there, for a person; NULL: nothing. */
const char *copy_location_check(
	const struct copy_location *from, size_t n, const struct copy_location *to);
