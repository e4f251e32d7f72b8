/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/share.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/encode.h"
#include "proto/replace.h"
#include "proto/verify.h"

#define KEY_MAX         200
#define RECORD_MAX      65536
#define SECRET_NAME_MAX (KEY_MAX + 16)

/* A key does not begin with a dot, so no share is taken for another's secret. */
static const char *secret_name(const char *key, char name[SECRET_NAME_MAX])
{
	(void)snprintf(name, SECRET_NAME_MAX, ".%s.secret", key);
	return name;
}

/* systemd.unit(5), string escaping for paths. */
char *share_key(struct call *call, const char *target)
{
	static const char plain[] =
		"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz:_.";
	char *key = arena_alloc(call->arena, strlen(target) * 4 + 1), *to = key;

	if (!key)
		return NULL;
	for (const char *at = target + strspn(target, "/"); *at;) {
		if (*at == '/') {
			at += strspn(at, "/");
			if (*at)
				*to++ = '-';
			continue;
		}
		if (strchr(plain, *at) && !(*at == '.' && to == key))
			*to++ = *at;
		else
			to += sprintf(to, "\\x%02x", (unsigned char)*at);
		at++;
	}
	*to = '\0';
	if (key[0] != '\0' && strlen(key) <= KEY_MAX)
		return key;
	(void)call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, ENAMETOOLONG,
		"target: too long for a share");
	return NULL;
}

/* The folder that has the folder of records. A look does not wait for a disk that is frozen,
 * mkdir() of a folder that is there does. */
static int open_base(struct call *call, bool persistent, bool create)
{
	const struct worker_facts *facts = worker_facts(call);
	const char *base = persistent ? facts->state_dir : facts->run_dir;
	int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT && create && persistent && mkdir(base, 0700) == 0)
		fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* The folder of records, made when it is missing. */
