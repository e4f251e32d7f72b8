/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <shadow.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/methods/library.h"
#include "agent/methods/place.h"
#include "agent/methods/prototypes.h"
#include "agent/methods/replace_alike.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define SHADOW_MAX   (8u << 20)
#define USER_MAX     256
#define PASSWORD_MAX 511 /* CRYPT_MAX_PASSPHRASE_SIZE less its NUL (crypt(3)) */
#define HASH_MAX     383 /* CRYPT_OUTPUT_SIZE, the same */
#define SECONDS_DAY  86400

/* Not linked: only this needs it, and a guest without it can be given a hash. */
static int hash(struct call *call, const char *password, const char **ret)
{
	static char *(*gensalt)(
		const char *prefix, unsigned long count, const char *bytes, int n_bytes);
	static char *(*crypt)(const char *password, const char *setting);
	static const struct library_symbol symbols[] = {
		{"crypt_gensalt", &gensalt}, {"crypt", &crypt}};
	const char *setting;

	if (library_load("libcrypt.so.1", symbols, ARRAY_SIZE(symbols)) < 0 &&
		library_load("libcrypt.so.2", symbols, ARRAY_SIZE(symbols)) < 0)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, 0,
			"password: this guest has no libcrypt (libxcrypt) to hash it with; give a "
			"hash");
	setting = gensalt(NULL, 0, NULL, 0);
	*ret = setting ? crypt(password, setting) : NULL;
	/* What it failed for begins with '*'. */
	if (!*ret || (*ret)[0] == '*')
		return call_fail(call, POSTERN__V1__CODE__INTERNAL, 0,
			"password: libcrypt does not hash it");
	return 0;
}

static int choose_hash(
	struct call *call, const Postern__V1__UsersSetPasswordRequest *request, const char **ret)
{
	const char *password;

	if (request->has_password == request->has_hash)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"expected one of password and hash");
	if (request->has_password) {
		password = call_string(call, true, &request->password, PASSWORD_MAX, "password");
		return password ? hash(call, password, ret) : -EINVAL;
	}
	*ret = call_string(call, true, &request->hash, HASH_MAX, "hash");
	if (!*ret)
		return -EINVAL;
	for (const char *at = *ret; *at; at++)
		if (*at <= ' ' || *at > '~' || *at == ':')
			return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
				"hash: holds what no hash does (crypt(5))");
	return 0;
}

/* The user's line of shadow(5); NULL: there is none. */
static const char *find_line(const char *text, const char *user)
{
	size_t len = strlen(user);

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line != '\0')
		if (strncmp(line, user, len) == 0 && line[len] == ':')
			return line;
	return NULL;
}

/* All of the file with the user's hash, and the day on which it was set, in place of what there
 * was.
 */
static char *rewrite(struct call *call, const char *text, const char *line, const char *new_hash)
{
	const char *old = line + strcspn(line, ":") + 1, *day = old + strcspn(old, ":\n"),
		   *rest = day + (*day == ':');

	rest += strcspn(rest, ":\n");
	return arena_printf(call->arena, "%.*s%s:%lld%s", (int)(old - text), text, new_hash,
		(long long)time(NULL) / SECONDS_DAY, rest);
}

static int change(struct call *call, const char *user, const char *new_hash)
{
	AUTO_CLOSE int dir = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *text = NULL, *fresh;
	const char *line;
	int r = dir < 0 ? -errno : alike_read(call, dir, "shadow", SHADOW_MAX, &text);

	if (r < 0)
		return call_fail_errno(call, r, SHADOW);
	line = text ? find_line(text, user) : NULL;
	if (!line)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, 0,
			"user: %s is not in " SHADOW " of the guest", user);
	fresh = rewrite(call, text, line, new_hash);
	if (!fresh)
		return -ENOMEM;
	worker_changing(call);
	r = alike_replace(dir, "shadow", 0600, fresh, strlen(fresh));
	return r < 0 ? call_fail_errno(call, r, SHADOW) : 0;
}

int users_set_password(struct call *call, const Postern__V1__UsersSetPasswordRequest *request,
	Postern__V1__UsersSetPasswordReply *reply)
{
	char *user = call_string(call, request->has_user, &request->user, USER_MAX, "user");
	const char *new_hash = NULL;
	int r = user ? choose_hash(call, request, &new_hash) : -EINVAL;

	(void)reply;
	if (r == 0 && strpbrk(user, ":\n"))
		r = call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"user: no name has a colon or a line's end in it");
	if (r == 0)
		r = place_check(call, SHADOW, TOUCH_WRITE);
	if (r < 0)
		return r;
	/* passwd(1) and its like hold this lock, too; it gives up after 15 s. */
	if (lckpwdf() < 0)
		return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, errno,
			"somebody else changes users of the guest; try again");
	r = change(call, user, new_hash);
	(void)ulckpwdf();
	worker_touch_done(call);
	return r;
}
