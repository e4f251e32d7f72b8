/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages between the agent's programs: whole ones, malformed ones, and their descriptors. */
/* needs: agent/inner.c */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "agent/inner.h"

static int pair[2], fds[INNER_FDS_MAX];
static size_t n_fds;
static struct inner_message got;
static char body[64];

static int set_up(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair);
}

static int tear_down(void **state)
{
	(void)state;
	(void)close(pair[0]);
	(void)close(pair[1]);
	return 0;
}

static int receive(void)
{
	return inner_receive(pair[1], &got, body, sizeof(body), fds, &n_fds);
}

static unsigned int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

UNIT(a_message_arrives_whole)
{
	const struct inner_message message = {.kind = INNER_CALL,
		.method = 3,
		.id = UINT64_MAX,
		.deadline = 5,
		.arg = 6,
		.aux = 7,
		.body_len = 4};

	assert_int_equal(inner_send(pair[0], &message, "body", NULL, 0), 0);
	assert_int_equal(receive(), 1);
	assert_int_equal(got.kind, INNER_CALL);
	assert_int_equal(got.method, 3);
	assert_true(got.id == UINT64_MAX);
	assert_int_equal(got.deadline + got.arg * 10 + got.aux * 100, 765);
	assert_int_equal(got.body_len, 4);
	assert_memory_equal(body, "body", 4);
	assert_int_equal(n_fds, 0);
	assert_int_equal(receive(), -EAGAIN);
}

UNIT(descriptors_arrive_in_order_and_close_on_exec)
{
	const struct inner_message message = {.kind = INNER_START};
	int files[INNER_FDS_MAX], before = (int)open_fds();

	for (int i = 0; i < INNER_FDS_MAX; i++) {
		char name[32];

		files[i] = memfd_create("test", 0);
		assert_true(files[i] >= 0);
		(void)snprintf(name, sizeof(name), "%d", i);
		assert_int_equal(write(files[i], name, strlen(name)), strlen(name));
	}
	assert_int_equal(inner_send(pair[0], &message, NULL, files, INNER_FDS_MAX), 0);
	assert_int_equal(receive(), 1);
	assert_int_equal(n_fds, INNER_FDS_MAX);
	for (int i = 0; i < INNER_FDS_MAX; i++) {
		char name[8] = "";

		assert_true(pread(fds[i], name, sizeof(name) - 1, 0) > 0);
		assert_int_equal(atoi(name), i);
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		(void)close(files[i]);
	}
	inner_close_fds(fds);
	assert_int_equal(fds[0], -EBADF);
	assert_int_equal(open_fds(), before);
}

UNIT(too_many_descriptors_are_not_sent)
{
	const struct inner_message message = {.kind = INNER_START};
	int files[INNER_FDS_MAX + 1] = {0};

	assert_int_equal(inner_send(pair[0], &message, NULL, files, INNER_FDS_MAX + 1), -EINVAL);
	assert_int_equal(receive(), -EAGAIN);
}

UNIT(a_length_needs_a_body)
{
	const struct inner_message message = {.kind = INNER_START, .body_len = 3};

	assert_int_equal(inner_send(pair[0], &message, NULL, NULL, 0), -EINVAL);
}

/* Sends raw bytes with this process's standard input as a descriptor. */
static void send_raw(const void *bytes, size_t n, size_t files)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(64 * sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)bytes, n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (files > 0) {
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(files * sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(files * sizeof(int));
		for (size_t i = 0; i < files; i++)
			memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &pair[0], sizeof(int));
	}
	assert_int_equal(sendmsg(pair[0], &msg, 0), n);
}

UNIT(malformed_packets_are_refused_and_their_descriptors_closed)
{
	struct {
		struct inner_message head;
		char body[100];
	} packet = {.head = {.magic = INNER_MAGIC, .body_len = 10}};
	const size_t head = sizeof(packet.head);
	unsigned int before = open_fds();

	send_raw(&packet, head - 1, 1); /* no whole head */
	assert_int_equal(receive(), -EBADMSG);
	send_raw(&packet, head + 9, 1); /* fewer bytes than told */
	assert_int_equal(receive(), -EBADMSG);
	send_raw(&packet, head + 11, 1); /* more */
	assert_int_equal(receive(), -EBADMSG);
	packet.head.body_len = 65;
	send_raw(&packet, head + 65, 1); /* more than there is room for */
	assert_int_equal(receive(), -EBADMSG);
	packet.head.body_len = UINT32_MAX;
	send_raw(&packet, head + 10, 1);
	assert_int_equal(receive(), -EBADMSG);
	packet.head.body_len = 0;
	send_raw(&packet, head, INNER_FDS_MAX + 4); /* more descriptors than there is room for */
	assert_int_equal(receive(), -EBADMSG);
	packet.head.magic++;
	send_raw(&packet, head, 2);
	assert_int_equal(receive(), -EBADMSG);
	assert_int_equal(n_fds, 0);
	assert_int_equal(fds[0], -EBADF);
	assert_int_equal(open_fds(), before);
}

UNIT(the_end_is_told)
{
	(void)close(pair[0]);
	pair[0] = -1;
	assert_int_equal(receive(), 0);
	assert_int_equal(inner_send(pair[1], &(struct inner_message){0}, NULL, NULL, 0), -EPIPE);
}

UNIT(a_full_socket_is_told)
{
	const struct inner_message message = {.kind = INNER_STOP};
	int r = 0;

	for (int i = 0; i < 100000 && r == 0; i++)
		r = inner_send(pair[0], &message, NULL, NULL, 0);
	assert_int_equal(r, -EAGAIN);
}

static int kept; /* a descriptor that was taken */

static int keep_one(
	const struct inner_message *message, void *content, int theirs[INNER_FDS_MAX], size_t n)
{
	assert_int_equal(n, 2);
	assert_memory_equal(content, "body", message->body_len);
	kept = theirs[0];
	theirs[0] = -EBADF;
	return message->kind == INNER_STOP ? -EAGAIN : 0;
}

UNIT(what_is_not_taken_of_a_message_is_closed)
{
	struct inner_message message = {.kind = INNER_CALL, .body_len = 4};
	const int sent[] = {0, 1};
	unsigned int before = open_fds();

	assert_int_equal(inner_take(pair[1], body, sizeof(body), keep_one), 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(inner_send(pair[0], &message, "body", sent, 2), 0);
		/* What a message is refused with is no lack of messages. */
		assert_int_equal(
			inner_take(pair[1], body, sizeof(body), keep_one), i ? -EAGAIN : 1);
		assert_int_equal(open_fds(), before + 1);
		(void)close(kept);
		message.kind = INNER_STOP;
	}
	(void)close(pair[0]);
	pair[0] = -1;
	assert_int_equal(inner_take(pair[1], body, sizeof(body), keep_one), 0);
}

#define INNER_TEST(name)                                                                           \
	{                                                                                          \
#name, test_##name, set_up, tear_down, NULL                                        \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		INNER_TEST(a_message_arrives_whole),
		INNER_TEST(descriptors_arrive_in_order_and_close_on_exec),
		INNER_TEST(too_many_descriptors_are_not_sent),
		INNER_TEST(a_length_needs_a_body),
		INNER_TEST(malformed_packets_are_refused_and_their_descriptors_closed),
		INNER_TEST(the_end_is_told),
		INNER_TEST(a_full_socket_is_told),
		INNER_TEST(what_is_not_taken_of_a_message_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
