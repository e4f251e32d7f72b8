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
	const char *field;
	bool is_size;
} conditions[] = {
	{"load1>", "load1_above", false},
	{"memory<", "memory_available_below", true},
	{"cpu-pressure>", "cpu_pressure_above", false},
	{"memory-pressure>", "memory_pressure_above", false},
	{"io-pressure>", "io_pressure_above", false},
};

static json_t *read_value(const char *text, bool is_size)
{
	uint64_t bytes;
	double number;
	char *end;

	if (is_size)
		return parse_size(text, 1, &bytes) == 0 && bytes <= INT64_MAX
			       ? json_integer((json_int_t)bytes)
			       : NULL;
	number = strtod(text, &end);
	return end > text && *end == '\0' && isfinite(number) && number >= 0 ? json_real(number)
									     : NULL;
}

int load_condition_add(json_t *threshold, const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++) {
		size_t len = strlen(conditions[i].head);
		json_t *value;

		if (strncmp(text, conditions[i].head, len) != 0)
			continue;
		value = read_value(text + len, conditions[i].is_size);
		if (!value)
			return -EINVAL;
		return json_object_set_new(threshold, conditions[i].field, value) == 0 ? 0
										       : -ENOMEM;
	}
	return -EINVAL;
}
