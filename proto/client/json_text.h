/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON as text, the one way of writing it. */
#pragma once

#include <jansson.h>
#include <stdio.h>

/*
 * Any JSON value as text that may be shown on a terminal and put on a line: ASCII without control
 * characters, whatever its strings hold (\uNNNN stands for the rest). indent is the number of
 * blanks for each level; 0: all on one line. The caller frees. NULL: out of memory, or no value.
 */
char *json_text(const json_t *json, unsigned int indent);

/* The same to a stream, with a newline. 0, or -errno where it was not written. */
int json_print(const json_t *json, unsigned int indent, FILE *out);
