/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The event loop: order of timers, and sources that go while others are served. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/loop.h"

#define SOURCES 8

/* What the callbacks saw, in order. */
static char seen[64];
static size_t n_seen;

static void note(char what)
{
	if (n_seen + 1 < sizeof(seen))
		seen[n_seen++] = what;
}

struct named_timer {
	struct loop_timer timer;
	char name;
	struct loop_timer *victim; /* disarmed when this one fires */
	int again;                 /* arms itself so often */
};

static void on_timer(struct loop_timer *timer)
{
	struct named_timer *named = container_of(timer, struct named_timer, timer);

	note(named->name);
	assert_null(timer->loop);
}

static struct loop loop;

static int set_up(void **state)
{
	(void)state;
	memset(seen, 0, sizeof(seen));
	n_seen = 0;
	return loop_init(&loop);
}

static int tear_down(void **state)
{
	(void)state;
	loop_done(&loop);
	return 0;
}

static struct named_timer timer_named(char name)
{
	return (struct named_timer){.timer.fn = on_timer, .name = name};
}

UNIT(timers_fire_in_the_order_of_their_times)
{
	struct named_timer a = timer_named('a'), b = timer_named('b'), c = timer_named('c');
	uint64_t now = monotonic_ns();

	loop_timer_set(&loop, &b.timer, now - 20);
	loop_timer_set(&loop, &c.timer, now - 10);
	loop_timer_set(&loop, &a.timer, now - 30);
	assert_int_equal(loop_once(&loop, 1000), 0);
	assert_string_equal(seen, "abc");
	assert_null(loop.timers);
}

UNIT(equal_times_fire_in_the_order_of_arming)
{
	struct named_timer a = timer_named('a'), b = timer_named('b'), c = timer_named('c');
	uint64_t then = monotonic_ns() - 5;

	loop_timer_set(&loop, &a.timer, then);
	loop_timer_set(&loop, &b.timer, then);
	loop_timer_set(&loop, &c.timer, then);
	loop_timer_set(&loop, &a.timer, then); /* moved behind the others */
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_string_equal(seen, "bca");
}

UNIT(a_timer_can_be_moved_and_disarmed)
{
	struct named_timer a = timer_named('a'), b = timer_named('b');
	uint64_t now = monotonic_ns();

	loop_timer_set(&loop, &a.timer, now - 10);
	loop_timer_set(&loop, &b.timer, now - 5);
	loop_timer_set(&loop, &a.timer, now + 3600 * NSEC_PER_SEC);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_string_equal(seen, "b");
	loop_timer_del(&a.timer);
	loop_timer_del(&a.timer);
	assert_null(loop.timers);
}

UNIT(a_timer_is_not_early)
{
	struct named_timer a = timer_named('a');
	uint64_t at = monotonic_ns() + 5 * NSEC_PER_MSEC;

	loop_timer_set(&loop, &a.timer, at);
	while (n_seen == 0) {
		assert_int_equal(loop_once(&loop, -1), 0);
		if (n_seen > 0)
			assert_true(monotonic_ns() >= at);
	}
	assert_string_equal(seen, "a");
}

static void kill_victim(struct loop_timer *timer)
{
	struct named_timer *named = container_of(timer, struct named_timer, timer);

	note(named->name);
	loop_timer_del(named->victim);
}

UNIT(a_timer_can_disarm_another_of_the_same_round)
{
	struct named_timer a = timer_named('a'), b = timer_named('b'), c = timer_named('c');
	uint64_t now = monotonic_ns();

	a.timer.fn = kill_victim;
	a.victim = &b.timer;
	loop_timer_set(&loop, &a.timer, now - 30);
	loop_timer_set(&loop, &b.timer, now - 20);
	loop_timer_set(&loop, &c.timer, now - 10);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_string_equal(seen, "ac");
}

static void arm_again(struct loop_timer *timer)
{
	struct named_timer *named = container_of(timer, struct named_timer, timer);

	note(named->name);
	if (named->again-- > 0)
		loop_timer_set(&loop, timer, monotonic_ns() + NSEC_PER_MSEC);
	else
		loop_stop(&loop, 7);
}

UNIT(a_timer_can_arm_itself_again)
{
	struct named_timer a = timer_named('a');

	a.timer.fn = arm_again;
	a.again = 3;
	loop_timer_set(&loop, &a.timer, 0);
	assert_int_equal(loop_run(&loop), 7);
	assert_string_equal(seen, "aaaa");
}

struct source {
	struct loop_io io;
	int fds[2];
	struct source *all; /* this one removes all others */
};

static void sources_new(struct source *sources, void (*fn)(struct loop_io *, uint32_t))
{
	for (int i = 0; i < SOURCES; i++) {
		sources[i] = (struct source){.io.fn = fn, .all = sources};
		assert_int_equal(pipe2(sources[i].fds, O_CLOEXEC | O_NONBLOCK), 0);
		assert_int_equal(loop_io_add(&loop, &sources[i].io, sources[i].fds[0], EPOLLIN), 0);
		assert_int_equal(write(sources[i].fds[1], "x", 1), 1);
	}
}

static void sources_free(struct source *sources)
{
	for (int i = 0; i < SOURCES; i++) {
		loop_io_del(&sources[i].io);
		(void)close(sources[i].fds[0]);
		(void)close(sources[i].fds[1]);
	}
}

