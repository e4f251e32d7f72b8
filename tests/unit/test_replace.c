/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file is the old one or the new one. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "proto/replace.h"

static char dir[] = "/tmp/postern-unit-XXXXXX";

static const char *content(const char *name)
{
	static char text[64];
	char path[128];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return NULL;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

UNIT(by_folder_or_by_path)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY);
	char path[128];
	struct stat st;

	assert_int_equal(replace_file(fd, "file", 0600, "one", 3), 0);
	assert_string_equal(content("file"), "one");
	(void)snprintf(path, sizeof(path), "%s/file", dir);
	(void)umask(0077);
	assert_int_equal(replace_file(AT_FDCWD, path, 0644, "second", 6), 0);
	assert_string_equal(content("file"), "second");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_null(content(".file.new"));
	assert_int_equal(unlinkat(fd, "file", 0), 0);
	(void)close(fd);
}

UNIT(what_another_attempt_left_is_no_obstacle)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY);

	/* Not even where it is a link to somewhere else. */
	assert_int_equal(symlinkat("elsewhere", fd, ".file.new"), 0);
	assert_int_equal(replace_file(fd, "file", 0600, "new", 3), 0);
	assert_string_equal(content("file"), "new");
	assert_null(content("elsewhere"));
	assert_int_equal(unlinkat(fd, "file", 0), 0);
	(void)close(fd);
}

UNIT(a_failure_leaves_the_old_one)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY);

	assert_int_equal(mkdirat(fd, "folder", 0700), 0);
	assert_int_equal(mkdirat(fd, "folder/x", 0700), 0);
	assert_int_equal(replace_file(fd, "folder", 0600, "new", 3), -EISDIR);
	assert_null(content(".folder.new"));
	assert_int_equal(replace_file(fd, "none/file", 0600, "new", 3), -ENOENT);
	assert_int_equal(unlinkat(fd, "folder/x", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(fd, "folder", AT_REMOVEDIR), 0);
	(void)close(fd);
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(by_folder_or_by_path),
		RUN(what_another_attempt_left_is_no_obstacle),
		RUN(a_failure_leaves_the_old_one),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
