/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* needs: host/cli/load_condition.c */
#include "tests/unit/unit.h"

#include "host/cli/load_condition.h"
#include "proto/cleanup.h"

UNIT(conditions_become_fields)
{
	static const struct {
		const char *text;
		struct postern_threshold threshold;
	} rows[] = {
		{"load1>4", {.which = POSTERN_IF_LOAD1, .load1_above = 4}},
		{"load1>0.5", {.which = POSTERN_IF_LOAD1, .load1_above = 0.5}},
		{"load1>0", {.which = POSTERN_IF_LOAD1}},
		{"memory<64M", {.which = POSTERN_IF_MEMORY, .memory_available_below = 64u << 20}},
		{"memory<1", {.which = POSTERN_IF_MEMORY, .memory_available_below = 1}},
		{"cpu-pressure>20", {.which = POSTERN_IF_CPU_PRESSURE, .cpu_pressure_above = 20}},
		{"memory-pressure>1",
			{.which = POSTERN_IF_MEMORY_PRESSURE, .memory_pressure_above = 1}},
		{"io-pressure>1e1", {.which = POSTERN_IF_IO_PRESSURE, .io_pressure_above = 10}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct postern_threshold got;

		memset(&got, 0, sizeof(got));
		assert_int_equal(load_condition_add(&got, rows[i].text), 0);
		assert_int_equal(got.which, rows[i].threshold.which);
		assert_memory_equal(&got.load1_above, &rows[i].threshold.load1_above,
			sizeof(got) - offsetof(struct postern_threshold, load1_above));
	}
}

UNIT(conditions_add_up)
{
	struct postern_threshold got = {0};

	assert_int_equal(load_condition_add(&got, "load1>4"), 0);
	assert_int_equal(load_condition_add(&got, "io-pressure>5"), 0);
	assert_int_equal(load_condition_add(&got, "load1>3"), 0);
	assert_int_equal(got.which, POSTERN_IF_LOAD1 | POSTERN_IF_IO_PRESSURE);
	assert_true(got.load1_above < 3.5 && got.io_pressure_above > 4.5);
}

UNIT(what_is_no_condition_is_refused)
{
	static const char *const texts[] = {"", "load1", "load1>", "load1<4", "load1>x", "load1>4x",
		"load1>nan", "load1>inf", "load1>-1", "memory>1", "memory<", "memory<lots",
		"memory<99999999999T", "disk>1", "load1 >4"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct postern_threshold got = {0};

		assert_int_equal(load_condition_add(&got, texts[i]), -EINVAL);
		assert_int_equal(got.which, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {RUN(conditions_become_fields), RUN(conditions_add_up),
		RUN(what_is_no_condition_is_refused)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
