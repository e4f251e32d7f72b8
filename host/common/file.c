/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/common/json_line.h"
#include "proto/cleanup.h"
#include "proto/client/json_text.h"
#include "proto/write.h"

#define JSON_FILE_MAX (1u << 20)

static int read_to_end(int fd, size_t limit, char **ret_text, size_t *ret_len)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0, size = 4096;

	text = malloc(size + 1);
	if (!text)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read(fd, text + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > limit)
			return -EFBIG;
		if (len == size) {
			char *larger = realloc(text, size * 2 + 1);

			if (!larger)
				return -ENOMEM;
			text = larger;
			size *= 2;
		}
	}
	text[len] = '\0';
	*ret_text = take_ptr(text);
	*ret_len = len;
	return 0;
}

int file_read(int dir_fd, const char *path, size_t limit, char **ret_text, size_t *ret_len)
{
	/* O_NONBLOCK: a FIFO put there by somebody else must not hold us up. */
	AUTO_CLOSE int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	return read_to_end(fd, limit, ret_text, ret_len);
}

int file_replace(int dir_fd, const char *path, const void *data, size_t len, mode_t mode)
{
	AUTO_CLOSE int fd = -EBADF;
	char other[PATH_MAX];
	int r;

	if (snprintf(other, sizeof(other), "%s.new.%d", path, (int)getpid()) >= (int)sizeof(other))
		return -ENAMETOOLONG;
	(void)unlinkat(dir_fd, other, 0);
	fd = openat(dir_fd, other, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	r = write_all(fd, data, len);
	if (r == 0 && renameat(dir_fd, other, dir_fd, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir_fd, other, 0);
	return r;
}

int file_read_json(int dir_fd, const char *path, json_t **ret_object)
{
	AUTO_FREE char *text = NULL;
	AUTO_JSON json_t *object = NULL;
	size_t len = 0;
	int r = file_read(dir_fd, path, JSON_FILE_MAX, &text, &len);

	if (r < 0)
		return r;
	if (json_text_depth(text, len) > JSON_DEPTH_MAX)
		return -EBADMSG;
	object = json_loadb(text, len, 0, NULL);
	if (!json_is_object(object))
		return -EBADMSG;
	*ret_object = take_ptr(object);
	return 0;
}

int file_replace_json(int dir_fd, const char *path, const json_t *object)
{
	AUTO_FREE char *text = json_text(object, 2);

	if (!text)
		return -ENOMEM;
	return file_replace(dir_fd, path, text, strlen(text), 0600);
}

int make_dirs(const char *path)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return -ENAMETOOLONG;
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

char *text_format(const char *format, ...)
{
	char *text;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	return n < 0 ? NULL : text;
}
