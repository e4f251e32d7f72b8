/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * authorized_keys(5) of a user, read and written with nothing but his own rights: whatever he has
 * made of his folders, no more happens there than he can do himself.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/account.h"
#include "agent/methods/place.h"
#include "agent/methods/prototypes.h"
#include "agent/methods/replace_alike.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define USER_MAX 256
#define FILE_MAX (1u << 20)
#define KEYS_MAX 1024
#define KEY_MAX  16384
#define FOLDER   ".ssh"
#define NAME     "authorized_keys"

struct keys {
	int dir;                            /* owned; the folder, -EBADF: there is none */
	int home;                           /* owned */
	const char *path;                   /* of the file, for people */
	ProtobufCBinaryData keys[KEYS_MAX]; /* lines, as in the file or the request */
	size_t n;
	char *text; /* of the file; NULL: there is none */
};

static void keys_close(struct keys *keys)
{
	keys->dir = fd_close(keys->dir);
	keys->home = fd_close(keys->home);
}
#define AUTO_KEYS AUTO(keys_close)

/* For good where something is changed; else the process serves others after it, see be_root(). */
static int become(struct call *call, const struct account *account)
{
	bool for_good = method_rows[call->method].flags & MUTATING;
	uid_t uid = for_good ? account->uid : (uid_t)-1;
	gid_t gid = for_good ? account->gid : (gid_t)-1;

	if (setgroups(account->groups_n, account->groups) < 0 ||
		setresgid(gid, account->gid, gid) < 0 || setresuid(uid, account->uid, uid) < 0)
		return call_fail_errno(call, -errno, "the rights of %s", account->name);
	return 0;
}

/* Nobody is served with another's rights. */
static void be_root(void)
{
	if (setresuid((uid_t)-1, 0, (uid_t)-1) < 0 || setresgid((gid_t)-1, 0, (gid_t)-1) < 0 ||
		setgroups(0, NULL) < 0)
		_exit(1);
}

static int find_account(
	struct call *call, bool has, const ProtobufCBinaryData *user, struct account *account)
{
	const char *name = call_string(call, has, user, USER_MAX, "user");
	int r = name ? account_find(call->arena, name, account) : -EINVAL;

	if (!name)
		return r;
	if (r == -ENOENT || (r == 0 && strcmp(account->name, name) != 0))
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, 0,
			"user: the guest has no user %s", name);
	return r < 0 ? call_fail_errno(call, r, "user %s", name) : 0;
}

/* What the user's own folder is not: a link, a file, somebody else's. */
static int open_folder(struct call *call, struct keys *keys, const struct account *account)
{
	struct stat st;

	keys->dir = openat(keys->home, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (keys->dir < 0 && errno == ENOENT)
		return 0;
	if (keys->dir < 0 && (errno == ELOOP || errno == ENOTDIR))
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, errno,
			"%s/" FOLDER " is no folder of its own; a link is not followed",
			account->home);
	if (keys->dir < 0 || fstat(keys->dir, &st) < 0)
		return call_fail_errno(call, -errno, "%s/" FOLDER, account->home);
	if (st.st_uid != account->uid)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, EPERM,
			"%s/" FOLDER " is not %s's", account->home, account->name);
	return 0;
}

static int read_keys(struct call *call, struct keys *keys)
{
	int r = keys->dir < 0 ? 0 : alike_read(call, keys->dir, NAME, FILE_MAX, &keys->text);

	if (r == -ELOOP || r == -EINVAL)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, -r,
			"%s is no plain file; a link is not followed", keys->path);
	if (r < 0)
		return call_fail_errno(call, r, "%s", keys->path);
	for (char *line = keys->text; line && *line;) {
		size_t len = strcspn(line, "\n"), blank = strspn(line, " \t");

		if (blank < len && line[blank] != '#') {
			if (keys->n == KEYS_MAX)
				return call_fail(call, POSTERN__V1__CODE__RESOURCE_EXHAUSTED, E2BIG,
					"%s has more than %d keys", keys->path, KEYS_MAX);
			keys->keys[keys->n++] =
				(ProtobufCBinaryData){.len = len, .data = (uint8_t *)line};
		}
		line += len + (line[len] == '\n');
	}
	return 0;
}

/* The user's rights, his folder, and what is in it. */
static int keys_open(
	struct call *call, bool has, const ProtobufCBinaryData *user, struct keys *keys)
{
	struct account account;
	int r = find_account(call, has, user, &account);

	if (r == 0)
		r = place_check(call, account.home, TOUCH_WRITE);
	if (r == 0)
		r = become(call, &account);
	if (r < 0)
		return r;
	keys->path = arena_printf(call->arena, "%s/" FOLDER "/" NAME, account.home);
	if (!keys->path)
		return -ENOMEM;
	keys->home = open(account.home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (keys->home < 0)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, errno,
			"%s has no home: %s: %s", account.name, account.home, strerror(errno));
	r = open_folder(call, keys, &account);
	return r < 0 ? r : read_keys(call, keys);
}

static bool has_key(const struct keys *keys, const ProtobufCBinaryData *key)
{
	for (size_t i = 0; i < keys->n; i++)
		if (keys->keys[i].len == key->len &&
			memcmp(keys->keys[i].data, key->data, key->len) == 0)
			return true;
	return false;
}

