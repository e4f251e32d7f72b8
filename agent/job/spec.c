/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/job/spec.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#define WORDS_MAX       4096
#define DEADLINE_MAX_MS UINT64_C(315360000000)
#define NAME_MAX_       256

#define PATH_ROOT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PATH_USER "/usr/local/bin:/usr/bin:/bin"

static int fail(struct call *call, const char *what)
{
	return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "%s", what);
}

/* Words that came as bytes, as an array that ends with NULL; room for `more` besides. */
static char **take_words(struct call *call, const ProtobufCBinaryData *words, size_t n, size_t more,
	const char *field)
{
	char **out = arena_alloc(call->arena, (n + more + 1) * sizeof(*out));

	if (!out || n > WORDS_MAX) {
		(void)fail(call, "argv and env have at most 4096 words each");
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		if (memchr(words[i].data ? (const char *)words[i].data : "", '\0', words[i].len)) {
			(void)call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
				"%s: holds a NUL byte", field);
			return NULL;
		}
		out[i] = arena_copy(call->arena, words[i].data, words[i].len);
		if (!out[i])
			return NULL;
	}
	return out;
}

/* The value of a variable, or NULL. */
static const char *env_get(char *const *env, const char *name)
{
	size_t len = strlen(name);

	for (; *env; env++)
		if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
			return *env + len + 1;
	return NULL;
}

static int env_default(struct call *call, char **env, const char *name, const char *value)
{
	size_t n = 0;

	if (env_get(env, name))
		return 0;
	while (env[n])
		n++;
	env[n] = arena_printf(call->arena, "%s=%s", name, value);
	return env[n] ? 0 : -ENOMEM;
}

static int make_env(
	struct call *call, const Postern__V1__ExecStartRequest *request, struct spec *spec)
{
	const struct account *account = &spec->account;
	char **env = take_words(call, request->env, request->n_env, 6, "env");
	const char *term = "linux";
	int r;

	if (!env)
		return -EINVAL;
	for (size_t i = 0; i < request->n_env; i++)
		if (env[i][0] == '=' || !strchr(env[i], '='))
			return fail(call, "env: expected NAME=VALUE");
	r = env_default(call, env, "PATH", account->uid == 0 ? PATH_ROOT : PATH_USER) ?:
	    env_default(call, env, "HOME", account->home) ?:
	    env_default(call, env, "USER", account->name) ?:
	    env_default(call, env, "LOGNAME", account->name) ?:
	    env_default(call, env, "SHELL", account->shell);
	if (r == 0 && request->terminal) {
		if (request->terminal->has_term)
			term = call_string(
				call, true, &request->terminal->term, NAME_MAX_, "terminal.term");
		r = term ? env_default(call, env, "TERM", term) : -EINVAL;
	}
	spec->program.envp = env;
	return r;
}

/* The files that a name may stand for. */
static int make_paths(struct call *call, struct spec *spec, const char *name)
{
	const char *path = env_get(spec->program.envp, "PATH");
	const char **paths;
	size_t n = 1, i = 0;

	if (name[0] == '\0')
		return fail(call, "argv: the program's name is empty");
	if (strchr(name, '/'))
		path = "";
	for (const char *at = path; *at; at++)
		n += *at == ':';
	paths = arena_alloc(call->arena, (n + 1) * sizeof(*paths));
	if (!paths)
		return -ENOMEM;
	if (strchr(name, '/'))
		paths[i++] = name;
	while (*path) {
		size_t len = strcspn(path, ":");

		/* An empty part would be the current folder: nobody means that. */
		if (len > 0)
			paths[i++] = arena_printf(call->arena, "%.*s/%s", (int)len, path, name);
		if (len > 0 && !paths[i - 1])
			return -ENOMEM;
		path += len + (path[len] == ':');
	}
	spec->program.paths = paths;
	return 0;
}

/* The program, or the user's own shell as a login shell, which is told by a leading dash. */
static int make_argv(
	struct call *call, const Postern__V1__ExecStartRequest *request, struct spec *spec)
{
	char **argv = take_words(call, request->argv, request->n_argv, 1, "argv");
	const char *shell = spec->account.shell, *slash = strrchr(shell, '/');

	if (!argv)
		return -EINVAL;
	spec->program.argv = argv;
	if (request->n_argv > 0)
		return make_paths(call, spec, argv[0]);
	argv[0] = arena_printf(call->arena, "-%s", slash ? slash + 1 : shell);
	return argv[0] ? make_paths(call, spec, shell) : -ENOMEM;
}

static int find_user(
	struct call *call, const Postern__V1__ExecStartRequest *request, struct account *account)
{
	const char *name;
	int r;

	if (!request->has_user)
		return account_root(call->arena, account);
	name = call_string(call, true, &request->user, NAME_MAX_, "user");
	if (!name)
		return -EINVAL;
	r = account_find(call->arena, name, account);
	if (r == -ENOENT)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, 0,
			"user: the guest has no user %s", name);
	return r < 0 ? call_fail_errno(call, r, "user %s", name) : 0;
}

static int find_group(struct call *call, const ProtobufCBinaryData *name, gid_t *ret)
{
	const char *text = call_string(call, true, name, NAME_MAX_, "group");
	int r;

	if (!text)
		return -EINVAL;
	r = account_group(text, ret);
	if (r == -ENOENT)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, 0,
			"group: the guest has no group %s", text);
	return r < 0 ? call_fail_errno(call, r, "group %s", text) : 0;
}

