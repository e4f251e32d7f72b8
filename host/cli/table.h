/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables whose columns line up. Every cell is escaped: it may hold a guest's bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS 12

enum table_align { TABLE_LEFT, TABLE_RIGHT };

struct table {
	size_t n_columns;
	const char *heads[TABLE_COLUMNS];
	enum table_align align[TABLE_COLUMNS];
	char **cells; /* owned, row by row */
	size_t n_cells;
	bool failed; /* out of memory */
};

/* Adds a column (head borrowed). Before the first cell. */
void table_column(struct table *table, const char *head, enum table_align align);

/* Adds the next cell of the current row; a row is complete with its last column. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for bytes that need not end with NUL. */
void table_bytes(struct table *table, const void *bytes, size_t len);

/* Prints heads and rows and frees the table. The last column is not padded. */
void table_print(struct table *table, FILE *out);