static int check_key(struct call *call, const ProtobufCBinaryData *key)
{
	const char *text = call_string(call, true, key, KEY_MAX, "keys");

	if (!text)
		return -EINVAL;
	if (strpbrk(text, "\n\r") || text[0] == '#' || strspn(text, " \t") > 0)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"keys: \"%.40s\": expected a line of authorized_keys(5)", text);
	return 0;
}

/* The folder, should it be missing, and the file. */
static int keys_write(struct call *call, struct keys *keys, const struct buffer *text)
{
	int r;

	worker_changing(call);
	if (keys->dir < 0) {
		if (mkdirat(keys->home, FOLDER, 0700) < 0)
			return call_fail_errno(call, -errno, "the folder of %s", keys->path);
		keys->dir =
			openat(keys->home, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	}
	r = keys->dir < 0
		    ? -errno
		    : alike_replace(keys->dir, NAME, 0600, buffer_front(text), buffer_len(text));
	worker_touch_done(call);
	return r < 0 ? call_fail_errno(call, r, "%s", keys->path) : 0;
}

static int put(struct buffer *text, const void *data, size_t len)
{
	uint8_t *at = buffer_reserve(text, len + 1);

	if (!at)
		return -ENOMEM;
	memcpy(at, data, len);
	at[len] = '\n';
	buffer_commit(text, len + 1);
	return 0;
}

int users_get_keys(struct call *call, const Postern__V1__UsersGetKeysRequest *request,
	Postern__V1__UsersGetKeysReply *reply)
{
	AUTO_KEYS struct keys keys = {.dir = -EBADF, .home = -EBADF};
	int r = keys_open(call, request->has_user, &request->user, &keys);

	worker_touch_done(call);
	be_root();
	if (r < 0)
		return r;
	reply->keys = arena_copy(call->arena, keys.keys, keys.n * sizeof(keys.keys[0]));
	reply->n_keys = keys.n;
	return reply->keys ? 0 : -ENOMEM;
}

int users_add_keys(struct call *call, const Postern__V1__UsersAddKeysRequest *request,
	Postern__V1__UsersAddKeysReply *reply)
{
	AUTO_KEYS struct keys keys = {.dir = -EBADF, .home = -EBADF};
	struct buffer text = {0};
	size_t len;
	int r = keys_open(call, request->has_user, &request->user, &keys);

	len = r == 0 && keys.text ? strlen(keys.text) : 0;
	/* A last line that does not end gets its end. */
	if (len > 0)
		r = put(&text, keys.text, keys.text[len - 1] == '\n' ? len - 1 : len);
	for (size_t i = 0; r == 0 && i < request->n_keys; i++) {
		r = check_key(call, &request->keys[i]);
		if (r < 0 || has_key(&keys, &request->keys[i]))
			continue;
		if (keys.n == KEYS_MAX)
			r = call_fail(call, POSTERN__V1__CODE__RESOURCE_EXHAUSTED, E2BIG,
				"%s would have more than %d keys", keys.path, KEYS_MAX);
		else
			r = put(&text, request->keys[i].data, request->keys[i].len);
		if (r == 0) {
			keys.keys[keys.n++] = request->keys[i];
			reply->added++;
		}
	}
	if (r == 0 && reply->added > 0)
		r = keys_write(call, &keys, &text);
	buffer_clear(&text);
	reply->has_added = reply->has_keys = true;
	reply->keys = (uint32_t)keys.n;
	return r;
}

static bool is_listed(const ProtobufCBinaryData *keys, size_t n, const char *line, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (keys[i].len == len && memcmp(keys[i].data, line, len) == 0)
			return true;
	return false;
}

int users_remove_keys(struct call *call, const Postern__V1__UsersRemoveKeysRequest *request,
	Postern__V1__UsersRemoveKeysReply *reply)
{
	AUTO_KEYS struct keys keys = {.dir = -EBADF, .home = -EBADF};
	struct buffer text = {0};
	int r = keys_open(call, request->has_user, &request->user, &keys);

	/* All other lines stay, comments and empty ones too. */
	for (const char *line = r == 0 ? keys.text : NULL; line && *line && r == 0;) {
		size_t len = strcspn(line, "\n");

		if (is_listed(request->keys, request->n_keys, line, len))
			reply->removed++;
		else
			r = put(&text, line, len);
		line += len + (line[len] == '\n');
	}
	if (r == 0 && reply->removed > 0)
		r = keys_write(call, &keys, &text);
	buffer_clear(&text);
	reply->has_removed = reply->has_keys = true;
	reply->keys = (uint32_t)keys.n - reply->removed;
	return r;
}

int users_replace_keys(struct call *call, const Postern__V1__UsersReplaceKeysRequest *request,
	Postern__V1__UsersReplaceKeysReply *reply)
{
	AUTO_KEYS struct keys keys = {.dir = -EBADF, .home = -EBADF};
	struct buffer text = {0};
	int r = 0;

	if (request->n_keys > KEYS_MAX)
		return call_fail(
			call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "keys: at most %d", KEYS_MAX);
	for (size_t i = 0; r == 0 && i < request->n_keys; i++) {
		r = check_key(call, &request->keys[i]);
		if (r == 0)
			r = put(&text, request->keys[i].data, request->keys[i].len);
	}
	if (r == 0)
		r = keys_open(call, request->has_user, &request->user, &keys);
	if (r == 0)
		r = keys_write(call, &keys, &text);
	buffer_clear(&text);
	reply->has_keys = true;
	reply->keys = (uint32_t)request->n_keys;
	return r;
}