static int make_account(
	struct call *call, const Postern__V1__ExecStartRequest *request, struct spec *spec)
{
	struct account *account = &spec->account;
	int r = find_user(call, request, account);

	if (r == 0 && request->has_group)
		r = find_group(call, &request->group, &account->gid);
	if (request->n_groups > ACCOUNT_GROUPS_MAX)
		return fail(call, "groups: more than 256");
	for (size_t i = 0; r == 0 && i < request->n_groups; i++)
		r = find_group(call, &request->groups[i], &account->groups[i]);
	if (request->n_groups > 0)
		account->groups_n = request->n_groups;
	spec->program.account = account;
	return r;
}

static int make_limits(
	struct call *call, const Postern__V1__ExecStartRequest *request, struct spec *spec)
{
	struct program *program = &spec->program;

	if (request->n_limits > PROGRAM_LIMITS_MAX)
		return fail(call, "limits: more than 16");
	for (size_t i = 0; i < request->n_limits; i++) {
		const Postern__V1__ResourceLimit *limit = request->limits[i];
		int resource = limit->name ? program_limit(limit->name) : -1;
		rlim_t soft = limit->has_soft ? limit->soft : RLIM_INFINITY;

		if (resource < 0)
			return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
				"limits: no such limit: %s", limit->name ? limit->name : "");
		program->limits[i].resource = resource;
		program->limits[i].limit.rlim_cur = soft;
		program->limits[i].limit.rlim_max = limit->has_hard ? limit->hard : soft;
		program->limits_n++;
	}
	return 0;
}

static int make_stdio(
	struct call *call, const Postern__V1__ExecStartRequest *request, struct spec *spec)
{
	const Postern__V1__Terminal *terminal = request->terminal;

	spec->program.terminal = terminal != NULL;
	spec->stdio[0] = request->input;
	spec->stdio[1] = request->output;
	spec->stdio[2] = request->errors;
	if (terminal && (terminal->rows > UINT16_MAX || terminal->columns > UINT16_MAX))
		return fail(call, "terminal: rows and columns are at most 65535");
	for (int i = 0; i < 3; i++) {
		Postern__V1__Stdio *stdio = &spec->stdio[i];

		if (*stdio == POSTERN__V1__STDIO__STDIO_UNSPECIFIED)
			*stdio = terminal ? POSTERN__V1__STDIO__CHANNEL
					  : POSTERN__V1__STDIO__NOWHERE;
	}
	if (spec->stdio[0] == POSTERN__V1__STDIO__SPOOL)
		return fail(call, "input: the spool is for output");
	if (terminal && spec->stdio[1] == POSTERN__V1__STDIO__NOWHERE)
		return fail(call, "output: a terminal leads to a channel or into the spool");
	return 0;
}

static int make_end(
	struct call *call, const Postern__V1__ExecStartRequest *request, struct spec *spec)
{
	bool spools = spec->stdio[1] == POSTERN__V1__STDIO__SPOOL ||
		      spec->stdio[2] == POSTERN__V1__STDIO__SPOOL;

	if (request->deadline_ms > DEADLINE_MAX_MS)
		return fail(call, "deadline_ms: at most ten years; 0: as long as it likes");
	spec->deadline_ms = request->deadline_ms;
	spec->on_disconnect = request->on_disconnect;
	if (spec->on_disconnect == POSTERN__V1__DISCONNECT__DISCONNECT_UNSPECIFIED)
		spec->on_disconnect = request->terminal ? POSTERN__V1__DISCONNECT__HANG_UP
							: POSTERN__V1__DISCONNECT__KILL;
	if (spec->on_disconnect == POSTERN__V1__DISCONNECT__KILL)
		spec->program.parent_signal = SIGKILL;
	if (spec->on_disconnect == POSTERN__V1__DISCONNECT__HANG_UP)
		spec->program.parent_signal = SIGHUP;
	if (request->spool_bytes > SPEC_SPOOL_MAX)
		return fail(call, "spool_bytes: at most 1 MiB");
	if (spools && request->has_spool_bytes && request->spool_bytes == 0)
		return fail(call, "spool_bytes: an output leads to the spool, which has no room");
	if (request->has_spool_bytes)
		spec->spool_bytes = request->spool_bytes;
	else if (spools || spec->on_disconnect == POSTERN__V1__DISCONNECT__KEEP)
		spec->spool_bytes = SPEC_SPOOL_DEFAULT;
	return 0;
}

int spec_make(struct call *call, const Postern__V1__ExecStartRequest *request, struct spec *ret)
{
	int r;

	*ret = (struct spec){.program.cgroup = -EBADF};
	r = make_account(call, request, ret);
	if (r == 0)
		r = make_env(call, request, ret);
	if (r == 0)
		r = make_argv(call, request, ret);
	if (r == 0)
		r = make_limits(call, request, ret);
	if (r == 0)
		r = make_stdio(call, request, ret);
	if (r == 0)
		r = make_end(call, request, ret);
	if (r == 0 && request->has_cwd) {
		ret->program.cwd = call_string(call, true, &request->cwd, PATH_MAX - 1, "cwd");
		if (!ret->program.cwd)
			return -EINVAL;
		if (ret->program.cwd[0] != '/')
			return fail(call, "cwd: expected an absolute path");
	}
	return r;
}
