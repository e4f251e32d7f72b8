/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whole small files: read with a bound, written so that a reader sees the old or the new content.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

/* Reads a regular file of at most `limit` bytes into new memory with a NUL behind it (the caller
 * frees); -EFBIG for a longer one; -EINVAL for what is no regular file; else -errno. */
int file_read(int dir_fd, const char *path, size_t limit, char **ret_text, size_t *ret_len);

/* Writes len bytes to a new file beside path and renames it over path. 0 or -errno; the old
 * file is untouched then. Several processes may do so at once, so each has a name of its own for
 * the new file; what is written need not outlive a crash of the host, as with proto/replace.h. */
int file_replace(int dir_fd, const char *path, const void *data, size_t len, mode_t mode);

/* The same for JSON: at most 1 MiB, nesting 32 deep, an object at the top; -EBADMSG for others. */
int file_read_json(int dir_fd, const char *path, json_t **ret_object);
int file_replace_json(int dir_fd, const char *path, const json_t *object);

/* mkdir -p with 0700 for what is missing. 0 or -errno. */
int make_dirs(const char *path);

/* asprintf() that returns the new text or NULL. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
