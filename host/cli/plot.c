/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/plot.h"

#include <langinfo.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LINES     8
#define LABEL     10 /* columns of the scale */
#define WIDTH     80
#define WIDTH_MAX 240
#define EIGHTHS   8 /* steps that one character shows */

static size_t width_of(FILE *out)
{
	struct winsize size;
	size_t columns = WIDTH;

	if (isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 &&
		size.ws_col > LABEL + 8)
		columns = size.ws_col;
	columns -= LABEL + 1;
	return columns < WIDTH_MAX ? columns : WIDTH_MAX;
}

/* Brings the values down to the width. Returns how many there are then. */
static size_t fit(const double *values, size_t n, double *fitted, size_t width)
{
	size_t columns = n < width ? n : width;

	for (size_t i = 0; i < columns; i++) {
		size_t from = i * n / columns, to = (i + 1) * n / columns;
		double sum = 0;

		for (size_t j = from; j < to; j++)
			sum += values[j];
		fitted[i] = sum / (double)(to - from);
	}
	return columns;
}

/* One character, level eighths high. */
static const char *bar(int level, bool utf8)
{
	static const char *const blocks[] = {" ", "\u2581", "\u2582", "\u2583", "\u2584", "\u2585",
		"\u2586", "\u2587", "\u2588"};
	static const char *const plain[] = {" ", ".", ".", ":", ":", "|", "|", "#", "#"};

	return utf8 ? blocks[level] : plain[level];
}

void plot_print(const double *values, size_t n, FILE *out)
{
	bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	double fitted[WIDTH_MAX], highest = 0;
	size_t columns = fit(values, n, fitted, width_of(out));

	for (size_t i = 0; i < columns; i++)
		highest = fitted[i] > highest ? fitted[i] : highest;
	for (int line = LINES - 1; line >= 0; line--) {
		if (line == LINES - 1)
			(void)fprintf(out, "%*.4g ", LABEL, highest);
		else
			(void)fprintf(out, "%*s ", LABEL, line == 0 ? "0" : "");
		for (size_t i = 0; i < columns; i++) {
			double level = highest > 0 ? fitted[i] / highest * LINES * EIGHTHS : 0;
			int here = (int)(level + 0.5) - line * EIGHTHS;

			(void)fputs(bar(here < 0 ? 0 : here > EIGHTHS ? EIGHTHS : here, utf8), out);
		}
		(void)fputc('\n', out);
	}
}
