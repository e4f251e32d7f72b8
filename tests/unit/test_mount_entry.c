/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines of mountinfo, and samples of the load, as messages. */
/* needs: agent/methods/mount_entry.c agent/methods/mount_text.c */
/* needs: agent/methods/worker/mount_memo.c agent/methods/sample.c */
/* libs: mount */
#include "tests/unit/unit.h"

#include "agent/methods/mount_entry.h"
#include "agent/methods/mount_memo.h"
#include "agent/methods/mount_text.h"
#include "agent/methods/sample.h"

static struct arena arena;

static int set_up(void **state)
{
	(void)state;
	arena_init(&arena, 1 << 20);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	arena_done(&arena);
	return 0;
}

static struct libmnt_table *table_of(const char *text)
{
	struct libmnt_table *table = NULL;
	int fd = memfd_create("mountinfo", 0);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	/* The offset is at the end: reading starts at the beginning all the same. */
	assert_int_equal(mount_table_read(fd, &table), 0);
	(void)close(fd);
	return table;
}

static void expect_bytes(ProtobufCBinaryData bytes, const char *text)
{
	assert_int_equal(bytes.len, strlen(text));
	assert_memory_equal(bytes.data, text, bytes.len);
}

static const char lines[] =
	"25 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro\n"
	"30 25 0:26 /sub /mnt/with\\040space rw,nosuid shared:2 master:3 - virtiofs tag rw\n"
	"this is no line\n"
	"31 25 0:27 / /mnt/a ro - tmpfs none rw,size=64k\n"
	"32 31 0:28 / /mnt/a rw unbindable - tmpfs none rw\n"
	"33 25 0:29 / /mnt/s rw master:5 - tmpfs none rw\n";

UNIT(entries_have_every_field)
{
	struct libmnt_table *table = table_of(lines);
	Postern__V1__MountEntry *entry =
		mount_entry_new(&arena, mount_table_find(table, "/mnt/with space"));

	assert_int_equal(entry->id, 30);
	assert_int_equal(entry->parent_id, 25);
	assert_int_equal(entry->major, 0);
	assert_int_equal(entry->minor, 26);
	expect_bytes(entry->root, "/sub");
	expect_bytes(entry->source, "tag");
	expect_bytes(entry->target, "/mnt/with space");
	expect_bytes(entry->type, "virtiofs");
	assert_int_equal(entry->n_options, 2);
	expect_bytes(entry->options[0], "rw");
	expect_bytes(entry->options[1], "nosuid");
	assert_int_equal(entry->n_fs_options, 1);
	assert_string_equal(entry->propagation, "slave,shared");
	assert_int_equal(entry->state, POSTERN__V1__MOUNT_STATE__MOUNTED);
	assert_null(entry->usage);
	mnt_unref_table(table);
}

UNIT(bad_lines_are_skipped_and_the_topmost_is_found)
{
	struct libmnt_table *table = table_of(lines);

	assert_int_equal(mnt_table_get_nents(table), 5);
	assert_int_equal(mnt_fs_get_id(mount_table_find(table, "/mnt/a")), 32);
	assert_null(mount_table_find(table, "/mnt"));
	assert_null(mount_table_find(table, "/mnt/a/"));
	mnt_unref_table(table);
}

UNIT(propagation_is_in_words)
{
	static const struct {
		const char *target, *words;
	} cases[] = {{"/", "shared"}, {"/mnt/a", "unbindable"}, {"/mnt/s", "slave"}};
	struct libmnt_table *table = table_of(lines);

	for (size_t i = 0; i < 3; i++)
		assert_string_equal(
			mount_entry_new(&arena, mount_table_find(table, cases[i].target))
				->propagation,
			cases[i].words);
	mnt_unref_table(table);
	table = table_of("31 25 0:27 / /mnt/a ro - tmpfs none rw\n");
	assert_string_equal(
		mount_entry_new(&arena, mount_table_find(table, "/mnt/a"))->propagation, "private");
	mnt_unref_table(table);
}

UNIT(an_empty_table_has_nothing)
{
	struct libmnt_table *table = table_of("");

	assert_null(mount_table_find(table, "/"));
	mnt_unref_table(table);
	assert_int_equal(mount_table_read(-1, &table), -EBADF);
}

UNIT(this_machine_has_a_root)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	struct libmnt_table *table;

	assert_int_equal(mount_table_read(fileno(file), &table), 0);
	assert_non_null(mount_entry_new(&arena, mount_table_find(table, "/")));
	mnt_unref_table(table);
	/* A second time, from the beginning again. */
	assert_int_equal(mount_table_read(fileno(file), &table), 0);
	assert_non_null(mount_table_find(table, "/"));
	mnt_unref_table(table);
	(void)fclose(file);
}

UNIT(option_lists_are_split)
{
	static const struct {
		const char *list;
		size_t n;
		const char *last;
	} cases[] = {{"a", 1, "a"}, {"a,b=c", 2, "b=c"}, {"a,,b", 3, "b"}, {"a,", 1, "a"},
		{",a", 2, "a"}};
	ProtobufCBinaryData *parts = NULL;
	size_t n = 7;

	assert_int_equal(mount_options_split(&arena, "", &parts, &n), 0);
	assert_int_equal(n, 0);
	n = 7;
	assert_int_equal(mount_options_split(&arena, NULL, &parts, &n), 0);
	assert_int_equal(n, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(mount_options_split(&arena, cases[i].list, &parts, &n), 0);
		assert_int_equal(n, cases[i].n);
		expect_bytes(parts[n - 1], cases[i].last);
	}
}

