/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* needs: host/cli/load_condition.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "host/cli/load_condition.h"
#include "proto/cleanup.h"

static void conditions_become_fields(void **state)
{
	static const struct {
		const char *text, *json;
	} rows[] = {
		{"load1>4", "{\"load1_above\": 4.0}"},
		{"load1>0.5", "{\"load1_above\": 0.5}"},
		{"memory<64M", "{\"memory_available_below\": 67108864}"},
		{"memory<1", "{\"memory_available_below\": 1}"},
		{"cpu-pressure>20", "{\"cpu_pressure_above\": 20.0}"},
		{"memory-pressure>1", "{\"memory_pressure_above\": 1.0}"},
		{"io-pressure>1e1", "{\"io_pressure_above\": 10.0}"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *threshold = json_object();
		AUTO_FREE char *text = NULL;

		assert_int_equal(load_condition_add(threshold, rows[i].text), 0);
		text = json_dumps(threshold, 0);
		assert_string_equal(text, rows[i].json);
		json_decref(threshold);
	}
}

static void what_is_no_condition_is_refused(void **state)
{
	static const char *const texts[] = {"", "load1", "load1>", "load1<4", "load1>x", "load1>4x",
		"load1>nan", "load1>inf", "load1>-1", "memory>1", "memory<", "memory<lots",
		"memory<99999999999T", "disk>1", "load1 >4"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_t *threshold = json_object();

		assert_int_equal(load_condition_add(threshold, texts[i]), -EINVAL);
		assert_int_equal(json_object_size(threshold), 0);
		json_decref(threshold);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conditions_become_fields),
		cmocka_unit_test(what_is_no_condition_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