static void on_source(struct loop_io *io, uint32_t events)
{
	char byte;

	assert_int_equal(events, EPOLLIN);
	assert_int_equal(read(io->fd, &byte, 1), 1);
	note('.');
}

static void remove_all(struct loop_io *io, uint32_t events)
{
	struct source *source = container_of(io, struct source, io);

	(void)events;
	note('!');
	for (int i = 0; i < SOURCES; i++)
		loop_io_del(&source->all[i].io);
}

UNIT(all_ready_sources_are_served_in_one_round)
{
	struct source sources[SOURCES];

	sources_new(sources, on_source);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_string_equal(seen, "........");
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(n_seen, SOURCES);
	sources_free(sources);
}

UNIT(sources_removed_in_a_round_are_not_served_in_it)
{
	struct source *sources = calloc(SOURCES, sizeof(*sources));

	assert_non_null(sources);
	sources_new(sources, remove_all);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_string_equal(seen, "!");
	sources_free(sources);
	free(sources);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_string_equal(seen, "!");
}

/* Frees every other source at once: whoever is served afterwards would be read after free. */
struct heap_source {
	struct loop_io io;
	struct heap_source **all;
	int fds[2];
};

static void heap_source_free(struct heap_source *source)
{
	loop_io_del(&source->io);
	(void)close(source->fds[0]);
	(void)close(source->fds[1]);
	free(source);
}

static void free_others(struct loop_io *io, uint32_t events)
{
	struct heap_source *self = container_of(io, struct heap_source, io);

	(void)events;
	note('!');
	for (int i = 0; i < SOURCES; i++)
		if (self->all[i] && self->all[i] != self) {
			heap_source_free(self->all[i]);
			self->all[i] = NULL;
		}
}

UNIT(sources_freed_in_a_round_are_forgotten)
{
	struct heap_source *all[SOURCES];

	for (int i = 0; i < SOURCES; i++) {
		all[i] = calloc(1, sizeof(*all[i]));
		assert_non_null(all[i]);
		all[i]->io.fn = free_others;
		all[i]->all = all;
		assert_int_equal(pipe2(all[i]->fds, O_CLOEXEC), 0);
		assert_int_equal(write(all[i]->fds[1], "x", 1), 1);
		assert_int_equal(loop_io_add(&loop, &all[i]->io, all[i]->fds[0], EPOLLIN), 0);
	}
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_string_equal(seen, "!");
	for (int i = 0; i < SOURCES; i++)
		if (all[i])
			heap_source_free(all[i]);
}

UNIT(what_is_watched_can_change)
{
	struct source sources[SOURCES];

	sources_new(sources, on_source);
	for (int i = 1; i < SOURCES; i++)
		assert_int_equal(loop_io_set(&sources[i].io, 0), 0);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_string_equal(seen, ".");
	assert_int_equal(loop_io_set(&sources[1].io, EPOLLIN), 0);
	assert_int_equal(loop_io_set(&sources[1].io, EPOLLIN), 0);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_string_equal(seen, "..");
	sources_free(sources);
	assert_int_equal(loop_io_set(&sources[1].io, EPOLLIN), -EBADF);
}

static void stop_first(struct loop_io *io, uint32_t events)
{
	(void)io;
	(void)events;
	note('s');
	loop_stop(&loop, 3);
}

UNIT(stop_ends_the_round_at_once)
{
	struct source sources[SOURCES];
	struct named_timer a = timer_named('a');

	sources_new(sources, stop_first);
	loop_timer_set(&loop, &a.timer, 0);
	assert_int_equal(loop_run(&loop), 3);
	assert_string_equal(seen, "s");
	loop_timer_del(&a.timer);
	sources_free(sources);
}

UNIT(errors_of_adding_are_told)
{
	struct loop_io io = {.fn = on_source};

	assert_int_equal(loop_io_add(&loop, &io, -1, EPOLLIN), -EBADF);
	assert_null(io.loop);
	loop_io_del(&io);
}

UNIT(milliseconds_round_up_and_stop_at_an_hour)
{
	uint64_t now = monotonic_ns();

	assert_int_equal(ms_until(now - 1), 0);
	assert_int_equal(ms_until(0), 0);
	assert_int_equal(ms_until(UINT64_MAX), 3600000);
	assert_in_range(ms_until(now + 100 * NSEC_PER_SEC), 90000, 100001);
	/* Less than one millisecond is not none: a loop would spin. */
	assert_true(ms_until(monotonic_ns() + 900 * NSEC_PER_USEC) <= 1);
}

#define LOOP_TEST(name)                                                                            \
	{                                                                                          \
#name, test_##name, set_up, tear_down, NULL                                        \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOOP_TEST(timers_fire_in_the_order_of_their_times),
		LOOP_TEST(equal_times_fire_in_the_order_of_arming),
		LOOP_TEST(a_timer_can_be_moved_and_disarmed),
		LOOP_TEST(a_timer_is_not_early),
		LOOP_TEST(a_timer_can_disarm_another_of_the_same_round),
		LOOP_TEST(a_timer_can_arm_itself_again),
		LOOP_TEST(all_ready_sources_are_served_in_one_round),
		LOOP_TEST(sources_removed_in_a_round_are_not_served_in_it),
		LOOP_TEST(sources_freed_in_a_round_are_forgotten),
		LOOP_TEST(what_is_watched_can_change),
		LOOP_TEST(stop_ends_the_round_at_once),
		LOOP_TEST(errors_of_adding_are_told),
		RUN(milliseconds_round_up_and_stop_at_an_hour),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
