/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/style.h"
#include "proto/cleanup.h"
#include "proto/client/text.h"

#define GAP 2

void table_init(struct table *table, const struct table_head *heads)
{
	*table = (struct table){.heads = heads};
	while (table->n_columns < TABLE_COLUMNS && heads[table->n_columns].text)
		table->n_columns++;
}

/* Adds the cell, escaped. */
static void add(struct table *table, const char *text, size_t len)
{
	char **cells = reallocarray(table->cells, table->n_cells + 1, sizeof(*cells));
	char *cell = cells ? postern_escape_dup(text, len) : NULL;

	if (cells)
		table->cells = cells;
	if (!cell) {
		table->failed = true;
		return;
	}
	cells[table->n_cells++] = cell;
}

void table_cell(struct table *table, const char *format, ...)
{
	AUTO_FREE char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0) {
		text = NULL;
		table->failed = true;
		return;
	}
	add(table, text, (size_t)n);
}

static void print_cell(
	const struct table *table, size_t column, const char *text, size_t width, FILE *out)
{
	size_t columns = postern_columns(text), pad = width > columns ? width - columns : 0;
	bool last = column + 1 == table->n_columns;

	if (table->heads[column].align == TABLE_RIGHT)
		(void)fprintf(out, "%*s%s", (int)pad, "", text);
	else
		(void)fprintf(out, "%s%*s", text, last ? 0 : (int)pad, "");
	(void)fprintf(out, "%*s", last ? 0 : GAP, "");
}

void table_print(struct table *table, FILE *out)
{
	size_t widths[TABLE_COLUMNS] = {0};

	for (size_t column = 0; column < table->n_columns; column++) {
		widths[column] = postern_columns(table->heads[column].text);
		for (size_t i = column; i < table->n_cells; i += table->n_columns) {
			size_t width = postern_columns(table->cells[i]);

			if (width > widths[column])
				widths[column] = width;
		}
	}
	(void)fputs(style(out, STYLE_BOLD), out);
	for (size_t i = 0; i < table->n_columns; i++)
		print_cell(table, i, table->heads[i].text, widths[i], out);
	(void)fprintf(out, "%s\n", style(out, STYLE_PLAIN));
	for (size_t i = 0, column = 0; i < table->n_cells; i++, column++) {
		if (column == table->n_columns)
			column = 0;
		print_cell(table, column, table->cells[i], widths[column], out);
		if (column + 1 == table->n_columns)
			(void)fputc('\n', out);
		free(table->cells[i]);
	}
	if (table->failed)
		(void)fputs("(out of memory: the table is not complete)\n", out);
	free(table->cells);
	*table = (struct table){0};
}
