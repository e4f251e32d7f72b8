/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/share.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/verify.h"

#define KEY_MAX    200
#define RECORD_MAX 65536

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

/* The folder of records, made when it is missing. */
static int open_dir(struct call *call, bool persistent, bool create)
{
	const struct worker_facts *facts = worker_facts(call);
	const char *base = persistent ? facts->state_dir : facts->run_dir;
	AUTO_CLOSE int above = -EBADF;
	int fd;

	if (create && persistent && mkdir(base, 0700) < 0 && errno != EEXIST)
		return -errno;
	above = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (above < 0)
		return -errno;
	if (create && mkdirat(above, "shares", persistent ? 0700 : 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(above, "shares", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* Old or new, never half. */
static int write_file(int dir, const char *name, mode_t mode, const void *data, size_t len)
{
	char fresh[KEY_MAX + 16];
	AUTO_CLOSE int fd = -EBADF;
	int r = 0;

	(void)snprintf(fresh, sizeof(fresh), ".%s.new", name);
	(void)unlinkat(dir, fresh, 0);
	fd = openat(dir, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	if (write(fd, data, len) != (ssize_t)len || fsync(fd) < 0 ||
		renameat(dir, fresh, dir, name) < 0)
		r = errno ? -errno : -EIO;
	if (r < 0)
		(void)unlinkat(dir, fresh, 0);
	return r;
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

int share_record_write(struct call *call, const char *key, const Postern__V1__Share *share)
{
	size_t len = protobuf_c_message_get_packed_size(&share->base);
	uint8_t *packed = arena_alloc(call->arena, len + 1);
	int r = 0;

	if (!packed)
		return -ENOMEM;
	protobuf_c_message_pack(&share->base, packed);
	for (int persistent = 0; persistent <= share->persistent && r == 0; persistent++) {
		AUTO_CLOSE int dir = open_dir(call, persistent, true);

		r = dir < 0 ? dir : write_file(dir, key, persistent ? 0600 : 0644, packed, len);
	}
	return r;
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

int share_record_read(struct call *call, const char *key, Postern__V1__Share **ret)
{
	int r = -ENOENT;

	*ret = NULL;
	for (int persistent = 0; persistent <= 1 && r == -ENOENT; persistent++) {
		AUTO_CLOSE int dir = open_dir(call, persistent, false);

		r = dir < 0 ? dir : read_from(call, dir, key, ret);
	}
	return r == -ENOENT ? 0 : r;
}

int share_record_remove(struct call *call, const char *key)
{
	char secret[KEY_MAX + 16];
	int r = 0;

	(void)snprintf(secret, sizeof(secret), "%s.secret", key);
	for (int persistent = 0; persistent <= 1; persistent++) {
		AUTO_CLOSE int dir = open_dir(call, persistent, false);

		if (dir < 0)
			continue;
		if (unlinkat(dir, key, 0) < 0 && errno != ENOENT)
			r = -errno;
		if (unlinkat(dir, secret, 0) < 0 && errno != ENOENT)
			r = -errno;
	}
	return r;
}

int share_record_each(struct call *call, bool persistent,
	int (*fn)(struct call *call, const char *key, Postern__V1__Share *share, void *ctx),
	void *ctx)
{
	int fd = open_dir(call, persistent, false), r = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		(void)fd_close(fd);
		return fd == -ENOENT ? 0 : fd;
	}
	for (struct dirent *entry; r == 0 && (entry = readdir(dir));) {
		const char *suffix = strrchr(entry->d_name, '.');
		Postern__V1__Share *share;

		if (entry->d_name[0] == '.' || (suffix && strcmp(suffix, ".secret") == 0))
			continue;
		/* A record that cannot be read is no reason to show none. */
		if (read_from(call, dirfd(dir), entry->d_name, &share) == 0)
			r = fn(call, arena_strdup(call->arena, entry->d_name), share, ctx);
	}
	(void)closedir(dir);
	return r;
}

int share_secret_write(struct call *call, const char *key, const ProtobufCBinaryData *secret)
{
	AUTO_CLOSE int dir = open_dir(call, true, true);
	char name[KEY_MAX + 16];

	if (dir < 0)
		return dir;
	(void)snprintf(name, sizeof(name), "%s.secret", key);
	return write_file(dir, name, 0600, secret->data, secret->len);
}

int share_secret_read(struct call *call, const char *key, ProtobufCBinaryData *ret)
{
	AUTO_CLOSE int dir = open_dir(call, true, false);
	char name[KEY_MAX + 16];

	*ret = (ProtobufCBinaryData){0};
	if (dir < 0)
		return dir;
	(void)snprintf(name, sizeof(name), "%s.secret", key);
	return read_file(call, dir, name, &ret->data, &ret->len);
}
