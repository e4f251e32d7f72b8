/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the watcher tells when it could not look, and whom. */
/* needs: agent/watch/mounts.c agent/watch/ring.c agent/watch/subscribers.c */
/* needs: agent/methods/mount_entry.c agent/methods/mount_text.c agent/watch/uevents.c */
/* libs: mount */
/* flags: -Wl,--wrap=mount_table_read,--wrap=calloc */
#include "tests/unit/unit.h"
#include "tests/unit/watch_stubs.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/methods/mount_entry.h"
#include "agent/watch/watch.h"

static struct watch watcher;
static const char *table; /* what /proc/1/mountinfo says */
static int reads_fail;    /* so many looks */
static int calloc_fails;  /* the how many'th from now; 0: none */

int __wrap_mount_table_read(int fd, struct libmnt_table **ret_table);
void *__wrap_calloc(size_t n, size_t size);
void *__real_calloc(size_t n, size_t size);

int __wrap_mount_table_read(int fd, struct libmnt_table **ret_table)
{
	struct buffer text = {0};
	int r;

	(void)fd;
	if (reads_fail > 0) {
		reads_fail--;
		return -EIO;
	}
	assert_int_equal(buffer_append(&text, table, strlen(table)), 0);
	r = mount_table_parse(&text, ret_table);
	buffer_clear(&text);
	return r;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return calloc_fails > 0 && --calloc_fails == 0 ? NULL : __real_calloc(n, size);
}

void heartbeat_schedule(struct watch *watch)
{
	(void)watch;
}

void heartbeat_disconnect(struct watch *watch, const void *connection)
{
	(void)watch;
	(void)connection;
}

void properties_disconnect(struct watch *watch, const void *connection)
{
	(void)watch;
	(void)connection;
}

int call_take(struct subscriber *subscriber, const struct events_command *command,
	const uint8_t *params, size_t len)
{
	(void)subscriber;
	(void)command;
	(void)params;
	(void)len;
	return -ENOSYS;
}

#define ROOT   "20 1 8:1 / / rw - ext4 /dev/vda rw\n"
#define FIRST  "21 20 0:30 / /first rw - tmpfs tmpfs rw\n"
#define SECOND "22 20 0:31 / /second rw - tmpfs tmpfs rw\n"

static int set_up(void **state)
{
	(void)state;
	watcher = (struct watch){0};
	reads_fail = calloc_fails = 0;
	list_init(&watcher.subscribers);
	assert_int_equal(loop_init(&watcher.loop), 0);
	watcher.fds[WATCH_FD_MOUNTINFO] = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	table = ROOT FIRST;
	assert_int_equal(ring_init(&watcher.ring), 0);
	return mounts_start(&watcher);
}

static int tear_down(void **state)
{
	(void)state;
	for (uint64_t seq = watcher.ring.oldest; seq < watcher.ring.next; seq++)
		free(ring_get(&watcher.ring, seq)->payload);
	free(watcher.ring.events);
	mnt_unref_table(watcher.mounts);
	loop_timer_del(&watcher.mounts_retry);
	loop_io_del(&watcher.mounts_io);
	loop_done(&watcher.loop);
	return close(watcher.fds[WATCH_FD_MOUNTINFO]);
}

/* The kernel says, once, that the table has changed. */
static void change(const char *to)
{
	table = to;
	watcher.mounts_io.fn(&watcher.mounts_io, 0);
}

static void wait_for_events(uint64_t n)
{
	for (int i = 0; i < 100 && watcher.ring.next <= n; i++)
		assert_true(loop_once(&watcher.loop, 100) >= 0);
	assert_int_equal(watcher.ring.next, n + 1);
}

static void first_went_and_second_came(void)
{
	wait_for_events(2);
	assert_int_equal(ring_get(&watcher.ring, 1)->topic, TOPIC_mounts_unmount);
	assert_int_equal(ring_get(&watcher.ring, 2)->topic, TOPIC_mounts_mount);
	assert_null(mount_table_find(watcher.mounts, "/first"));
	assert_non_null(mount_table_find(watcher.mounts, "/second"));
}

UNIT(a_change_is_told)
{
	change(ROOT SECOND);
	first_went_and_second_came();
}

UNIT(a_look_that_failed_is_made_again)
{
	reads_fail = 2;
	change(ROOT SECOND);
	assert_int_equal(watcher.ring.next, 1);
	first_went_and_second_came();
}