static int open_dir(struct call *call, bool persistent, bool create)
{
	AUTO_CLOSE int above = open_base(call, persistent, create);
	int fd;

	if (above < 0)
		return above;
	fd = openat(above, "shares", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 || errno != ENOENT || !create)
		return fd < 0 ? -errno : fd;
	if (mkdirat(above, "shares", persistent ? 0700 : 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(above, "shares", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

int share_record_check(struct call *call)
{
	AUTO_CLOSE int base = open_base(call, true, true);
	struct stat st;

	if (base < 0 || fstat(base, &st) < 0)
		return call_fail_errno(
			call, base < 0 ? base : -errno, "%s", worker_facts(call)->state_dir);
	if (!worker_is_quarantined(call, st.st_dev, TOUCH_WRITE))
		return 0;
	return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, 0,
		"the disk of %s does not take writes, and somebody waits for it already; without "
		"it no share is persistent",
		worker_facts(call)->state_dir);
}

static int read_file(struct call *call, int dir, const char *name, uint8_t **ret, size_t *ret_len)
{
	AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return -errno;
	*ret = arena_alloc(call->arena, RECORD_MAX);
	if (!*ret)
		return -ENOMEM;
	n = read(fd, *ret, RECORD_MAX);
	if (n < 0)
		return -errno;
	*ret_len = (size_t)n;
	return 0;
}

/* From here on it is known which disk this process may hang on. */
static void touch(struct call *call, int dir)
{
	struct stat st;

	if (fstat(dir, &st) == 0)
		worker_touch(call, st.st_dev, TOUCH_WRITE);
}

/* Removes record and secret, where there are any: nothing is touched for nothing. */
static int remove_from(struct call *call, const char *key, bool persistent)
{
	AUTO_CLOSE int dir = open_dir(call, persistent, false);
	char secret[SECRET_NAME_MAX];
	const char *names[] = {key, secret_name(key, secret)};
	int r = 0;

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (faccessat(dir, names[i], F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		touch(call, dir);
		if (unlinkat(dir, names[i], 0) < 0 && errno != ENOENT)
			r = -errno;
		worker_touch_done(call);
	}
	return r;
}

static int write_to(
	struct call *call, const char *key, const Postern__V1__Share *share, bool persistent)
{
	size_t len = 0;
	uint8_t *packed = encode_in_arena(call->arena, &share->base, &len);
	AUTO_CLOSE int dir = open_dir(call, persistent, true);
	int r;

	if (dir < 0)
		return dir;
	if (!packed)
		return -ENOMEM;
	touch(call, dir);
	r = replace_file(dir, key, persistent ? 0600 : 0644, packed, len);
	worker_touch_done(call);
	return r;
}

int share_record_write(struct call *call, const char *key, const Postern__V1__Share *share)
{
	int r = share->persistent ? write_to(call, key, share, true) : remove_from(call, key, true);

	return r < 0 ? r : write_to(call, key, share, false);
}

int share_record_note(struct call *call, const char *key, const Postern__V1__Share *share)
{
	return write_to(call, key, share, false);
}

static int read_from(struct call *call, int dir, const char *key, Postern__V1__Share **ret)
{
	uint8_t *bytes = NULL;
	const char *why;
	size_t len = 0;
	int r = read_file(call, dir, key, &bytes, &len);

	if (r < 0)
		return r;
	*ret = (Postern__V1__Share *)verify_unpack(&postern__v1__share__descriptor, bytes, len,
		&verify_agent_limits, call->arena, &why);
	return *ret ? 0 : -EBADMSG;
}

int share_record_from(struct call *call, const char *key, bool persistent, Postern__V1__Share **ret)
{
	AUTO_CLOSE int dir = open_dir(call, persistent, false);

	return dir < 0 ? dir : read_from(call, dir, key, ret);
}

int share_record_read(struct call *call, const char *key, Postern__V1__Share **ret)
{
	int r = -ENOENT;

	*ret = NULL;
	for (int persistent = 0; persistent <= 1 && r == -ENOENT; persistent++)
		r = share_record_from(call, key, persistent, ret);
	return r == -ENOENT ? 0 : r;
}

int share_record_remove(struct call *call, const char *key)
{
	int r = remove_from(call, key, true);

	return r < 0 ? r : remove_from(call, key, false);
}

static int is_record(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int share_record_keys(struct call *call, bool persistent, char ***ret_keys, size_t *ret_n)
{
	AUTO_CLOSE int dir = open_dir(call, persistent, false);
	struct dirent **entries = NULL;
	int n = dir < 0 ? dir : scandirat(dir, ".", &entries, is_record, alphasort);

	*ret_n = 0;
	if (n < 0)
		return dir < 0 ? (dir == -ENOENT ? 0 : dir) : -errno;
	*ret_keys = arena_alloc(call->arena, (size_t)n * sizeof(char *) + 1);
	for (int i = 0; i < n; i++) {
		if (*ret_keys)
			(*ret_keys)[(*ret_n)++] = arena_strdup(call->arena, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return *ret_keys ? 0 : -ENOMEM;
}

int share_secret_write(struct call *call, const char *key, const char *secret)
{
	AUTO_CLOSE int dir = open_dir(call, true, true);
	char name[SECRET_NAME_MAX];
	int r;

	if (dir < 0)
		return dir;
	(void)secret_name(key, name);
	touch(call, dir);
	if (secret)
		r = replace_file(dir, name, 0600, secret, strlen(secret));
	else
		r = unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
	worker_touch_done(call);
	return r;
}

int share_secret_read(struct call *call, const char *key, ProtobufCBinaryData *ret)
{
	AUTO_CLOSE int dir = open_dir(call, true, false);
	char name[SECRET_NAME_MAX];

	*ret = (ProtobufCBinaryData){0};
	if (dir < 0)
		return dir;
	return read_file(call, dir, secret_name(key, name), &ret->data, &ret->len);
}
