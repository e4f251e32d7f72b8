/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <paths.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <utmpx.h>

#include "agent/methods/prototypes.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define LOGINS_MAX 1024
#define LOCK_TRIES 10
#define SESSIONS   "/run/systemd/sessions"

static Postern__V1__Login *add(struct call *call, Postern__V1__UsersListReply *reply)
{
	Postern__V1__Login *login = arena_alloc(call->arena, sizeof(*login));

	if (!login || reply->n_logins == LOGINS_MAX)
		return NULL;
	postern__v1__login__init(login);
	reply->logins[reply->n_logins++] = login;
	return login;
}

/* A field of utmp(5), which need not end in NUL. */
static void set_field(struct call *call, protobuf_c_boolean *has, ProtobufCBinaryData *field,
	const char *text, size_t size)
{
	*has = text[0] != '\0';
	if (*has)
		*field = call_bytes(call, text, strnlen(text, size));
}

static void take_entry(
	struct call *call, Postern__V1__UsersListReply *reply, const struct utmpx *entry)
{
	Postern__V1__Login *login = entry->ut_type == USER_PROCESS ? add(call, reply) : NULL;

	if (!login)
		return;
	set_field(call, &login->has_user, &login->user, entry->ut_user, sizeof(entry->ut_user));
	set_field(call, &login->has_terminal, &login->terminal, entry->ut_line,
		sizeof(entry->ut_line));
	set_field(call, &login->has_from, &login->from, entry->ut_host, sizeof(entry->ut_host));
	login->has_since_ns = login->has_pid = true;
	login->since_ns = (int64_t)entry->ut_tv.tv_sec * (int64_t)NSEC_PER_SEC +
			  (int64_t)entry->ut_tv.tv_usec * (int64_t)NSEC_PER_USEC;
	login->pid = entry->ut_pid;
}

/* Who writes an entry locks the file for that moment (login(3)); nobody is waited for longer. */
static void lock(int fd)
{
	struct flock all = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

	for (int i = 0; i < LOCK_TRIES && fcntl(fd, F_OFD_SETLK, &all) < 0; i++)
		(void)nanosleep(&(struct timespec){.tv_nsec = NSEC_PER_MSEC}, NULL);
}

/* Read here: getutxent(3) locks, and sets an alarm, for each entry. */
static void read_utmp(struct call *call, Postern__V1__UsersListReply *reply)
{
	AUTO_CLOSE int fd = open(_PATH_UTMP, O_RDONLY | O_CLOEXEC);
	struct utmpx entries[16];
	ssize_t n;

	if (fd < 0)
		return;
	lock(fd);
	while ((n = read(fd, entries, sizeof(entries))) > 0)
		for (size_t i = 0; i < (size_t)n / sizeof(*entries); i++)
			take_entry(call, reply, &entries[i]);
}

/* The value of a line KEY=value of a session's file. */
static const char *value_of(const char *line, const char *key)
{
	size_t len = strlen(key);

	return strncmp(line, key, len) == 0 && line[len] == '=' ? line + len + 1 : NULL;
}

static void take_line(struct call *call, Postern__V1__Login *login, char *line)
{
	const char *value;

	line[strcspn(line, "\n")] = '\0';
	if ((value = value_of(line, "USER")))
		set_field(call, &login->has_user, &login->user, value, strlen(value));
	else if ((value = value_of(line, "TTY")))
		set_field(call, &login->has_terminal, &login->terminal, value, strlen(value));
	else if ((value = value_of(line, "REMOTE_HOST")))
		set_field(call, &login->has_from, &login->from, value, strlen(value));
	else if ((value = value_of(line, "REALTIME")))
		login->since_ns = strtoll(value, NULL, 10) * (int64_t)NSEC_PER_USEC;
	else if ((value = value_of(line, "LEADER")))
		login->pid = (int32_t)strtol(value, NULL, 10);
}

/* A session of logind that a person has, as its file says (sd-login(3) reads the same). */
static void read_session(
	struct call *call, Postern__V1__UsersListReply *reply, int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_FILE FILE *file = fd < 0 ? NULL : fdopen(fd, "re");
	Postern__V1__Login login = POSTERN__V1__LOGIN__INIT, *kept;
	bool person = false;
	char line[512];

	while (file && fgets(line, sizeof(line), file)) {
		person |= strcmp(line, "CLASS=user\n") == 0;
		take_line(call, &login, line);
	}
	kept = person && login.has_user ? add(call, reply) : NULL;
	if (!kept)
		return;
	login.has_since_ns = login.has_pid = true;
	*kept = login;
}

/* Distributions whose utmp would not outlive 2038 have none. */
static void read_sessions(struct call *call, Postern__V1__UsersListReply *reply)
{
	DIR *dir = opendir(SESSIONS);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_type == DT_REG && !strchr(entry->d_name, '.'))
			read_session(call, reply, dirfd(dir), entry->d_name);
	if (dir)
		(void)closedir(dir);
}

int users_list(struct call *call, const Postern__V1__UsersListRequest *request,
	Postern__V1__UsersListReply *reply)
{
	(void)request;
	reply->logins = arena_alloc(call->arena, LOGINS_MAX * sizeof(*reply->logins));
	if (!reply->logins)
		return -ENOMEM;
	read_utmp(call, reply);
	if (reply->n_logins == 0)
		read_sessions(call, reply);
	return 0;
}
