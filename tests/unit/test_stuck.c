/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of processes that do not end, with this program as the reader whose children they are.
 */
/* needs: agent/broker/stuck.c agent/broker/quarantine.c agent/broker/child.c */
/* needs: agent/inner.c agent/row.c agent/touch.c */
/* needs: agent/sandbox/confine.c agent/sandbox/families.c */
#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "agent/broker/child.h"
#include "agent/broker/freeze.h"
#include "agent/broker/stuck.h"
#include "agent/touch.h"
#include "proto/cleanup.h"
#include "proto/log.h"

void freeze_describe(const struct broker *broker, struct freeze_facts *ret)
{
	(void)broker;
	*ret = (struct freeze_facts){.lease = 1};
}

static struct broker broker;
static struct child reader;
static pid_t hanging[STUCK_MAX + 1];

static int set_up(void **state)
{
	(void)state;
	memset(&broker, 0, sizeof(broker));
	list_init(&broker.children);
	broker.sources.quarantine = memfd_create("quarantine", MFD_CLOEXEC);
	reader = (struct child){.broker = &broker, .pid = getpid(), .method = METHOD_mounts_list};
	for (size_t i = 0; i < ARRAY_SIZE(hanging); i++) {
		hanging[i] = fork();
		if (hanging[i] == 0)
			for (;;)
				pause();
	}
	return loop_init(&broker.loop);
}

static void end(size_t i)
{
	if (hanging[i] > 0) {
		(void)kill(hanging[i], SIGKILL);
		(void)waitpid(hanging[i], NULL, 0);
	}
	hanging[i] = 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hanging); i++)
		end(i);
	for (int i = 0; i < 3; i++)
		(void)loop_once(&broker.loop, 0);
	loop_done(&broker.loop);
	(void)close(broker.sources.quarantine);
	return 0;
}

static size_t listed(void)
{
	size_t n = 0;

	for (size_t i = 0; i < STUCK_MAX; i++)
		n += broker.stuck[i].pid > 0;
	return n;
}

static struct quarantine quarantine(void)
{
	struct quarantine quarantine;

	assert_int_equal(pread(broker.sources.quarantine, &quarantine, sizeof(quarantine), 0),
		sizeof(quarantine));
	return quarantine;
}

static void test_each_is_listed_once_until_it_ends(void **state)
{
	(void)state;
	stuck_add_child_of(&reader, hanging[0], 7);
	stuck_add_child_of(&reader, hanging[0], 7);
	assert_int_equal(listed(), 1);
	assert_true(stuck_runs(&broker, METHOD_mounts_list));
	assert_int_equal(quarantine().n, 1);
	end(0);
	assert_int_equal(loop_once(&broker.loop, 1000), 0);
	assert_int_equal(listed(), 0);
	assert_int_equal(quarantine().n, 0);
}

static void test_who_is_no_child_of_the_reader_is_not_listed(void **state)
{
	(void)state;
	stuck_add_child_of(&reader, 1, 7);
	stuck_add_child_of(&reader, getpid(), 7);
	stuck_add_child_of(&reader, 0, 7);
	stuck_add_child_of(&reader, -1, 7);
	assert_int_equal(listed(), 0);
}

static void test_a_device_is_quarantined_once_however_many_hang_on_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < STUCK_MANY; i++) {
		assert_false(stuck_many(&broker));
		stuck_add_child_of(&reader, hanging[i], 7 + i % 2);
	}
	assert_true(stuck_many(&broker));
	assert_int_equal(quarantine().n, 2);
	end(0);
	assert_int_equal(loop_once(&broker.loop, 1000), 0);
	assert_false(stuck_many(&broker));
	assert_int_equal(quarantine().n, 2);
}

static void test_what_was_under_way_is_listed_too(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hanging); i++)
		stuck_add_child_of(&reader, hanging[i], 1 + i);
	assert_int_equal(listed(), STUCK_MAX);
	assert_int_equal(quarantine().n, STUCK_MAX);
}

/* A writer's device is one that others may look at, unless somebody hangs who only looked. */
static void test_a_look_that_hangs_counts_for_more_than_a_write(void **state)
{
	const struct touched touch = {.device = 7, .how = TOUCH_WRITE};
	struct child *writer = calloc(1, sizeof(*writer));

	(void)state;
	*writer = (struct child){.broker = &broker,
		.pid = hanging[0],
		.pidfd = -EBADF,
		.socket = -EBADF,
		.method = METHOD_mounts_unmount,
		.touch = memfd_create("touch", MFD_CLOEXEC)};
	assert_int_equal(pwrite(writer->touch, &touch, sizeof(touch), 0), sizeof(touch));
	stuck_add(writer);
	assert_int_equal(quarantine().place[0].writes_only, 1);
	stuck_add_child_of(&reader, hanging[1], 7);
	assert_int_equal(quarantine().n, 1);
	assert_int_equal(quarantine().place[0].writes_only, 0);
	writer->on_exit(writer);
	assert_int_equal(listed(), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_each_is_listed_once_until_it_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_who_is_no_child_of_the_reader_is_not_listed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_device_is_quarantined_once_however_many_hang_on_it, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_what_was_under_way_is_listed_too, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_look_that_hangs_counts_for_more_than_a_write, set_up, tear_down),
	};

	log_open("test_stuck", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
