/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Properties: who may see and change them, and budgets. */
/* needs: agent/watch/store.c agent/watch/budget.c */
#include "tests/unit/stores.h"

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

int main(void)
{
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
