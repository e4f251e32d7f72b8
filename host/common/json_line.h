/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON objects on a stream, one a line: QMP's monitor and the supervisor's control socket. What
 * comes in is bounded before it is parsed: the length of a line, and how deep it nests (jansson
 * recurses).
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proto/buffer.h"

#define JSON_DEPTH_MAX 32

struct json_reader {
	struct buffer in;
	size_t limit;   /* longest line accepted, bytes */
	size_t scanned; /* bytes of `in` known to hold no end of line */
};

/* Reads what fd has, once. Returns the number of bytes, 0 at end of file, -EAGAIN, -ENOMEM or
 * another -errno. Never blocks on a non-blocking descriptor. */
ssize_t json_reader_read(struct json_reader *reader, int fd);

/* As json_reader_read(), of a socket, but nothing behind the end of a line: that may be another's.
 */
ssize_t json_reader_read_line(struct json_reader *reader, int socket);

/*
 * Takes the next line. 1 with a new reference in *ret_object; 0 when no whole line is there yet;
 * -EMSGSIZE for a line over the limit; -EBADMSG for one that nests too deep or is no JSON object.
 * After an error the stream cannot be used any more. Empty lines are skipped. Unsigned integers
 * above 2^63-1 arrive as -1.
 */
int json_reader_next(struct json_reader *reader, json_t **ret_object);

/* Frees the buffer. */
void json_reader_done(struct json_reader *reader);

/* Appends the object as one line. 0 or -ENOMEM; nothing is appended then. */
int json_line_append(struct buffer *out, const json_t *object);

/* Parses an object or array, at most 32 deep, changing the text: unsigned integers above 2^63-1
 * arrive as -1. A new reference; NULL for what is none. */
json_t *json_text_parse(char *text, size_t len);

/* How deep text[0..len) nests: arrays and objects outside strings. */
size_t json_text_depth(const char *text, size_t len);

/* Fields of an object that may be absent or of another type: the default then. Borrowed. */
const char *json_field_string(const json_t *object, const char *key, const char *otherwise);
json_int_t json_field_int(const json_t *object, const char *key, json_int_t otherwise);
bool json_field_bool(const json_t *object, const char *key, bool otherwise);

/* A reference dropped at the end of the scope. */
#define AUTO_JSON __attribute__((cleanup(json_decrefp)))
