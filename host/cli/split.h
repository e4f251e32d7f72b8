/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#define SPLIT_MAX 8

struct split {
	char *parts[SPLIT_MAX]; /* into the text */
	int n;
};

/* Cuts the text in place at its colons; "\:" and "\\" stand for the characters themselves. Returns
 * the number of parts, or -1 for more than SPLIT_MAX or an empty one. */
int split_colons(char *text, struct split *ret_split);
