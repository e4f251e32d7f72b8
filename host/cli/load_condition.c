/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/load_condition.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host/common/text.h"
#include "proto/cleanup.h"

static const struct {
	const char *head;
	enum postern_condition which;
	size_t offset;
} conditions[] = {
#define AT(field) offsetof(struct postern_threshold, field)
	{"load1>", POSTERN_IF_LOAD1, AT(load1_above)},
	{"memory<", POSTERN_IF_MEMORY, AT(memory_available_below)},
	{"cpu-pressure>", POSTERN_IF_CPU_PRESSURE, AT(cpu_pressure_above)},
	{"memory-pressure>", POSTERN_IF_MEMORY_PRESSURE, AT(memory_pressure_above)},
	{"io-pressure>", POSTERN_IF_IO_PRESSURE, AT(io_pressure_above)},
#undef AT
};

static int read_number(const char *text, double *ret)
{
	char *end;
	double number = strtod(text, &end);

	if (end == text || *end != '\0' || !isfinite(number) || number < 0)
		return -EINVAL;
	*ret = number;
	return 0;
}

int load_condition_add(struct postern_threshold *threshold, const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++) {
		size_t len = strlen(conditions[i].head);
		void *at = (char *)threshold + conditions[i].offset;
		int r;

		if (strncmp(text, conditions[i].head, len) != 0)
			continue;
		r = conditions[i].which == POSTERN_IF_MEMORY ? parse_size(text + len, 1, at)
							     : read_number(text + len, at);
		if (r < 0)
			return -EINVAL;
		threshold->which |= conditions[i].which;
		return 0;
	}
	return -EINVAL;
}