UNIT(without_memory_there_is_no_entry)
{
	struct libmnt_table *table = table_of(lines);
	struct libmnt_fs *fs = mount_table_find(table, "/");
	struct arena small;

	arena_init(&small, 100);
	assert_null(mount_entry_new(&small, fs));
	arena_done(&small);
	mnt_unref_table(table);
}

UNIT(samples_become_points)
{
	const struct load_sample sample = {.time_s = 1000,
		.load = {150, 75, 5},
		.cpu = 1234,
		.pressure = {1, 200, 10000},
		.memory_total = UINT64_C(1) << 40,
		.memory_available = 5,
		.swap_used = 6,
		.disk_read = 1.5f,
		.disk_write = 2.5f,
		.link_rx = 3.5f,
		.link_tx = 4.5f};
	Postern__V1__LoadPoint point, back;
	double values[POINT_VALUES];

	sample_to_point(&sample, &point);
	assert_int_equal(point.time_s, 1000);
	assert_int_equal(point.samples, 1);
	assert_true(point.load1 == 1.5 && point.load5 == 0.75 && point.load15 == 0.05);
	assert_true(point.cpu_percent == 12.34);
	assert_true(point.memory_total == UINT64_C(1) << 40 && point.memory_available == 5 &&
		    point.swap_used == 6);
	assert_true(point.cpu_pressure == 0.01 && point.memory_pressure == 2 &&
		    point.io_pressure == 100);
	assert_true(point.disk_read == 1.5 && point.disk_write == 2.5 && point.link_rx == 3.5 &&
		    point.link_tx == 4.5);
	/* Every field is there, and the array holds each at the same place both ways. */
	for (unsigned int i = 0; i < point.base.descriptor->n_fields; i++)
		assert_true(*((const protobuf_c_boolean *)((const char *)&point +
							   point.base.descriptor->fields[i]
								   .quantifier_offset)));
	point_values(&point, values);
	back = point;
	for (int i = 0; i < POINT_VALUES; i++)
		values[i] += 1;
	point_set_values(&back, values);
	point_values(&back, values);
	assert_true(
		back.load1 == 2.5 && back.link_tx == 5.5 && values[4] == (double)back.memory_total);
	assert_true(back.memory_total == point.memory_total + 1);
}

#define ENTRY_TEST(name)                                                                           \
	{                                                                                          \
#name, test_##name, set_up, tear_down, NULL                                        \
	}

static void rewrite(int fd, const char *text)
{
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
}

UNIT(what_is_kept_is_the_kernels_last_word)
{
	const char *changed = "31 25 0:27 / /mnt/a rw - tmpfs none rw,size=64k\n";
	const char *as_long = "31 25 0:27 / /mnt/b rw - tmpfs none rw,size=64k\n";
	int fd = memfd_create("mountinfo", 0);
	const struct mount_memo_row *kept;
	struct mount_memo memo = {0};

	rewrite(fd, lines);
	assert_int_equal(mount_memo_read(&memo, fd), 0);
	assert_int_equal(memo.n, 5);
	expect_bytes(memo.rows[1].entry->target, "/mnt/with space");
	kept = memo.rows;
	assert_int_equal(mount_memo_read(&memo, fd), 0);
	assert_ptr_equal(memo.rows, kept);
	assert_int_equal(memo.n, 5);

	rewrite(fd, changed);
	assert_int_equal(mount_memo_read(&memo, fd), 0);
	assert_int_equal(memo.n, 1);
	expect_bytes(memo.rows[0].entry->target, "/mnt/a");
	rewrite(fd, as_long);
	assert_int_equal(mount_memo_read(&memo, fd), 0);
	expect_bytes(memo.rows[0].entry->target, "/mnt/b");

	/* What cannot be read is not answered from memory. */
	(void)close(fd);
	assert_int_equal(mount_memo_read(&memo, fd), -EBADF);
	assert_int_equal(memo.n, 0);
	assert_null(memo.rows);
	mount_memo_clear(&memo);
}

UNIT(a_table_of_any_length_is_read_whole)
{
	struct buffer text = {0};
	int fd = memfd_create("mountinfo", 0);
	struct mount_memo memo = {0};
	char line[128];

	for (int i = 0; i < 1000; i++) {
		int n = snprintf(line, sizeof(line), "%d 1 0:%d / /mnt/%d rw - tmpfs none rw\n",
			100 + i, 30 + i, i);

		assert_int_equal(write(fd, line, (size_t)n), n);
	}
	assert_int_equal(mount_memo_read(&memo, fd), 0);
	assert_int_equal(memo.n, 1000);
	expect_bytes(memo.rows[999].entry->target, "/mnt/999");
	mount_memo_clear(&memo);
	assert_int_equal(mount_text_read(fd, &text), 0);
	assert_int_equal(buffer_len(&text), lseek(fd, 0, SEEK_END));
	buffer_clear(&text);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENTRY_TEST(entries_have_every_field),
		ENTRY_TEST(bad_lines_are_skipped_and_the_topmost_is_found),
		ENTRY_TEST(propagation_is_in_words),
		ENTRY_TEST(an_empty_table_has_nothing),
		ENTRY_TEST(this_machine_has_a_root),
		ENTRY_TEST(option_lists_are_split),
		ENTRY_TEST(without_memory_there_is_no_entry),
		ENTRY_TEST(samples_become_points),
		RUN(what_is_kept_is_the_kernels_last_word),
		RUN(a_table_of_any_length_is_read_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