/* Whichever list cannot be made, nothing is forgotten. */
UNIT(a_change_that_cannot_be_compared_is_not_forgotten)
{
	for (int i = 1; i <= 4; i++) {
		uint64_t before = watcher.ring.next - 1;

		calloc_fails = i;
		change(i % 2 ? ROOT SECOND : ROOT FIRST);
		calloc_fails = 0;
		wait_for_events(before + 2);
	}
}

/* What went into a subscriber's socket, as kind:topic:subscription words. */
static const char *received(int fd)
{
	static char words[512];
	struct events_packet packet;
	size_t at = 0;

	words[0] = '\0';
	while (recv(fd, &packet, sizeof(packet), MSG_DONTWAIT) == (ssize_t)sizeof(packet))
		at += (size_t)snprintf(words + at, sizeof(words) - at, "%u:%u:%u ", packet.kind,
			packet.topic, (unsigned int)packet.subscription);
	return words;
}

static void subscribe(int fd, uint64_t number, uint64_t topics)
{
	struct events_command command = {.kind = EVENTS_SUBSCRIBE,
		.subscription = number,
		.topics = topics | TOPIC_BIT(gap)};

	assert_int_equal(send(fd, &command, sizeof(command), 0), sizeof(command));
	assert_true(loop_once(&watcher.loop, 1000) >= 0);
}

static const struct subscriber_facts all_topics = {.topics = UINT64_MAX};

static void add_private(uint32_t uid)
{
	Postern__V1__NotifyPropertiesChanged notify = POSTERN__V1__NOTIFY_PROPERTIES_CHANGED__INIT;

	ring_add_private(&watcher, TOPIC_properties_changed, &notify.base, uid);
}

/* How many events of private things somebody gets: nobody's, a user's, another one's, everybody's.
 */
static int private_events_of(const struct subscriber_facts *facts)
{
	int pair[2], n = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	subscriber_add(&watcher, pair[1], facts);
	subscribe(pair[0], 1, TOPIC_BIT(properties_changed));
	(void)received(pair[0]);
	add_private(0);
	add_private(1000);
	add_private(1001);
	add_private(EVERYBODY);
	for (const char *at = received(pair[0]); (at = strchr(at, ' ')); at++)
		n++;
	(void)close(pair[0]);
	assert_true(loop_once(&watcher.loop, 1000) >= 0);
	return n;
}

UNIT(what_is_a_users_is_told_to_him_and_to_those_who_see_all)
{
	const struct subscriber_facts root = {.topics = UINT64_MAX, .guest = 1};
	const struct subscriber_facts user = {.topics = UINT64_MAX, .guest = 1, .uid = 1000};
	const struct subscriber_facts denied = {.guest = 1};

	assert_int_equal(private_events_of(&all_topics), 4);
	assert_int_equal(private_events_of(&root), 4);
	assert_int_equal(private_events_of(&user), 2);
	assert_int_equal(private_events_of(&denied), 0);
}

UNIT(a_gap_is_for_those_whose_events_were_lost)
{
	int pair[2];
	char wanted[64];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	subscriber_add(&watcher, pair[1], &all_topics);
	subscribe(pair[0], 1, TOPIC_BIT(mounts_mount) | TOPIC_BIT(system_load));
	subscribe(pair[0], 2, TOPIC_BIT(devices_removed) | TOPIC_BIT(mounts_mount));
	subscribe(pair[0], 3, TOPIC_BIT(devices_added));
	(void)received(pair[0]);
	ring_add_gap(&watcher, TOPIC_BIT(devices_added) | TOPIC_BIT(devices_removed));
	(void)snprintf(wanted, sizeof(wanted), "%d:%d:2 %d:%d:3 ", EVENTS_EVENT, TOPIC_gap,
		EVENTS_EVENT, TOPIC_gap);
	assert_string_equal(received(pair[0]), wanted);
	(void)close(pair[0]);
	assert_true(loop_once(&watcher.loop, 1000) >= 0);
}

int main(void)
{
#define WATCH_TEST(name)                                                                           \
	{                                                                                          \
#name, test_##name, set_up, tear_down, NULL                                        \
	}
	const struct CMUnitTest tests[] = {
		WATCH_TEST(a_change_is_told),
		WATCH_TEST(a_look_that_failed_is_made_again),
		WATCH_TEST(a_change_that_cannot_be_compared_is_not_forgotten),
		WATCH_TEST(what_is_a_users_is_told_to_him_and_to_those_who_see_all),
		WATCH_TEST(a_gap_is_for_those_whose_events_were_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
