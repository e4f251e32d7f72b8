/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON objects on a stream: lines, depth, numbers, small files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/common/file.h"
#include "host/common/json_line.h"
#include "host/common/remove.h"

/* Feeds the text in pieces and returns the first result that is not "more needed". */
static int feed(const char *text, size_t piece, size_t limit, json_t **ret_object)
{
	struct json_reader reader = {.limit = limit};
	size_t len = strlen(text);
	int pipe_fds[2], r = 0;

	assert_int_equal(pipe2(pipe_fds, O_NONBLOCK), 0);
	for (size_t at = 0; r == 0 && at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece;

		assert_int_equal(write(pipe_fds[1], text + at, n), n);
		assert_int_equal(json_reader_read(&reader, pipe_fds[0]), n);
		r = json_reader_next(&reader, ret_object);
	}
	json_reader_done(&reader);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
	return r;
}

static void pieces_make_a_line(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < 40; piece++) {
		json_t *object = NULL;

		assert_int_equal(
			feed("\r\n  \n{\"a\": \"}{\", \"b\": [1]}\n", piece, 100, &object), 1);
		assert_string_equal(json_field_string(object, "a", ""), "}{");
		json_decref(object);
	}
}

static void long_lines_are_refused_with_or_without_end(void **state)
{
	json_t *object = NULL;

	(void)state;
	assert_int_equal(feed("{\"a\": 1234567890}", 100, 10, &object), -EMSGSIZE);
	assert_int_equal(feed("{\"a\": 1234567890}\n", 100, 10, &object), -EMSGSIZE);
	assert_int_equal(feed("{\"a\":1234}\n", 100, 10, &object), 1);
	json_decref(object);
}

static void depth_counts_outside_strings(void **state)
{
	const char *text = "{\"[[[[\": [\"\\\"[[\", {}]}";

	(void)state;
	assert_int_equal(json_text_depth(text, strlen(text)), 3);
	assert_int_equal(json_text_depth("[][][]", 6), 1);
	assert_int_equal(json_text_depth("]]]]{", 5), 1);
}

static void depth_is_bounded_at_the_limit(void **state)
{
	char text[512];
	json_t *object = NULL;

	(void)state;
	for (int depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX; depth++) {
		int n = snprintf(text, sizeof(text), "{\"a\":");

		memset(text + n, '[', (size_t)depth);
		memset(text + n + depth, ']', (size_t)depth);
		(void)strcpy(text + n + 2 * depth, "}\n");
		assert_int_equal(
			feed(text, 600, 600, &object), depth < JSON_DEPTH_MAX ? 1 : -EBADMSG);
	}
	json_decref(object);
}

static void large_integers_become_minus_one(void **state)
{
	json_t *object = NULL;

	(void)state;
	assert_int_equal(feed("{\"a\":18446744073709551615,\"b\":9223372036854775807,"
			      "\"c\":\"18446744073709551615\",\"d\":9223372036854775808,"
			      "\"e\":1.5,\"f\":[99999999999999999999999]}\n",
				 300, 300, &object),
		1);
	assert_int_equal(json_field_int(object, "a", 0), -1);
	assert_int_equal(json_field_int(object, "b", 0), INT64_MAX);
	assert_string_equal(json_field_string(object, "c", ""), "18446744073709551615");
	assert_int_equal(json_field_int(object, "d", 0), -1);
	assert_int_equal(json_integer_value(json_array_get(json_object_get(object, "f"), 0)), -1);
	json_decref(object);
}

static void only_objects_count(void **state)
{
	static const char *const lines[] = {
		"[]\n", "1\n", "\"a\"\n", "{\n", "{} {}\n", "{\"a\":1,}\n", "{\"a\":\"\xff\"}\n"};
	json_t *object = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_int_equal(feed(lines[i], 100, 100, &object), -EBADMSG);
}

static void files_are_replaced_whole(void **state)
{
	char folder[] = "/tmp/postern-test-XXXXXX";
	json_t *object = json_pack("{s:i}", "a", 1), *back = NULL;
	char *text;
	size_t len;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	fd = open(folder, O_PATH | O_DIRECTORY);
	assert_int_equal(file_replace_json(fd, "x.json", object), 0);
	assert_int_equal(file_read_json(fd, "x.json", &back), 0);
	assert_true(json_equal(object, back));
	assert_int_equal(file_read(fd, "x.json", 3, &text, &len), -EFBIG);
	assert_int_equal(file_replace(fd, "bad.json", "[", 1, 0600), 0);
	assert_int_equal(file_read_json(fd, "bad.json", &back), -EBADMSG);
	assert_int_equal(file_read_json(fd, "none.json", &back), -ENOENT);
	/* A FIFO in its place holds nobody up. */
	assert_int_equal(mkfifoat(fd, "fifo", 0600), 0);
	assert_int_equal(file_read(fd, "fifo", 3, &text, &len), -EINVAL);
	json_decref(object);
	json_decref(back);
	(void)close(fd);
	assert_int_equal(remove_tree(folder), 0);
}

/* A stream that goes on as another's behind its line. */
static void nothing_behind_a_line_is_taken(void **state)
{
	struct json_reader reader = {.limit = 100};
	json_t *object = NULL;
	char rest[8];
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(write(pair[0], "{\"a\"", 4), 4);
	assert_int_equal(json_reader_read_line(&reader, pair[1]), 4);
	assert_int_equal(json_reader_read_line(&reader, pair[1]), -EAGAIN);
	assert_int_equal(json_reader_next(&reader, &object), 0);
	assert_int_equal(write(pair[0], ":1}\nmore\n", 9), 9);
	assert_int_equal(json_reader_read_line(&reader, pair[1]), 4);
	assert_int_equal(json_reader_next(&reader, &object), 1);
	assert_int_equal(json_field_int(object, "a", 0), 1);
	assert_int_equal(read(pair[1], rest, sizeof(rest)), 5);
	assert_memory_equal(rest, "more\n", 5);
	(void)close(pair[0]);
	assert_int_equal(json_reader_read_line(&reader, pair[1]), 0);
	(void)close(pair[1]);
	json_decref(object);
	json_reader_done(&reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_make_a_line),
		cmocka_unit_test(long_lines_are_refused_with_or_without_end),
		cmocka_unit_test(depth_counts_outside_strings),
		cmocka_unit_test(depth_is_bounded_at_the_limit),
		cmocka_unit_test(large_integers_become_minus_one),
		cmocka_unit_test(only_objects_count),
		cmocka_unit_test(nothing_behind_a_line_is_taken),
		cmocka_unit_test(files_are_replaced_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
