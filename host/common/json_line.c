/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/common/json_line.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/client/json_text.h"

#define READ_SIZE 16384

ssize_t json_reader_read(struct json_reader *reader, int fd)
{
	uint8_t *at = buffer_reserve(&reader->in, READ_SIZE);
	ssize_t n;

	if (!at)
		return -ENOMEM;
	do
		n = read(fd, at, READ_SIZE);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	buffer_commit(&reader->in, (size_t)n);
	return n;
}

ssize_t json_reader_read_line(struct json_reader *reader, int socket)
{
	uint8_t *at = buffer_reserve(&reader->in, READ_SIZE);
	const uint8_t *end;
	ssize_t n;

	if (!at)
		return -ENOMEM;
	do
		n = recv(socket, at, READ_SIZE, MSG_PEEK);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	end = memchr(at, '\n', (size_t)n);
	n = recv(socket, at, end ? (size_t)(end - at) + 1 : (size_t)n, 0);
	if (n < 0)
		return -errno;
	buffer_commit(&reader->in, (size_t)n);
	return n;
}

size_t json_text_depth(const char *text, size_t len)
{
	size_t depth = 0, deepest = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		if (in_string) {
			if (text[i] == '\\')
				i++;
			else if (text[i] == '"')
				in_string = false;
		} else if (text[i] == '"') {
			in_string = true;
		} else if (text[i] == '{' || text[i] == '[') {
			if (++depth > deepest)
				deepest = depth;
		} else if ((text[i] == '}' || text[i] == ']') && depth > 0) {
			depth--;
		}
	}
	return deepest;
}

/* The digits of one unsigned integer: blanked to -1 where a json_int_t cannot hold them. */
static void clip_integer(char *digits, size_t len)
{
	static const char highest[] = "9223372036854775807";

	if (len < strlen(highest) || (len == strlen(highest) && memcmp(digits, highest, len) <= 0))
		return;
	memset(digits, ' ', len);
	memcpy(digits, "-1", 2);
}

/* QEMU writes "unknown" as 2^64-1, which jansson refuses together with the whole line. */
static void clip_integers(char *text, size_t len)
{
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		size_t start = i;

		if (in_string && text[i] == '\\') {
			i++;
		} else if (text[i] == '"') {
			in_string = !in_string;
		} else if (!in_string && text[i] >= '1' && text[i] <= '9') {
			while (i < len && text[i] >= '0' && text[i] <= '9')
				i++;
			if ((start == 0 || !strchr("+-.eE", text[start - 1])) &&
				(i == len || !strchr(".eE", text[i])))
				clip_integer(text + start, i - start);
			i--;
		}
	}
}

json_t *json_text_parse(char *text, size_t len)
{
	if (json_text_depth(text, len) > JSON_DEPTH_MAX)
		return NULL;
	clip_integers(text, len);
	return json_loadb(text, len, 0, NULL);
}

static int parse(char *line, size_t len, json_t **ret_object)
{
	AUTO_JSON json_t *object = json_text_parse(line, len);

	if (!json_is_object(object))
		return -EBADMSG;
	*ret_object = take_ptr(object);
	return 1;
}

int json_reader_next(struct json_reader *reader, json_t **ret_object)
{
	for (;;) {
		char *line = (char *)buffer_front(&reader->in);
		size_t have = buffer_len(&reader->in), len;
		char *end = NULL;
		int r = 0;

		if (have > reader->scanned)
			end = memchr(line + reader->scanned, '\n', have - reader->scanned);
		len = end ? (size_t)(end - line) : have;
		if (len > reader->limit)
			return -EMSGSIZE;
		if (!end) {
			reader->scanned = have;
			return 0;
		}
		if (strspn(line, " \t\r") < len)
			r = parse(line, len, ret_object);
		buffer_consume(&reader->in, len + 1);
		reader->scanned = 0;
		if (r != 0)
			return r;
	}
}

void json_reader_done(struct json_reader *reader)
{
	buffer_clear(&reader->in);
	reader->scanned = 0;
}

int json_line_append(struct buffer *out, const json_t *object)
{
	AUTO_FREE char *text = json_text(object, 0);
	size_t len;

	if (!text)
		return -ENOMEM;
	len = strlen(text);
	text[len] = '\n'; /* in place of the NUL: one append, all or nothing */
	return buffer_append(out, text, len + 1);
}

const char *json_field_string(const json_t *object, const char *key, const char *otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_string(value) ? json_string_value(value) : otherwise;
}

json_int_t json_field_int(const json_t *object, const char *key, json_int_t otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

bool json_field_bool(const json_t *object, const char *key, bool otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_boolean(value) ? json_is_true(value) : otherwise;
}
