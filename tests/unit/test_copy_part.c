/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file that is being received: whole or not at all, and names that are one part of a path. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/copy/part.h"
#include "proto/copy/stream.h"

static char folder[] = "/tmp/postern-unit-XXXXXX";
static int dir;

static int set_up(void **state)
{
	(void)state;
	(void)strcpy(folder, "/tmp/postern-unit-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	(void)close(dir);
	return rmdir(folder);
}

/* One of two texts, whichever it is at this moment. */
static bool holds_either(const char *name, const char *text, const char *other)
{
	AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	char bytes[64] = "";

	return fd >= 0 && read(fd, bytes, sizeof(bytes) - 1) >= 0 &&
	       (strcmp(bytes, text) == 0 || strcmp(bytes, other) == 0);
}

static bool holds(const char *name, const char *text)
{
	return holds_either(name, text, text);
}

static void put(const char *name, const char *text)
{
	AUTO_CLOSE int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* What copy.proto calls the digest of a file whose bytes came at once. */
static void digest_of(const char *text, uint64_t offset, uint8_t ret[COPY_DIGEST_SIZE])
{
	struct copy_digest digest;

	copy_digest_begin(&digest);
	copy_digest_add(&digest, &offset, sizeof(offset));
	copy_digest_add(&digest, text, strlen(text));
	copy_digest_end(&digest, ret);
}

static void receive(struct part *part, const char *name, const char *text)
{
	uint64_t have, offset = 0;

	assert_int_equal(part_begin(part, dir, name, strlen(text), false, &have), 0);
	copy_digest_add(&part->digest, &offset, sizeof(offset));
	copy_digest_add(&part->digest, text, strlen(text));
	assert_int_equal(part_write(part, 0, text, strlen(text)), 0);
}

UNIT(it_takes_its_place_whole)
{
	uint8_t digest[COPY_DIGEST_SIZE];
	struct part part;
	struct stat st;

	put("a", "old");
	receive(&part, "a", "new");
	assert_true(holds("a", "old"));
	digest_of("new", 0, digest);
	assert_int_equal(part_commit(&part, digest, 06755, 1500000000, false), 0);
	assert_true(holds("a", "new"));
	assert_int_equal(fstatat(dir, "a", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(st.st_mtim.tv_sec, 1);
	assert_int_equal(unlinkat(dir, "a", 0), 0);
}

UNIT(another_digest_leaves_the_old_one)
{
	uint8_t digest[COPY_DIGEST_SIZE];
	struct part part;

	put("a", "old");
	receive(&part, "a", "new");
	digest_of("nEw", 0, digest);
	assert_int_equal(part_commit(&part, digest, 0600, 0, false), -EBADMSG);
	assert_true(holds("a", "old"));
	assert_int_equal(unlinkat(dir, "a", 0), 0);
}

UNIT(nothing_is_written_outside_of_its_size_or_backwards)
{
	struct part part;
	uint64_t have;

	assert_int_equal(part_begin(&part, dir, "a", 4, false, &have), 0);
	assert_int_equal(part_write(&part, 1, "xx", 2), 0);
	assert_int_equal(part_write(&part, 2, "x", 1), -EBADMSG);
	assert_int_equal(part_write(&part, 3, "xx", 2), -EBADMSG);
	assert_int_equal(part_write(&part, 5, "", 0), -EBADMSG);
	assert_int_equal(part_write(&part, UINT64_MAX, "x", 1), -EBADMSG);
	part_end(&part, false);
	assert_int_equal(part_begin(&part, dir, "a", UINT64_MAX, false, &have), -EFBIG);
}

UNIT(two_copies_of_one_file_do_not_mix)
{
	struct part one, two;
	uint64_t have;

	assert_int_equal(part_begin(&one, dir, "a", 4, false, &have), 0);
	assert_int_equal(part_begin(&two, dir, "a", 4, false, &have), -EBUSY);
	part_end(&one, false);
	assert_int_equal(part_begin(&two, dir, "a", 4, false, &have), 0);
	part_end(&two, false);
}

UNIT(a_part_is_taken_up)
{
	struct part part;
	uint64_t have;

	assert_int_equal(part_begin(&part, dir, "a", 8, true, &have), 0);
	assert_int_equal(have, 0);
	assert_int_equal(part_write(&part, 0, "abcd", 4), 0);
	part_end(&part, true);
	assert_int_equal(part_begin(&part, dir, "a", 8, true, &have), 0);
	assert_int_equal(have, 4);
	assert_int_equal(part_from(&part, 2), 0);
	part_end(&part, true);
	assert_int_equal(part_begin(&part, dir, "a", 8, true, &have), 0);
	assert_int_equal(have, 2);
	part_end(&part, false);
	assert_int_equal(part_begin(&part, dir, "a", 8, true, &have), 0);
	assert_int_equal(have, 0);
	part_end(&part, false);
}

UNIT(a_part_that_is_cut_twice_is_kept)
{
	struct part part;
	uint64_t have;

	assert_int_equal(part_begin(&part, dir, "a", 8, true, &have), 0);
	assert_int_equal(part_write(&part, 0, "abcd", 4), 0);
	part_end(&part, true);
	/* The second time before it is agreed where to go on. */
	assert_int_equal(part_begin(&part, dir, "a", 8, true, &have), 0);
	part_end(&part, true);
	assert_int_equal(part_begin(&part, dir, "a", 8, true, &have), 0);
	assert_int_equal(have, 4);
	part_end(&part, false);
}

/* A person's own file with the name of our temporary one. */
UNIT(what_is_not_ours_is_left_alone)
{
	struct part part;
	uint64_t have;

	put(".a.postern-part", "precious");
	assert_int_equal(fchmodat(dir, ".a.postern-part", 0644, 0), 0);
	assert_int_equal(part_begin(&part, dir, "a", 8, false, &have), -ENOTUNIQ);
	assert_int_equal(part_begin(&part, dir, "a", 8, true, &have), -ENOTUNIQ);
	assert_true(holds(".a.postern-part", "precious"));
	assert_int_equal(unlinkat(dir, ".a.postern-part", 0), 0);
}

UNIT(what_took_the_parts_name_takes_no_place)
{
	uint8_t digest[COPY_DIGEST_SIZE];
	struct part part;

	receive(&part, "a", "new");
	assert_int_equal(unlinkat(dir, ".a.postern-part", 0), 0);
	put(".a.postern-part", "precious");
	digest_of("new", 0, digest);
	assert_int_equal(part_commit(&part, digest, 0600, 0, false), -ESTALE);
	assert_true(holds(".a.postern-part", "precious"));
	assert_int_equal(faccessat(dir, "a", F_OK, 0), -1);
	assert_int_equal(unlinkat(dir, ".a.postern-part", 0), 0);
}

/* Puts a text of its own in place again and again; what another has put there is always whole. */
static int copy_often(const char *text, bool keep)
{
	uint8_t digest[COPY_DIGEST_SIZE];
	size_t len = strlen(text), half = len / 2;

	for (int i = 0; i < 4000; i++) {
		uint64_t have, at[] = {0, half};
		struct part part;
		int r = part_begin(&part, dir, "a", len, keep, &have);

		if (r == -EBUSY)
			continue;
		if (r < 0 || part_from(&part, 0) < 0)
			return 1;
		copy_digest_add(&part.digest, &at[0], sizeof(at[0]));
		copy_digest_add(&part.digest, text, half);
		copy_digest_add(&part.digest, &at[1], sizeof(at[1]));
		copy_digest_add(&part.digest, text + half, len - half);
		if (part_write(&part, 0, text, half) < 0 ||
			part_write(&part, half, text + half, len - half) < 0)
			return 2;
		copy_digest_end(&part.digest, digest);
		if (i % 8 == 0)
			part_end(&part, true);
		else if (part_commit(&part, digest, 0600, 0, false) < 0)
			return 3;
		if (i % 8 != 0 && !holds_either("a", "one one one", "and another one"))
			return 4;
	}
	return 0;
}

UNIT(many_copies_of_one_name_leave_a_whole_file)
{
	static const char *const texts[] = {"one one one", "and another one"};
	pid_t children[4];
	int status;

	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		children[i] = fork();
		if (children[i] == 0)
			_exit(copy_often(texts[i % 2], i / 2));
		assert_true(children[i] > 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		assert_int_equal(waitpid(children[i], &status, 0), children[i]);
		assert_int_equal(status, 0);
	}
	(void)unlinkat(dir, ".a.postern-part", 0);
	assert_int_equal(unlinkat(dir, "a", 0), 0);
}

UNIT(names)
{
	static const struct {
		const char *name;
		size_t len;
		bool good;
	} names[] = {{"a", 1, true}, {"...", 3, true}, {".a", 2, true}, {"", 0, false},
		{".", 1, false}, {"..", 2, false}, {"a/b", 3, false}, {"/", 1, false},
		{"a\0b", 3, false}};
	char longest[257];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		ProtobufCBinaryData name = {.len = names[i].len, .data = (uint8_t *)names[i].name};

		assert_int_equal(copy_name_is_good(&name), names[i].good);
	}
	memset(longest, 'x', sizeof(longest));
	assert_true(copy_name_is_good(&(ProtobufCBinaryData){255, (uint8_t *)longest}));
	assert_false(copy_name_is_good(&(ProtobufCBinaryData){256, (uint8_t *)longest}));
}

#define IN_FOLDER(name)                                                                            \
	{                                                                                          \
#name, test_##name, set_up, tear_down, NULL                                        \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FOLDER(it_takes_its_place_whole),
		IN_FOLDER(another_digest_leaves_the_old_one),
		IN_FOLDER(nothing_is_written_outside_of_its_size_or_backwards),
		IN_FOLDER(two_copies_of_one_file_do_not_mix),
		IN_FOLDER(a_part_is_taken_up),
		IN_FOLDER(a_part_that_is_cut_twice_is_kept),
		IN_FOLDER(what_is_not_ours_is_left_alone),
		IN_FOLDER(what_took_the_parts_name_takes_no_place),
		IN_FOLDER(many_copies_of_one_name_leave_a_whole_file),
		RUN(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
