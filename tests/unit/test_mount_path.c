/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which file systems a look-up of a path asks, told from a mount table alone. */
/* needs: agent/methods/mount_path.c agent/methods/mount_text.c */
#include "tests/unit/unit.h"

#include <sys/sysmacros.h>

#include "agent/methods/mount_path.h"

/* "MINOR@LEN MINOR@LEN ..." of what is crossed on the way to path. */
static const char *crossed(const char *text, const char *path)
{
	static char said[CROSSINGS_MAX * 24];
	struct crossing crossings[CROSSINGS_MAX];
	struct buffer bytes = {0};
	struct mount_map map;
	size_t n = 0, len = 0;
	int r;

	assert_int_equal(buffer_append(&bytes, text, strlen(text)), 0);
	assert_int_equal(mount_map_parse(bytes, &map), 0);
	r = mount_path_crossings(&map, path, crossings, &n);
	mount_map_done(&map);
	if (r < 0)
		return strerror(-r);
	said[0] = '\0';
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(said + len, sizeof(said) - len, "%s%u@%zu", i ? " " : "",
			minor(crossings[i].device), crossings[i].len);
	return said;
}

#define ROOT "25 1 0:1 / / rw - ext4 /dev/vda1 rw\n"

UNIT(a_path_asks_what_it_leads_through)
{
	static const char text[] = ROOT "30 25 0:2 / /mnt rw - tmpfs none rw\n"
					"31 30 0:3 / /mnt/share rw - virtiofs tag rw\n"
					"32 31 0:4 / /mnt/share/in\\040ner rw - tmpfs none rw\n"
					"33 25 0:5 / /proc rw - proc none rw\n";

	assert_string_equal(crossed(text, "/"), "1@1");
	assert_string_equal(crossed(text, "/srv/data"), "1@1");
	assert_string_equal(crossed(text, "/mnt"), "1@1 2@4");
	assert_string_equal(crossed(text, "/mnt/other"), "1@1 2@4");
	assert_string_equal(crossed(text, "/mntx"), "1@1");
	assert_string_equal(crossed(text, "/mnt/shares"), "1@1 2@4");
	assert_string_equal(crossed(text, "/mnt/share/in ner/x"), "1@1 2@4 3@10 4@17");
	assert_string_equal(crossed(text, "/mnt/share/in ne"), "1@1 2@4 3@10");
}

UNIT(of_what_is_stacked_only_the_topmost_is_asked)
{
	static const char text[] = ROOT "30 25 0:2 / /mnt/a rw - tmpfs none rw\n"
					"31 30 0:3 / /mnt/a rw - virtiofs tag rw\n"
					"32 31 0:4 / /mnt/a rw - tmpfs none rw\n";

	assert_string_equal(crossed(text, "/mnt/a/b"), "1@1 4@6");
}

UNIT(what_another_mount_hides_is_not_asked)
{
	/* /mnt/a/b was there first; then something was mounted over /mnt/a, and over that again. */
	static const char text[] = ROOT "30 25 0:2 / /mnt/a/b rw - virtiofs tag rw\n"
					"31 25 0:3 / /mnt/a rw - tmpfs none rw\n"
					"32 31 0:4 / /mnt/a/b/c rw - tmpfs none rw\n";

	assert_string_equal(crossed(text, "/mnt/a/b/x"), "1@1 3@6");
	assert_string_equal(crossed(text, "/mnt/a/b/c"), "1@1 3@6 4@10");
}

UNIT(the_order_of_lines_says_nothing)
{
	static const char text[] = "32 31 0:4 / /mnt/a/b rw - tmpfs none rw\n"
				   "31 25 0:3 / /mnt/a rw - tmpfs none rw\n" ROOT;

	assert_string_equal(crossed(text, "/mnt/a/b/x"), "1@1 3@6 4@8");
}

UNIT(the_root_of_a_small_guest_is_its_own_parent)
{
	assert_string_equal(crossed("1 1 0:1 / / rw - rootfs rootfs rw\n"
				    "20 1 0:2 / /run rw - tmpfs none rw\n",
				    "/run/x"),
		"1@1 2@4");
	/* What lies over it hides it. */
	assert_string_equal(crossed("1 1 0:1 / / rw - rootfs rootfs rw\n"
				    "20 1 0:2 / / rw - ext4 /dev/vda rw\n",
				    "/run/x"),
		"2@1");
}

UNIT(a_root_that_is_no_mount_has_no_device)
{
	assert_string_equal(crossed("20 7 0:2 / /run rw - tmpfs none rw\n", "/run/x"), "0@1 2@4");
	assert_string_equal(crossed("20 7 0:2 / /run rw - tmpfs none rw\n", "/srv"), "0@1");
}

UNIT(what_is_no_line_is_passed_over)
{
	assert_string_equal(crossed("", "/srv"), "0@1");
	assert_string_equal(crossed("\n25 1 0:1\nwords\n25 1 0:1 / \n25 1 0:1 / /no-end\n" ROOT
				    "30 25 0:2 / relative rw - tmpfs none rw\n"
				    "31 25 0:3 / /mnt/a\\134b\\011c rw - tmpfs none rw\n"
				    "32 25 0:4 / /mnt/cut\\04 rw - tmpfs none rw",
				    "/mnt/a\\b\tc"),
		"1@1 3@10");
	/* The last line may lack its end. */
	assert_string_equal(crossed(ROOT "32 25 0:4 / /mnt rw", "/mnt/x"), "1@1 4@4");
}

UNIT(a_table_that_cannot_be_ends)
{
	/* Two mounts that are each other's parents, and more crossings than anybody follows. */
	assert_string_equal(crossed("1 2 0:1 / / rw - tmpfs none rw\n"
				    "2 1 0:2 / / rw - tmpfs none rw\n",
				    "/a"),
		"0@1");
	assert_string_equal(crossed(ROOT "30 31 0:2 / /a rw - tmpfs none rw\n"
					 "31 30 0:3 / /a rw - tmpfs none rw\n",
				    "/a"),
		"1@1");

	char text[16384] = ROOT, path[512] = "";
	size_t len = strlen(text);

	for (unsigned int i = 0; i < CROSSINGS_MAX; i++) {
		strcat(path, "/a");
		len += (size_t)snprintf(text + len, sizeof(text) - len,
			"%u %u 0:%u / %s rw - tmpfs none rw\n", 26 + i, 25 + i, 2 + i, path);
	}
	assert_string_equal(crossed(text, path), strerror(E2BIG));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(a_path_asks_what_it_leads_through),
		RUN(of_what_is_stacked_only_the_topmost_is_asked),
		RUN(what_another_mount_hides_is_not_asked),
		RUN(the_order_of_lines_says_nothing),
		RUN(the_root_of_a_small_guest_is_its_own_parent),
		RUN(a_root_that_is_no_mount_has_no_device),
		RUN(what_is_no_line_is_passed_over),
		RUN(a_table_that_cannot_be_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
