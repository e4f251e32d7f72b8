/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/disk_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/run.h"
#include "host/lib/disk.h"
#include "proto/cleanup.h"

#define MKFS_MS  600000
#define LOOK     ((size_t)1 << 20)
#define TYPE_MAX 16

int disk_image_create(const char *image, uint64_t bytes, struct postern_error *error)
{
	AUTO_CLOSE int fd = open(image, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return fail_errno(error, POSTERN_USAGE, errno, "%s", image);
	if (ftruncate(fd, (off_t)bytes) < 0) {
		int r = fail_errno(error, POSTERN_USAGE, errno, "%s", image);

		(void)unlink(image);
		return r;
	}
	return 0;
}

/* 1: zero as far as was read. 0: not. -errno. */
static int is_zero(int fd, off_t at)
{
	AUTO_FREE unsigned char *bytes = malloc(LOOK);
	ssize_t n = bytes ? pread(fd, bytes, LOOK, at) : -1;

	if (n < 0)
		return bytes ? -errno : -ENOMEM;
	/* Each byte is the one before it, and the first is zero. */
	return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, (size_t)n - 1) == 0);
}

static int check_blank(const char *image, struct postern_error *error)
{
	AUTO_CLOSE int fd = open(image, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	int r = size < 0 ? -errno : is_zero(fd, 0);

	if (r > 0 && size > (off_t)LOOK)
		r = is_zero(fd, size - (off_t)LOOK);
	if (r < 0)
		return fail_errno(error, POSTERN_USAGE, -r, "%s", image);
	return r > 0 ? 0
		     : fail(error, POSTERN_USAGE, EEXIST,
			       "%s is not empty: with --force what is in it is lost", image);
}

/* The name of a program is made of it. */
static bool is_type(const char *type)
{
	size_t len = strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789");

	return len > 0 && len < TYPE_MAX && type[len] == '\0';
}

/* What lets it write over something without a question. NULL: it asks nobody. */
static const char *force_option(const char *type)
{
	static const char *const options[][2] = {{"ext2", "-F"}, {"ext3", "-F"}, {"ext4", "-F"},
		{"xfs", "-f"}, {"btrfs", "-f"}, {"f2fs", "-f"}, {"ntfs", "-F"}};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (strcmp(type, options[i][0]) == 0)
			return options[i][1];
	return NULL;
}

int disk_image_mkfs(const char *image, const char *type, bool force, struct postern_error *error)
{
	AUTO_FREE char *path = NULL;
	const char *argv[4] = {NULL}, *option = force_option(type);
	char program[sizeof("mkfs.") + TYPE_MAX], problem[256];
	bool qcow2 = false;
	size_t n = 0;
	int r;

	if (!is_type(type))
		return fail(error, POSTERN_USAGE, EINVAL,
			"a type of file system has letters and digits: ext4, xfs, vfat");
	r = disk_look(image, &path, &qcow2, error);
	if (r < 0)
		return r;
	if (qcow2)
		return fail(error, POSTERN_USAGE, EOPNOTSUPP,
			"%s: a file system is made in raw images only", image);
	r = force ? 0 : check_blank(path, error);
	if (r < 0)
		return r;
	(void)snprintf(program, sizeof(program), "mkfs.%s", type);
	argv[n++] = program;
	if (option)
		argv[n++] = option;
	argv[n] = path;
	r = run_program(argv, MKFS_MS, problem, sizeof(problem));
	return r < 0 ? fail(error, POSTERN_USAGE, -r, "%s", problem) : 0;
}
