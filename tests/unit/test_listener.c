/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A listening socket whose connections cannot be taken just now. */
/* flags: -Wl,--wrap=accept4 */
#include "tests/unit/unit.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/listener.h"

static struct loop loop;
static struct listener listener;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int fails_with; /* what accept4() does; 0: its work */
static unsigned int asked, taken;

int __wrap_accept4(int fd, struct sockaddr *peer, socklen_t *len, int flags);
int __real_accept4(int fd, struct sockaddr *peer, socklen_t *len, int flags);

int __wrap_accept4(int fd, struct sockaddr *peer, socklen_t *len, int flags)
{
	asked++;
	if (fails_with == 0)
		return __real_accept4(fd, peer, len, flags);
	errno = fails_with;
	return -1;
}

static void on_connection(struct listener *of, int fd, const struct sockaddr_storage *peer)
{
	assert_ptr_equal(of, &listener);
	assert_int_equal(peer->ss_family, AF_UNIX);
	taken++;
	(void)close(fd);
}

static int set_up(void **state)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(address);

	(void)state;
	/* A name that the kernel chooses (unix(7), autobind). */
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(loop_init(&loop), 0);
	asked = taken = 0;
	fails_with = 0;
	return listener_start(&listener, &loop, fd, on_connection);
}

static int tear_down(void **state)
{
	(void)state;
	listener_close(&listener);
	loop_done(&loop);
	address = (struct sockaddr_un){.sun_family = AF_UNIX};
	return 0;
}

static int connect_one(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* Its length has told where the kernel's name ends: five digits after a NUL (unix(7)). */
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(sa_family_t) + 6), 0);
	return fd;
}

static void turn(uint32_t ms)
{
	uint64_t until = monotonic_ns() + ms * NSEC_PER_MSEC;

	while (monotonic_ns() < until)
		assert_true(loop_once(&loop, ms_until(until)) >= 0);
}

UNIT(connections_are_taken)
{
	int one = connect_one(), two = connect_one();

	turn(20);
	assert_int_equal(taken, 2);
	(void)close(one);
	(void)close(two);
}

/* Without descriptors or memory the socket stays readable: the loop would turn for nothing. */
UNIT(what_cannot_be_taken_is_asked_for_again_after_a_rest)
{
	static const int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
	int one = connect_one();

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		fails_with = errors[i];
		asked = 0;
		turn(250);
		assert_in_range(asked, 1, 4);
		assert_int_equal(taken, 0);
	}
	fails_with = 0;
	turn(150);
	assert_int_equal(taken, 1);
	(void)close(one);
}

UNIT(one_that_was_paused_stays_so)
{
	int one = connect_one();

	fails_with = EMFILE;
	turn(20);
	listener_pause(&listener);
	fails_with = 0;
	turn(150);
	assert_int_equal(taken, 0);
	listener_resume(&listener);
	turn(20);
	assert_int_equal(taken, 1);
	(void)close(one);
}

int main(void)
{
#define LISTENER_TEST(name)                                                                        \
	{                                                                                          \
#name, test_##name, set_up, tear_down, NULL                                        \
	}
	const struct CMUnitTest tests[] = {
		LISTENER_TEST(connections_are_taken),
		LISTENER_TEST(what_cannot_be_taken_is_asked_for_again_after_a_rest),
		LISTENER_TEST(one_that_was_paused_stays_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
