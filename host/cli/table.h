/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables whose columns line up. Every cell is escaped: it may hold a guest's bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS 12

enum table_align { TABLE_LEFT, TABLE_RIGHT };

struct table_head {
	const char *text;
	enum table_align align;
};

struct table {
	const struct table_head *heads; /* borrowed */
	size_t n_columns;
	char **cells; /* owned, row by row */
	size_t n_cells;
	bool failed; /* out of memory */
};

/* Begins a table with these columns, TABLE_COLUMNS at most; {0} is behind the last. */
void table_init(struct table *table, const struct table_head *heads);

/* Adds the next cell of the current row; a row is complete with its last column. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints heads and rows and frees the table. The last column is not padded. */
void table_print(struct table *table, FILE *out);
