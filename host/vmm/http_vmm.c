/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vmm/http_vmm.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/vm_files.h"
#include "proto/cleanup.h"

static void next_step(struct vmm *vmm);

static void on_silence(void *ctx, bool silent)
{
	struct vmm *vmm = ctx;

	vmm->setup.on_event(vmm->setup.ctx, silent ? VMM_SILENT : VMM_ANSWERS, "");
}

int http_vmm_new(const struct vmm_setup *setup, const char *base, struct vmm **ret_vmm,
	struct postern_error *error)
{
	struct vmm *vmm = calloc(1, sizeof(*vmm));
	struct http_peer peer = {
		.title = vmm_kind_find(setup->config->driver)->title,
		.base = base,
		.on_silence = on_silence,
		.ctx = vmm,
	};
	char path[PATH_MAX];
	int r;

	if (!vmm)
		return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "%s", peer.title);
	vmm->setup = *setup;
	for (unsigned i = 0; i < VMM_SLOTS; i++) {
		vmm->slots[i].vmm = vmm;
		vmm->slots[i].index = i;
	}
	(void)snprintf(path, sizeof(path), "%.4000s/" VM_FILE_API, setup->dir);
	/* Of a VMM that was killed: nobody answers there. */
	(void)unlink(path);
	r = http_open(setup->loop, path, &peer, &vmm->http);
	if (r < 0) {
		free(vmm);
		return fail_errno(error, POSTERN_ANSWERED, -r, "%s", path);
	}
	*ret_vmm = vmm;
	return 0;
}

void http_vmm_free(struct vmm *vmm)
{
	char path[PATH_MAX];

	if (!vmm)
		return;
	(void)snprintf(path, sizeof(path), "%.4000s/" VM_FILE_API, vmm->setup.dir);
	(void)unlink(path);
	event_stream_close(&vmm->events);
	loop_timer_del(&vmm->stats_timer);
	for (unsigned i = 0; i < VMM_SLOTS; i++)
		loop_timer_del(&vmm->slots[i].timer);
	stats_forget(&vmm->stats);
	stats_forget(&vmm->memory);
	http_close(vmm->http);
	free(vmm);
}

/* ---- The guest's start ---- */

static void no_body(struct postern_error *error, const char *path)
{
	(void)fail(
		error, POSTERN_USAGE, EILSEQ, "%s: no memory, or a path that is not UTF-8", path);
}

static void on_step(void *ctx, const struct postern_error *error)
{
	struct vmm *vmm = ctx;

	if (error) {
		vmm->setup.on_event(vmm->setup.ctx, VMM_REFUSED, error->message);
		return;
	}
	vmm->steps++;
	next_step(vmm);
}

static void on_question(void *ctx, const struct postern_error *error, const json_t *body)
{
	(void)body;
	on_step(ctx, error);
}

static void next_step(struct vmm *vmm)
{
	struct http_request request = {.ctx = vmm};
	struct postern_error error = {0};
	const struct start_step *step;

	while (vmm->steps->method && vmm->steps->wanted && !vmm->steps->wanted(vmm))
		vmm->steps++;
	step = vmm->steps;
	if (!step->method) {
		vmm->setup.on_event(vmm->setup.ctx, VMM_STARTED, "");
		return;
	}
	request.method = step->method;
	request.path = step->path;
	request.timeout_ms = step->timeout_ms ? step->timeout_ms : API_START_MS;
	if (step->body) {
		request.body = step->body(vmm);
		if (!request.body) {
			no_body(&error, step->path);
			on_step(vmm, &error);
			return;
		}
		request.done = on_step;
	} else if (step->method[0] == 'G') {
		request.answer = on_question;
	} else {
		request.done = on_step;
	}
	http_call(vmm->http, &request);
}

void http_vmm_start(struct vmm *vmm, const struct start_step *steps)
{
	vmm->steps = steps;
	next_step(vmm);
}

/* ---- Requests ---- */

void http_vmm_send(struct vmm *vmm, const char *method, const char *path, json_t *body,
	uint32_t timeout_ms, vmm_done_fn fn, void *ctx)
{
	const struct http_request request = {.method = method,
		.path = path,
		.body = body,
		.timeout_ms = timeout_ms,
		.done = fn,
		.ctx = ctx};
	struct postern_error error = {0};

	if (body) {
		http_call(vmm->http, &request);
		return;
	}
	no_body(&error, path);
	fn(ctx, &error);
}

void http_vmm_tell(struct vmm *vmm, const char *path, vmm_done_fn fn, void *ctx)
{
	const struct http_request request = {
		.method = "PUT", .path = path, .timeout_ms = API_CALL_MS, .done = fn, .ctx = ctx};

	http_call(vmm->http, &request);
}

void http_vmm_get(struct vmm *vmm, const char *path, http_answer_fn fn, void *ctx)
{
	const struct http_request asked = {
		.method = "GET", .path = path, .timeout_ms = API_CALL_MS, .answer = fn, .ctx = ctx};

	http_call(vmm->http, &asked);
}

json_t *http_vmm_path(const char *prefix, const char *dir, const char *name)
{
	return json_sprintf("%s%s/%s", prefix, dir, name);
}
