/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images as the real cpio reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "host/common/remove.h"
#include "host/initramfs/cpio.h"
#include "host/initramfs/image.h"

static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	(void)strcpy(folder, "/tmp/postern-test-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
	(void)state;
	return remove_tree(folder);
}

static const char *in_folder(const char *name)
{
	static char path[2][256];
	static int turn;

	turn = !turn;
	(void)snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
	return path[turn];
}

/* The output of a shell command, in which $D is the folder. */
static const char *output_of(const char *command)
{
	static char text[8192];
	FILE *pipe;
	size_t n;

	assert_int_equal(setenv("D", folder, 1), 0);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	n = fread(text, 1, sizeof(text) - 1, pipe);
	text[n] = '\0';
	assert_int_equal(pclose(pipe), 0);
	return text;
}

static void put_file(const char *name, const char *text)
{
	FILE *file = fopen(in_folder(name), "w");

	assert_non_null(file);
	(void)fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void real_cpio_unpacks_what_was_packed(void **state)
{
	FILE *out = fopen(in_folder("image"), "w");
	const char *source = NULL;
	struct image image;

	(void)state;
	put_file("source", "five\n");
	assert_int_equal(image_init(&image), 0);
	assert_int_equal(image_add_file(&image, "/etc/deep/er/file", 0640, in_folder("source")), 0);
	assert_int_equal(image_add_data(&image, "/etc/one", 0644, "1", 1), 0);
	assert_int_equal(image_add_data(&image, "/etc/empty", 0600, "", 0), 0);
	assert_int_equal(image_add_link(&image, "/init", "etc/one"), 0);
	assert_int_equal(image_add_dir(&image, "/tmp", 01777), 0);
	assert_int_equal(image_write(&image, out, &source), 0);
	assert_int_equal(fclose(out), 0);
	image_done(&image);
	assert_string_equal(output_of("mkdir $D/to && cd $D/to && cpio -idm --quiet < ../image && "
				      "cat init etc/deep/er/file && stat -c '%a %s' etc/empty "
				      "etc/deep/er/file && stat -c %a tmp"),
		"1five\n600 0\n640 5\n1777\n");
}

static void real_cpio_lists_nodes(void **state)
{
	FILE *out = fopen(in_folder("nodes"), "w");
	struct cpio cpio = {.out = out};

	(void)state;
	assert_int_equal(cpio_entry(&cpio, "console", S_IFCHR | 0600, makedev(5, 1), NULL, 0), 0);
	assert_int_equal(cpio_entry(&cpio, "name-of-odd-length", S_IFREG | 0644, 0, "abc", 3), 0);
	assert_int_equal(cpio_end(&cpio), 0);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(output_of("cd $D && cpio -itv --quiet < nodes | awk '{print $1, $NF}'"),
		"crw------- console\n-rw-r--r-- name-of-odd-length\n");
	assert_string_equal(
		output_of("cd $D && cpio -itv --quiet < nodes | grep -c ' 5, *1 '"), "1\n");
}

static void merged_folders_are_resolved(void **state)
{
	struct image image;

	(void)state;
	assert_int_equal(image_init(&image), 0);
	assert_int_equal(image_add_data(&image, "/lib/x86/libc.so", 0755, "a", 1), 0);
	assert_true(image_has(&image, "/usr/lib/x86/libc.so"));
	/* The same thing by its other name is no second entry; another thing is refused. */
	assert_int_equal(image_add_data(&image, "//usr/lib//x86/libc.so", 0755, "a", 1), 0);
	assert_int_equal(image_add_data(&image, "/usr/lib/x86/libc.so", 0755, "b", 1), -EEXIST);
	assert_int_equal(image_add_data(&image, "/etc/../lib/x", 0644, "", 0), -EINVAL);
	assert_int_equal(image_add_data(&image, "relative", 0644, "", 0), -EINVAL);
	assert_int_equal(
		image_add_data(&image, "/usr/lib/x86/libc.so/below", 0644, "", 0), -ENOTDIR);
	image_done(&image);
}

/* Even one of the same size whose time somebody has set back. */
static void change_in_secret(const char *name)
{
	struct timespec times[2];
	struct stat st;

	assert_int_equal(stat(in_folder(name), &st), 0);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	put_file(name, "diff");
	assert_int_equal(utimensat(AT_FDCWD, in_folder(name), times, 0), 0);
}

static void hash_follows_the_plan_and_its_files(void **state)
{
	char first[IMAGE_HASH_SIZE], second[IMAGE_HASH_SIZE];
	const char *source;

	(void)state;
	put_file("hashed", "same");
	for (int round = 0; round < 3; round++) {
		struct image image;

		if (round == 2)
			change_in_secret("hashed");
		assert_int_equal(image_init(&image), 0);
		/* Added in another order: the same image. */
		if (round == 1)
			assert_int_equal(image_add_data(&image, "/b", 0644, "b", 1), 0);
		assert_int_equal(image_add_file(&image, "/a", 0644, in_folder("hashed")), 0);
		if (round != 1)
			assert_int_equal(image_add_data(&image, "/b", 0644, "b", 1), 0);
		assert_int_equal(image_hash(&image, round == 0 ? first : second, &source), 0);
		image_done(&image);
		if (round == 1)
			assert_string_equal(first, second);
	}
	assert_string_not_equal(first, second);
}

static void file_that_shrinks_is_an_error(void **state)
{
	FILE *out = fopen(in_folder("short"), "w"), *source;
	struct cpio cpio = {.out = out};

	(void)state;
	put_file("source", "five\n");
	source = fopen(in_folder("source"), "r");
	assert_int_equal(cpio_file(&cpio, "a", S_IFREG | 0644, fileno(source), 6), -EIO);
	assert_int_equal(
		cpio_file(&cpio, "b", S_IFREG | 0644, fileno(source), UINT64_C(1) << 32), -EFBIG);
	(void)fclose(source);
	(void)fclose(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_cpio_unpacks_what_was_packed),
		cmocka_unit_test(real_cpio_lists_nodes),
		cmocka_unit_test(merged_folders_are_resolved),
		cmocka_unit_test(hash_follows_the_plan_and_its_files),
		cmocka_unit_test(file_that_shrinks_is_an_error),
	};

	return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
