/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_RED, STYLE_YELLOW, STYLE_DIM };

/* The control sequence for a style, or "" where out is no terminal, TERM is "dumb" or NO_COLOR is
 * set. */
const char *style(FILE *out, enum style style);
