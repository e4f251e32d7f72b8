/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/cleanup.h"

#define FIRST_ROOM 64

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static bool number_behind(const char *name, const char *prefix, uint32_t *ret)
{
	size_t len = strlen(prefix);
	char *end;

	if (strncmp(name, prefix, len) != 0 || name[len] < '0' || name[len] > '9')
		return false;
	*ret = (uint32_t)strtoul(name + len, &end, 10);
	return *end == '\0';
}

int sysfs_numbers(
	struct call *call, const char *folder, const char *prefix, uint32_t **ret, size_t *ret_n)
{
	DIR *dir = opendir(folder);
	size_t room = 0;
	uint32_t number;

	*ret = NULL;
	*ret_n = 0;
	if (!dir)
		return -errno;
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (!number_behind(entry->d_name, prefix, &number))
			continue;
		if (*ret_n == room) {
			uint32_t *larger;

			room = room ? 2 * room : FIRST_ROOM;
			larger = arena_alloc(call->arena, room * sizeof(*larger));
			if (!larger) {
				(void)closedir(dir);
				return -ENOMEM;
			}
			if (*ret_n > 0)
				memcpy(larger, *ret, *ret_n * sizeof(*larger));
			*ret = larger;
		}
		(*ret)[(*ret_n)++] = number;
	}
	(void)closedir(dir);
	if (*ret_n > 0)
		qsort(*ret, *ret_n, sizeof(**ret), by_value);
	return 0;
}

static int __attribute__((format(printf, 3, 0)))
read_text(char *text, size_t size, const char *format, va_list args)
{
	AUTO_CLOSE int fd = -EBADF;
	char path[PATH_MAX];
	ssize_t n;

	(void)vsnprintf(path, sizeof(path), format, args);
	text[0] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, size - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return 0;
}

int sysfs_text(char *text, size_t size, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = read_text(text, size, format, args);
	va_end(args);
	return r;
}

int sysfs_number(int base, uint64_t *ret, const char *format, ...)
{
	char text[64], *end;
	va_list args;
	int r;

	va_start(args, format);
	r = read_text(text, sizeof(text), format, args);
	va_end(args);
	if (r < 0)
		return r;
	*ret = strtoull(text, &end, base);
	return end == text ? -EPROTO : 0;
}

int sysfs_write(const char *text, const char *format, ...)
{
	AUTO_CLOSE int fd = -EBADF;
	char path[PATH_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

bool sysfs_has(const uint32_t *numbers, size_t n, uint32_t number)
{
	for (size_t i = 0; i < n; i++)
		if (numbers[i] == number)
			return true;
	return false;
}

int sysfs_check(struct call *call, const char *what, const uint32_t *there, size_t n_there,
	const uint32_t *on, size_t n_on, const uint32_t *off, size_t n_off)
{
	for (size_t i = 0; i < n_on + n_off; i++) {
		uint32_t number = i < n_on ? on[i] : off[i - n_on];

		if (!sysfs_has(there, n_there, number))
			return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENOENT,
				"there is no %s %u", what, number);
		if (sysfs_has(on, i < n_on ? i : n_on, number) ||
			(i >= n_on && sysfs_has(off, i - n_on, number)))
			return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
				"%s %u is named twice", what, number);
	}
	if (n_on + n_off == 0)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"online, offline: expected at least one");
	return 0;
}
