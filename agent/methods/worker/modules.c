/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/methods/kmod_client.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define MODULES_MAX 4096

static int take_name(struct call *call, const char *name, struct kmod_request *request)
{
	if (name && name[0] != '\0' && strlen(name) < sizeof(request->name)) {
		memcpy(request->name, name, strlen(name) + 1);
		return 0;
	}
	return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
		"name: expected 1 to %zu bytes", sizeof(request->name) - 1);
}

static int ask(struct call *call, const struct kmod_request *request, struct kmod_reply *reply)
{
	int r;

	if (method_rows[call->method].flags & MUTATING)
		worker_changing(call);
	r = kmod_ask(call, request, reply);
	if (r < 0)
		return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, -r,
			"postern-kmod cannot be asked: %s", strerror(-r));
	/* postern-kmod undoes what it began. */
	call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
	if (reply->error != 0)
		return call_fail(call, code_of_errno(reply->error), reply->error, "%s: %s",
			request->name, reply->message);
	return 0;
}

/* The names before each comma of "a,b," in /proc/modules; "-" is none. */
static int take_users(struct call *call, char *list, Postern__V1__Module *module)
{
	char *rest = NULL;
	size_t n = 0;

	if (strcmp(list, "-") == 0)
		return 0;
	for (const char *at = list; *at; at++)
		n += *at == ',';
	module->users = arena_alloc(call->arena, (n + 1) * sizeof(*module->users));
	if (!module->users)
		return -ENOMEM;
	for (char *name = strtok_r(list, ",", &rest); name && module->n_users <= n;
		name = strtok_r(NULL, ",", &rest))
		module->users[module->n_users++] = call_text(call, name);
	return 0;
}

/* proc_modules(5): NAME SIZE REFERENCES USERS STATE ADDRESS */
static Postern__V1__Module *parse_line(struct call *call, char *line)
{
	Postern__V1__Module *module = arena_alloc(call->arena, sizeof(*module));
	char *rest = NULL, *words[5];

	for (int i = 0; i < 5; i++) {
		words[i] = strtok_r(i == 0 ? line : NULL, " \n", &rest);
		if (!words[i])
			return NULL;
	}
	if (!module)
		return NULL;
	postern__v1__module__init(module);
	module->has_name = module->has_size = module->has_references = true;
	module->name = call_text(call, words[0]);
	module->size = strtoull(words[1], NULL, 10);
	module->references = strcmp(words[2], "-") == 0 ? -1 : atoi(words[2]);
	module->state = strcmp(words[4], "Live") == 0      ? (char *)"live"
			: strcmp(words[4], "Loading") == 0 ? (char *)"coming"
							   : (char *)"going";
	return take_users(call, words[3], module) < 0 ? NULL : module;
}

int modules_list(struct call *call, const Postern__V1__ModulesListRequest *request,
	Postern__V1__ModulesListReply *reply)
{
	AUTO_FILE FILE *file = fopen("/proc/modules", "re");
	char line[4096];

	(void)request;
	if (!file)
		return call_fail_errno(call, -errno, "/proc/modules");
	reply->modules = arena_alloc(call->arena, MODULES_MAX * sizeof(*reply->modules));
	if (!reply->modules)
		return -ENOMEM;
	while (reply->n_modules < MODULES_MAX && fgets(line, sizeof(line), file)) {
		Postern__V1__Module *module = parse_line(call, line);

		if (module)
			reply->modules[reply->n_modules++] = module;
	}
	return 0;
}

static int add_details(
	struct call *call, const struct kmod_reply *from, Postern__V1__ModulesInfoReply *to)
{
	to->depends = arena_alloc(call->arena, (from->depends + 1) * sizeof(*to->depends));
	to->parameters = arena_alloc(call->arena, (from->parameters + 1) * sizeof(*to->parameters));
	if (!to->depends || !to->parameters)
		return -ENOMEM;
	for (uint32_t i = 0; i < from->depends && i < KMOD_DEPENDS_MAX; i++)
		to->depends[to->n_depends++] = call_text(call, from->depend[i]);
	for (uint32_t i = 0; i < from->parameters && i < KMOD_DESCRIBED; i++) {
		Postern__V1__ModuleParameter *parameter =
			arena_alloc(call->arena, sizeof(*parameter));

		if (!parameter)
			return -ENOMEM;
		postern__v1__module_parameter__init(parameter);
		parameter->name = arena_strdup(call->arena, from->parameter[i].name);
		parameter->has_description = parameter->has_allowed = true;
		parameter->description = call_text(call, from->parameter[i].description);
		parameter->allowed = from->parameter[i].allowed;
		to->parameters[to->n_parameters++] = parameter;
	}
	return 0;
}

int modules_info(struct call *call, const Postern__V1__ModulesInfoRequest *request,
	Postern__V1__ModulesInfoReply *reply)
{
	struct kmod_request question = {.kind = KMOD_INFO};
	struct kmod_reply answer = {0};
	int r = take_name(call, request->name, &question);

	if (r == 0)
		r = ask(call, &question, &answer);
	if (r < 0)
		return r;
	reply->module = arena_alloc(call->arena, sizeof(*reply->module));
	if (!reply->module)
		return -ENOMEM;
	postern__v1__module__init(reply->module);
	reply->module->has_name = true;
	reply->module->name = call_text(call, question.name);
	reply->module->state = answer.builtin  ? (char *)"builtin"
			       : answer.loaded ? (char *)"live"
					       : NULL;
	reply->has_allowed = reply->has_loaded = true;
	reply->allowed = answer.allowed;
	reply->loaded = answer.loaded;
	reply->has_description = reply->has_license = true;
	reply->description = call_text(call, answer.description);
	reply->license = call_text(call, answer.license);
	return add_details(call, &answer, reply);
}

static int take_parameters(
	struct call *call, const Postern__V1__ModulesLoadRequest *from, struct kmod_request *to)
{
	if (from->n_parameters > KMOD_PARAMETERS_MAX)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"parameters: at most %d", KMOD_PARAMETERS_MAX);
	for (size_t i = 0; i < from->n_parameters; i++) {
		const Postern__V1__ModuleParameter *parameter = from->parameters[i];
		char *value = call_string(call, parameter->has_value, &parameter->value,
			sizeof(to->parameter[i].value) - 1, "parameters: value");

		if (!value)
			return -EINVAL;
		if (!parameter->name || strlen(parameter->name) >= sizeof(to->parameter[i].name))
			return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
				"parameters: expected a name");
		memcpy(to->parameter[i].name, parameter->name, strlen(parameter->name) + 1);
		memcpy(to->parameter[i].value, value, strlen(value) + 1);
	}
	to->parameters = (uint32_t)from->n_parameters;
	return 0;
}

int modules_load(struct call *call, const Postern__V1__ModulesLoadRequest *request,
	Postern__V1__ModulesLoadReply *reply)
{
	struct kmod_request question = {.kind = KMOD_LOAD};
	struct kmod_reply answer = {0};
	int r = take_name(call, request->name, &question);

	if (r == 0)
		r = take_parameters(call, request, &question);
	if (r == 0)
		r = ask(call, &question, &answer);
	reply->has_loaded_now = r == 0;
	reply->loaded_now = r == 0 && answer.changed;
	return r;
}

int modules_unload(struct call *call, const Postern__V1__ModulesUnloadRequest *request,
	Postern__V1__ModulesUnloadReply *reply)
{
	struct kmod_request question = {.kind = KMOD_UNLOAD};
	struct kmod_reply answer = {0};
	int r = take_name(call, request->name, &question);

	(void)reply;
	return r < 0 ? r : ask(call, &question, &answer);
}
