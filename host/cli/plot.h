/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdio.h>

/* A plot of the values, oldest first, as wide as the terminal (80 columns elsewhere) and eight
 * lines high, with its scale. More values than columns are averaged. */
void plot_print(const double *values, size_t n, FILE *out);
