/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Properties: who may see and change them, budgets, and the file that keeps them. */
/* needs: agent/watch/store.c agent/watch/budget.c agent/watch/property_log.c */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "agent/watch/property_log.h"
#include "agent/watch/store.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

static const struct caller host = {.name = "host", .connection = &host};
static const struct caller root = {.name = "local:0", .guest = true, .connection = &root};
static const struct caller alice = {
	.name = "local:1000", .guest = true, .uid = 1000, .connection = &alice};
static const struct caller bob = {
	.name = "local:1001", .guest = true, .uid = 1001, .connection = &bob};

static struct store store;
static struct store_now now;
static const struct property *last;

static int set_up(void **state)
{
	(void)state;
	store = (struct store){0};
	now = (struct store_now){NSEC_PER_SEC, 2 * NSEC_PER_SEC, 3 * NSEC_PER_SEC};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	/* Every count comes back to zero with the properties. */
	while (store.n > 0) {
		char key[PROPERTY_KEY_MAX + 1];

		(void)snprintf(key, sizeof(key), "%s", store.properties[0]->key);
		store_restore(&store, key, NULL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(store.accounts); i++) {
		assert_int_equal(store.accounts[i].n, 0);
		assert_int_equal(store.accounts[i].bytes, 0);
	}
	store_clear(&store);
	return 0;
}

static enum store_result change(const struct caller *caller, const char *key, const char *value,
	uint32_t said, uint32_t flags)
{
	const struct property_change wish = {.key = key,
		.value = (const uint8_t *)value,
		.value_len = strlen(value),
		.flags = flags,
		.flags_said = said};

	return store_set(&store, caller, &wish, &now, &last);
}

static enum store_result set(const struct caller *caller, const char *key, const char *value)
{
	return change(caller, key, value, 0, 0);
}

static enum store_result take_away(const struct caller *caller, const char *key)
{
	AUTO_FREE struct property *gone = NULL;

	return store_remove(&store, caller, key, NULL, &now, &gone);
}

/* What he sees of it, "" where he sees nothing. */
static const char *seen(const struct caller *caller, const char *key)
{
	static char value[64];
	const struct property *property = store_get(&store, caller, key);

	(void)snprintf(value, sizeof(value), "%.*s", property ? (int)property->value_len : 0,
		property ? (const char *)property->value : "");
	return value;
}

UNIT(keys)
{
	static const char *const good[] = {
		"a", "a/b", "guestinfo.x", "user/1000/a", "A-Z_0:9@+", "...", "a/..b"};
	static const char *const bad[] = {"", "/", "/a", "a/", "a//b", ".", "..", "a/./b", "a/..",
		"a b", "a\n", "\xc3\xa9", "a*"};
	char key[PROPERTY_KEY_MAX + 2];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(store_key_is_good(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(store_key_is_good(bad[i]));
	memset(key, 'a', sizeof(key));
	key[sizeof(key) - 1] = '\0';
	assert_false(store_key_is_good(key));
	key[sizeof(key) - 2] = '\0';
	assert_true(store_key_is_good(key));
}

UNIT(who_sees_and_changes_what)
{
	assert_int_equal(set(&host, "a", "1"), STORE_DONE);
	assert_int_equal(set(&root, "b", "2"), STORE_DONE);
	assert_int_equal(set(&alice, "user/1000/c", "3"), STORE_DONE);
	/* The host and root see all; a user his own. */
	assert_string_equal(seen(&host, "b"), "2");
	assert_string_equal(seen(&root, "a"), "1");
	assert_string_equal(seen(&host, "user/1000/c"), "3");
	assert_string_equal(seen(&root, "user/1000/c"), "3");
	assert_string_equal(seen(&alice, "user/1000/c"), "3");
	assert_string_equal(seen(&alice, "a"), "");
	assert_string_equal(seen(&bob, "user/1000/c"), "");
	/* What is not his, whether it is there or not, a user changes in no case. */
	assert_int_equal(set(&alice, "a", "x"), STORE_NOT_YOURS);
	assert_int_equal(set(&alice, "new", "x"), STORE_NOT_YOURS);
	assert_int_equal(set(&alice, "user/1001/c", "x"), STORE_NOT_YOURS);
	assert_int_equal(set(&alice, "user/10000/c", "x"), STORE_NOT_YOURS);
	assert_int_equal(set(&alice, "user/01000/c", "x"), STORE_NOT_YOURS);
	assert_int_equal(set(&alice, "user/1000", "x"), STORE_NOT_YOURS);
	assert_int_equal(set(&alice, "user/100", "x"), STORE_NOT_YOURS);
	assert_int_equal(set(&alice, "user/4294968296/c", "x"), STORE_NOT_YOURS);
	assert_int_equal(take_away(&bob, "user/1000/c"), STORE_NOT_YOURS);
	assert_int_equal(take_away(&alice, "a"), STORE_NOT_YOURS);
	assert_int_equal(take_away(&alice, "user/1000/none"), STORE_ABSENT);
	/* The others may. */
	assert_int_equal(set(&host, "user/1000/c", "4"), STORE_DONE);
	assert_string_equal(seen(&alice, "user/1000/c"), "4");
	assert_int_equal(set(&root, "user/1000/c", "5"), STORE_DONE);
	assert_int_equal(take_away(&alice, "user/1000/c"), STORE_DONE);
	assert_int_equal(take_away(&root, "a"), STORE_DONE);
	assert_int_equal(take_away(&host, "b"), STORE_DONE);
	assert_int_equal(store.n, 0);
}

UNIT(what_is_for_all_is_seen_by_all)
{
	assert_int_equal(
		change(&host, "motd", "hi", PROPERTY_WORLD_READABLE, PROPERTY_WORLD_READABLE),
		STORE_DONE);
	assert_string_equal(seen(&bob, "motd"), "hi");
	/* What is not said stays. */
	assert_int_equal(set(&root, "motd", "ho"), STORE_DONE);
	assert_string_equal(seen(&bob, "motd"), "ho");
	assert_int_equal(change(&root, "motd", "ho", PROPERTY_WORLD_READABLE, 0), STORE_DONE);
	assert_string_equal(seen(&bob, "motd"), "");
}

UNIT(one_side_keeps_the_other_from_changing)
{
	const uint32_t guest = PROPERTY_READ_ONLY_GUEST, hosts = PROPERTY_READ_ONLY_HOST;

	/* Nobody shuts himself out, nor takes back what the other side has said. */
	assert_int_equal(change(&host, "a", "1", hosts, hosts), STORE_OTHER_SIDE);
	assert_int_equal(change(&root, "a", "1", guest, guest), STORE_OTHER_SIDE);
	assert_int_equal(change(&host, "a", "1", guest, guest), STORE_DONE);
	assert_int_equal(set(&root, "a", "2"), STORE_READ_ONLY);
	assert_int_equal(change(&root, "a", "2", guest, 0), STORE_READ_ONLY);
	assert_int_equal(take_away(&root, "a"), STORE_READ_ONLY);
	assert_int_equal(set(&host, "a", "2"), STORE_DONE);
	assert_int_equal(change(&host, "a", "2", guest, 0), STORE_DONE);
	assert_int_equal(take_away(&root, "a"), STORE_DONE);

	assert_int_equal(change(&alice, "user/1000/b", "1", hosts, hosts), STORE_DONE);
	assert_int_equal(set(&host, "user/1000/b", "2"), STORE_READ_ONLY);
	assert_int_equal(take_away(&host, "user/1000/b"), STORE_READ_ONLY);
	assert_string_equal(seen(&host, "user/1000/b"), "1");
	assert_int_equal(set(&root, "user/1000/b", "2"), STORE_DONE);
	assert_int_equal(take_away(&alice, "user/1000/b"), STORE_DONE);
}

UNIT(revisions)
{
	struct property_change wish = {.key = "a", .has_revision = true};
	AUTO_FREE struct property *gone = NULL;
	uint64_t first, wrong = 77;

	assert_int_equal(store_set(&store, &root, &wish, &now, &last), STORE_DONE);
	first = last->revision;
	assert_int_equal(store_set(&store, &root, &wish, &now, &last), STORE_REVISION);
	wish.revision = first;
	/* The same once more is no change. */
	assert_int_equal(store_set(&store, &root, &wish, &now, &last), STORE_SAME);
	assert_int_equal(last->revision, first);
	wish.value = (const uint8_t *)"x";
	wish.value_len = 1;
	assert_int_equal(store_set(&store, &root, &wish, &now, &last), STORE_DONE);
	assert_true(last->revision > first);
	first = last->revision;
	assert_int_equal(store_remove(&store, &root, "a", &wrong, &now, &gone), STORE_REVISION);
	assert_int_equal(store_remove(&store, &root, "a", &first, &now, &gone), STORE_DONE);
	assert_true(gone->revision > first);
	assert_int_equal(take_away(&root, "a"), STORE_ABSENT);
}

UNIT(an_end_by_time)
{
	struct property_change wish = {.key = "a", .ttl_ms = 500};
	AUTO_FREE struct property *gone = NULL;

	assert_int_equal(store_next_expiry(&store), UINT64_MAX);
	assert_int_equal(store_set(&store, &root, &wish, &now, &last), STORE_DONE);
	assert_int_equal(set(&root, "b", ""), STORE_DONE);
	assert_int_equal(store_next_expiry(&store), now.boottime_ns + 500 * NSEC_PER_MSEC);
	assert_null(store_expire(&store, now.boottime_ns + 499 * NSEC_PER_MSEC));
	gone = store_expire(&store, now.boottime_ns + 500 * NSEC_PER_MSEC);
	assert_string_equal(gone->key, "a");
	assert_null(store_expire(&store, UINT64_MAX));
	/* Whoever sets it without says that it stays. */
	assert_int_equal(store_set(&store, &root, &wish, &now, &last), STORE_DONE);
	assert_int_equal(set(&root, "a", ""), STORE_SAME);
	assert_int_equal(store_next_expiry(&store), UINT64_MAX);
}

UNIT(an_end_with_the_connection)
{
	const uint32_t flag = PROPERTY_EPHEMERAL;
	AUTO_FREE struct property *gone = NULL;

	assert_int_equal(change(&root, "a", "", flag, flag), STORE_DONE);
	assert_int_equal(change(&host, "b", "", flag, flag), STORE_DONE);
	assert_int_equal(set(&root, "c", ""), STORE_DONE);
	gone = store_disconnect(&store, &root);
	assert_string_equal(gone->key, "a");
	assert_null(store_disconnect(&store, &root));
	/* Set by somebody else, it is that one's. */
	assert_int_equal(set(&root, "b", ""), STORE_DONE);
	assert_null(store_disconnect(&store, &host));
}

/* How many of these he can have, with values of so many bytes. */
static unsigned int fill(const struct caller *caller, const char *prefix, size_t bytes)
{
	AUTO_FREE char *value = malloc(bytes + 1);
	unsigned int n = 0;
	char key[64];

	assert_non_null(value);
	memset(value, 'x', bytes);
	value[bytes] = '\0';
	for (;; n++) {
		enum store_result result;

		(void)snprintf(key, sizeof(key), "%s%u", prefix, n);
		now.monotonic_ns += NSEC_PER_SEC;
		result = set(caller, key, value);
		if (result == STORE_DONE)
			continue;
		assert_int_equal(result, STORE_MANY);
		return n;
	}
}

UNIT(numbers_are_bounded_by_owner)
{
	assert_int_equal(fill(&alice, "user/1000/", 0), PROPERTIES_USER_MAX);
	assert_int_equal(fill(&bob, "user/1001/", 0), PROPERTIES_USER_MAX);
	assert_int_equal(fill(&root, "root/", 0), PROPERTIES_MAX);
	/* A user's are his, whoever of the guest set them; the host's are the host's. */
	assert_int_equal(set(&root, "user/1000/more", ""), STORE_MANY);
	assert_int_equal(fill(&host, "user/1000/host", 0), PROPERTIES_MAX);
	/* What is there can be changed, and what went makes room. */
	assert_int_equal(set(&alice, "user/1000/0", "new"), STORE_DONE);
	assert_int_equal(take_away(&alice, "user/1000/1"), STORE_DONE);
	assert_int_equal(set(&alice, "user/1000/more", ""), STORE_DONE);
	assert_int_equal(set(&alice, "user/1000/most", ""), STORE_MANY);
}

UNIT(bytes_are_bounded_by_owner)
{
	const size_t most = PROPERTY_VALUE_MAX;

	assert_in_range(fill(&alice, "user/1000/", most), 3, 3);
	assert_in_range(fill(&root, "root/", most), 31, 31);
	assert_in_range(fill(&host, "host/", most), 31, 31);
	assert_int_equal(set(&alice, "user/1000/0", "small"), STORE_DONE);
	assert_in_range(fill(&alice, "user/1000/more", most), 1, 1);
}

UNIT(all_users_together_leave_room_for_root_and_host)
{
	unsigned int n = 0;

	for (uint32_t uid = 1000; uid < 1200; uid++) {
		struct caller user = alice;
		char prefix[32];

		user.uid = uid;
		(void)snprintf(prefix, sizeof(prefix), "user/%u/", uid);
		n += fill(&user, prefix, 0);
	}
	assert_int_equal(n, PROPERTIES_MAX);
	assert_int_equal(set(&root, "a", ""), STORE_DONE);
	assert_int_equal(set(&host, "b", ""), STORE_DONE);
}

UNIT(users_with_one_each_are_bounded_too)
{
	unsigned int n = 0;

	for (uint32_t uid = 1000; uid < 1200; uid++) {
		struct caller user = alice;
		char key[32];

		user.uid = uid;
		now.monotonic_ns += NSEC_PER_SEC;
		(void)snprintf(key, sizeof(key), "user/%u/a", uid);
		n += set(&user, key, "") == STORE_DONE;
	}
	assert_int_equal(n, PROPERTY_USERS_MAX);
	/* When one has nothing any more, another has his place. */
	assert_int_equal(take_away(&alice, "user/1000/a"), STORE_DONE);
	now.monotonic_ns += NSEC_PER_SEC;
	n = 0;
	for (uint32_t uid = 2000; uid < 2002; uid++) {
		struct caller user = alice;
		char key[32];

		user.uid = uid;
		(void)snprintf(key, sizeof(key), "user/%u/a", uid);
		n += set(&user, key, "") == STORE_DONE;
	}
	assert_int_equal(n, 1);
}

/* How many changes go through at once. */
static unsigned int flood(const struct caller *caller, const char *key)
{
	unsigned int n = 0;
	char value[16];

	for (;; n++) {
		(void)snprintf(value, sizeof(value), "%u", n);
		if (set(caller, key, value) != STORE_DONE)
			return n;
	}
}

UNIT(floods_are_held_up_each_by_itself)
{
	assert_int_equal(flood(&alice, "user/1000/a"), 64);
	assert_int_equal(set(&alice, "user/1000/a", "x"), STORE_OFTEN);
	assert_int_equal(take_away(&alice, "user/1000/a"), STORE_OFTEN);
	assert_int_equal(flood(&bob, "user/1001/a"), 64);
	assert_int_equal(flood(&root, "r"), 512);
	assert_int_equal(flood(&host, "h"), 1024);
	now.monotonic_ns += NSEC_PER_SEC;
	assert_int_equal(flood(&alice, "user/1000/a"), 16);
	assert_int_equal(flood(&root, "r"), 64);
	now.monotonic_ns += 3600 * NSEC_PER_SEC;
	assert_int_equal(flood(&alice, "user/1000/a"), 64);
}

/* ---- the file ---- */

static const uint8_t boot[16] = "this boot", other_boot[16] = "another one";

static int new_file(void)
{
	int fd = memfd_create("properties", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static size_t file_size(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (size_t)st.st_size;
}

static size_t file_takes(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (size_t)st.st_blocks * 512;
}

/* A second store that has read the file has what the first one has. */
static void same_after_restart(int fd)
{
	struct store copy = {0};
	struct property_log log;
	size_t at = 0;

	property_log_open(&log, fd, boot, &copy);
	for (size_t i = 0; i < store.n; i++) {
		const struct property *a = store.properties[i], *b;

		if (a->flags & PROPERTY_EPHEMERAL)
			continue;
		assert_true(at < copy.n);
		b = copy.properties[at++];
		assert_string_equal(a->key, b->key);
		assert_int_equal(a->value_len, b->value_len);
		assert_memory_equal(a->value, b->value, a->value_len);
		assert_int_equal(a->flags, b->flags);
		assert_int_equal(a->revision, b->revision);
		assert_int_equal(a->set_ns, b->set_ns);
		assert_int_equal(a->expires_ns, b->expires_ns);
		assert_int_equal(a->owner, b->owner);
		assert_string_equal(a->set_by, b->set_by);
	}
	assert_int_equal(at, copy.n);
	assert_true(copy.revision == store.revision);
	store_clear(&copy);
}

UNIT(nothing_is_written_before_there_is_something)
{
	AUTO_CLOSE int fd = new_file();
	struct property_log log;

	property_log_open(&log, fd, boot, &store);
	assert_int_equal(file_size(fd), 0);
}

UNIT(the_file_brings_all_back_after_any_changes)
{
	struct dice dice = dice_new("properties");
	AUTO_CLOSE int fd = new_file();
	struct property_log log;
	static char value[PROPERTY_VALUE_MAX + 1];

	property_log_open(&log, fd, boot, &store);
	for (int i = 0; i < 4000; i++) {
		const struct caller *caller = dice_below(&dice, 2) ? &root : &host;
		AUTO_FREE struct property *gone = NULL;
		size_t len = dice_below(&dice, dice_below(&dice, 10) ? 100 : sizeof(value));
		char key[32];

		now.monotonic_ns += NSEC_PER_SEC;
		(void)snprintf(key, sizeof(key), "k%u", (unsigned int)dice_below(&dice, 40));
		memset(value, 'a' + (int)dice_below(&dice, 26), len);
		value[len] = '\0';
		if (dice_below(&dice, 4) == 0) {
			if (store_remove(&store, caller, key, NULL, &now, &gone) == STORE_DONE)
				property_log_remove(&log, &store, gone);
		} else {
			uint32_t flag = dice_below(&dice, 8) ? 0 : PROPERTY_EPHEMERAL;
			enum store_result result =
				change(caller, key, value, PROPERTY_EPHEMERAL, flag);

			if (result <= STORE_SAME)
				property_log_set(&log, &store, last);
		}
		if (i % 200 == 0)
			same_after_restart(fd);
	}
	same_after_restart(fd);
	/* What is out of date goes: 4000 changes of 3 KiB each would be 12 MiB. */
	assert_true(file_takes(fd) < 4u << 20);
}

UNIT(another_boots_file_is_nobodys)
{
	AUTO_CLOSE int fd = new_file();
	struct property_log log;

	property_log_open(&log, fd, other_boot, &store);
	assert_int_equal(set(&root, "a", "1"), STORE_DONE);
	property_log_set(&log, &store, last);
	store_clear(&store);
	property_log_open(&log, fd, boot, &store);
	assert_int_equal(store.n, 0);
	assert_int_equal(file_size(fd), 0);
}

UNIT(a_file_that_ends_anywhere_or_is_no_such_is_read_as_far_as_it_goes)
{
	AUTO_CLOSE int fd = new_file();
	struct dice dice = dice_new("files");
	static char bytes[20000];
	struct property_log log;
	size_t size;

	property_log_open(&log, fd, boot, &store);
	for (int i = 0; i < 20; i++) {
		char key[16];

		(void)snprintf(key, sizeof(key), "key%02d", i);
		assert_int_equal(set(&root, key, "some value"), STORE_DONE);
		property_log_set(&log, &store, last);
	}
	size = file_size(fd);
	assert_in_range(size, 4096, sizeof(bytes));
	assert_int_equal(pread(fd, bytes, size, 0), size);
	for (int round = 0; round < 2000; round++) {
		AUTO_CLOSE int harmed = new_file();
		struct store copy = {0};
		size_t len = dice_below(&dice, size + 1);

		assert_int_equal(pwrite(harmed, bytes, len, 0), len);
		for (uint64_t n = dice_below(&dice, 3); n > 0 && len > 4096; n--) {
			uint8_t byte = (uint8_t)dice_below(&dice, 256);
			off_t at = (off_t)(4096 + dice_below(&dice, len - 4096));

			assert_int_equal(pwrite(harmed, &byte, 1, at), 1);
		}
		property_log_open(&log, harmed, boot, &copy);
		assert_true(copy.n <= 20);
		/* It goes on as if that were all. */
		property_log_set(&log, &copy, last);
		store_clear(&copy);
		property_log_open(&log, harmed, boot, &copy);
		assert_true(copy.n <= 21);
		store_clear(&copy);
	}
}

UNIT(where_there_is_no_room_nothing_out_of_date_comes_back)
{
	AUTO_CLOSE int fd = memfd_create("properties", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct store copy = {0};
	struct property_log log;

	assert_true(fd >= 0);
	property_log_open(&log, fd, boot, &store);
	assert_int_equal(set(&root, "a", "1"), STORE_DONE);
	property_log_set(&log, &store, last);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
	assert_int_equal(set(&root, "a", "2"), STORE_DONE);
	property_log_set(&log, &store, last);
	assert_int_equal(file_size(fd), 0);
	property_log_open(&log, fd, boot, &copy);
	assert_int_equal(copy.n, 0);
	store_clear(&copy);
}

int main(void)
{
#define STORE_TEST(name)                                                                           \
	{                                                                                          \
#name, test_##name, set_up, tear_down, NULL                                        \
	}
	const struct CMUnitTest tests[] = {
		STORE_TEST(keys),
		STORE_TEST(who_sees_and_changes_what),
		STORE_TEST(what_is_for_all_is_seen_by_all),
		STORE_TEST(one_side_keeps_the_other_from_changing),
		STORE_TEST(revisions),
		STORE_TEST(an_end_by_time),
		STORE_TEST(an_end_with_the_connection),
		STORE_TEST(numbers_are_bounded_by_owner),
		STORE_TEST(bytes_are_bounded_by_owner),
		STORE_TEST(all_users_together_leave_room_for_root_and_host),
		STORE_TEST(users_with_one_each_are_bounded_too),
		STORE_TEST(floods_are_held_up_each_by_itself),
		STORE_TEST(nothing_is_written_before_there_is_something),
		STORE_TEST(the_file_brings_all_back_after_any_changes),
		STORE_TEST(another_boots_file_is_nobodys),
		STORE_TEST(a_file_that_ends_anywhere_or_is_no_such_is_read_as_far_as_it_goes),
		STORE_TEST(where_there_is_no_room_nothing_out_of_date_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
