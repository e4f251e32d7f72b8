/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Properties: the file that keeps them. */
/* needs: agent/watch/store.c agent/watch/budget.c agent/watch/property_log.c */
#include "tests/unit/stores.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "agent/watch/property_log.h"

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

UNIT(no_revision_is_given_twice)
{
	AUTO_CLOSE int fd = new_file();
	struct property_log log;
	static char value[PROPERTY_VALUE_MAX];

	memset(value, 'a', sizeof(value) - 1);
	property_log_open(&log, fd, boot, &store);
	/* Now and then the file is written anew, with nothing of what was the last change. */
	for (int i = 0; i < 64; i++) {
		AUTO_FREE struct property *gone = NULL;

		now.monotonic_ns += NSEC_PER_SEC;
		(void)change(&host, "key", value, 0, 0);
		property_log_set(&log, &store, last);
		assert_int_equal(store_remove(&store, &host, "key", NULL, &now, &gone), STORE_DONE);
		property_log_remove(&log, &store, gone);
		same_after_restart(fd);
	}
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
	const struct CMUnitTest tests[] = {
		STORE_TEST(nothing_is_written_before_there_is_something),
		STORE_TEST(no_revision_is_given_twice),
		STORE_TEST(the_file_brings_all_back_after_any_changes),
		STORE_TEST(another_boots_file_is_nobodys),
		STORE_TEST(a_file_that_ends_anywhere_or_is_no_such_is_read_as_far_as_it_goes),
		STORE_TEST(where_there_is_no_room_nothing_out_of_date_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
