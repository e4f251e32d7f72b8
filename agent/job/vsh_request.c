/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "agent/job/vsh.h"

static bool is_text(const ProtobufCBinaryData *bytes, const char *text)
{
	return bytes->len == strlen(text) && memcmp(bytes->data, text, bytes->len) == 0;
}

static bool is_machine(const ProtobufCBinaryData *target)
{
	return target->len == 0 || is_text(target, "vm_shell") || is_text(target, "/vm_shell");
}

static bool same(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* What a map's entry is worth: of those with one key the last one counts, and two are the user's
 * own. */
static bool counts(const Postern__Vsh__SetupConnectionRequest *asked, size_t i)
{
	const ProtobufCBinaryData *key = &asked->env[i]->key;

	if (is_text(key, "SHELL") || is_text(key, "HOME"))
		return false;
	for (size_t other = i + 1; other < asked->n_env; other++)
		if (same(key, &asked->env[other]->key))
			return false;
	return true;
}

/* "NAME=VALUE" */
static int add_variable(struct call *call, const Postern__Vsh__EnvEntry *entry,
	Postern__V1__ExecStartRequest *request)
{
	ProtobufCBinaryData *word = &request->env[request->n_env++];

	if (entry->key.len == 0 || memchr(entry->key.data, '=', entry->key.len))
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"env: a name is empty, or holds an equals sign");
	word->len = entry->key.len + 1 + entry->value.len;
	word->data = arena_alloc(call->arena, word->len);
	if (!word->data)
		return call_fail_errno(call, -ENOMEM, "env");
	memcpy(word->data, entry->key.data, entry->key.len);
	word->data[entry->key.len] = '=';
	if (entry->value.len > 0)
		memcpy(word->data + entry->key.len + 1, entry->value.data, entry->value.len);
	return 0;
}

static int add_env(struct call *call, const Postern__Vsh__SetupConnectionRequest *asked,
	Postern__V1__ExecStartRequest *request)
{
	bool has_term = false;
	int r = 0;

	request->env = arena_alloc(call->arena, (asked->n_env + 1) * sizeof(*request->env));
	if (!request->env)
		return call_fail_errno(call, -ENOMEM, "env");
	for (size_t i = 0; r == 0 && i < asked->n_env; i++) {
		has_term |= is_text(&asked->env[i]->key, "TERM");
		if (counts(asked, i))
			r = add_variable(call, asked->env[i], request);
	}
	/* Without a terminal, too. */
	if (!has_term)
		request->env[request->n_env++] = call_text(call, "TERM=linux");
	return r;
}

static int add_cwd(struct call *call, const Postern__Vsh__SetupConnectionRequest *asked,
	Postern__V1__ExecStartRequest *request)
{
	request->has_cwd = asked->cwd_pid > 0 || asked->cwd.len > 0;
	request->cwd = asked->cwd;
	if (asked->cwd_pid <= 0)
		return 0;
	/* Entered with the user's own rights, which this takes over that process. */
	request->cwd =
		call_text(call, arena_printf(call->arena, "/proc/%d/cwd", (int)asked->cwd_pid));
	return request->cwd.len > 0 ? 0 : call_fail_errno(call, -ENOMEM, "cwd_pid");
}

static int add_terminal(struct call *call, const Postern__Vsh__SetupConnectionRequest *asked,
	Postern__V1__ExecStartRequest *request)
{
	Postern__V1__Terminal *terminal = arena_alloc(call->arena, sizeof(*terminal));

	if (asked->nopty)
		return 0;
	if (!terminal)
		return call_fail_errno(call, -ENOMEM, "terminal");
	postern__v1__terminal__init(terminal);
	if (vsh_is_size(asked->window_rows, asked->window_cols)) {
		terminal->rows = (uint32_t)asked->window_rows;
		terminal->columns = (uint32_t)asked->window_cols;
	}
	request->terminal = terminal;
	return 0;
}

Postern__V1__ExecStartRequest *vsh_request(
	struct call *call, const Postern__Vsh__SetupConnectionRequest *asked)
{
	Postern__V1__ExecStartRequest *request = arena_alloc(call->arena, sizeof(*request));

	if (!request) {
		(void)call_fail_errno(call, -ENOMEM, "request");
		return NULL;
	}
	postern__v1__exec_start_request__init(request);
	if (!is_machine(&asked->target)) {
		(void)call_fail(call, POSTERN__V1__CODE__NOT_FOUND, 0,
			"target: containers are not served; vm_shell is the machine itself");
		return NULL;
	}
	if (asked->n_argv == 0 && asked->command.len > 0) {
		(void)call_fail(call, POSTERN__V1__CODE__UNIMPLEMENTED, 0,
			"command: not served; argv takes its place");
		return NULL;
	}
	request->n_argv = asked->n_argv;
	request->argv = asked->argv;
	request->has_user = asked->user.len > 0;
	request->user = asked->user;
	request->input = request->output = request->errors = POSTERN__V1__STDIO__CHANNEL;
	request->on_disconnect = POSTERN__V1__DISCONNECT__HANG_UP;
	if (add_env(call, asked, request) < 0 || add_cwd(call, asked, request) < 0 ||
		add_terminal(call, asked, request) < 0)
		return NULL;
	return request;
}
