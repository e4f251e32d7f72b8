/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kmod-helpers/module.h"

#include <errno.h>
#include <fcntl.h>
#include <libkmod.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "kmod-helpers/allow.h"
#include "kmod-helpers/boot.h"
#include "kmod-helpers/types.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#define OPTIONS_MAX    2048
#define NO_SUCH_MODULE "no module %s fits the running kernel"

static void refuse(struct kmod_reply *reply, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void refuse(struct kmod_reply *reply, int error, const char *format, ...)
{
	va_list args;

	reply->error = error;
	va_start(args, format);
	(void)vsnprintf(reply->message, sizeof(reply->message), format, args);
	va_end(args);
}

static bool is_in_kernel(struct kmod_module *module, bool *ret_builtin)
{
	int state = kmod_module_get_initstate(module);

	*ret_builtin = state == KMOD_MODULE_BUILTIN;
	return state == KMOD_MODULE_BUILTIN || state == KMOD_MODULE_LIVE;
}

/* "name=value" of each allowed parameter, as the kernel takes them. */
static int join_parameters(
	const struct kmod_request *request, char *options, size_t size, struct kmod_reply *reply)
{
	size_t n = 0;

	options[0] = '\0';
	for (uint32_t i = 0; i < request->parameters; i++) {
		const char *name = request->parameter[i].name, *value = request->parameter[i].value;

		if (!module_name_is_clean(name) || !allow_parameter(request->name, name)) {
			refuse(reply, EPERM,
				"the parameter %.63s of %.63s is not on the allow list", name,
				request->name);
			return -EPERM;
		}
		for (const char *at = value; *at; at++)
			if (*at <= ' ' || *at == '"' || *at == 0x7f) {
				refuse(reply, EINVAL,
					"a parameter's value holds no blanks and no quotes");
				return -EINVAL;
			}
		n += (size_t)snprintf(options + n, size - n, "%s%s=%s", n ? " " : "", name, value);
		if (n >= size) {
			refuse(reply, E2BIG, "the parameters are too long");
			return -E2BIG;
		}
	}
	return 0;
}

static void load(struct kmod_module *module, const char *options, struct kmod_reply *reply)
{
	bool builtin;
	int r;

	if (is_in_kernel(module, &builtin))
		return;
	r = kmod_module_probe_insert_module(
		module, KMOD_PROBE_IGNORE_COMMAND, options, NULL, NULL, NULL);
	if (r < 0)
		refuse(reply, -r, r == -ENOENT ? NO_SUCH_MODULE : "%s: %s",
			kmod_module_get_name(module), strerror(-r));
	else
		reply->changed = 1;
}

static void unload(struct kmod_module *module, const char *name, struct kmod_reply *reply)
{
	bool builtin;
	int r, users;

	if (!is_in_kernel(module, &builtin)) {
		refuse(reply, ENOENT, "%s is not loaded", name);
		return;
	}
	users = builtin ? 0 : kmod_module_get_refcnt(module);
	if (builtin)
		refuse(reply, EINVAL, "%s is part of the kernel", name);
	else if (users > 0)
		refuse(reply, EBUSY, "%s is in use (%d)", name, users);
	if (reply->error != 0)
		return;
	r = kmod_module_remove_module(module, O_NONBLOCK);
	if (r < 0)
		refuse(reply, -r, "%s", strerror(-r));
	else
		reply->changed = 1;
}

static void copy_text(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from ? from : "");
}

/* "parm=NAME:TEXT" of the module's own description. */
static void take_parameter(struct kmod_reply *reply, const char *module, const char *text)
{
	size_t len = strcspn(text, ":");
	uint32_t i = reply->parameters;

	if (i == KMOD_DESCRIBED || len == 0 || len >= KMOD_NAME_MAX)
		return;
	memcpy(reply->parameter[i].name, text, len);
	copy_text(reply->parameter[i].description, sizeof(reply->parameter[i].description),
		text[len] ? text + len + 1 : "");
	reply->parameter[i].allowed = allow_parameter(module, reply->parameter[i].name);
	reply->parameters++;
}

static void take_info(
	struct kmod_reply *reply, const char *module, const char *key, const char *value)
{
	if (strcmp(key, "description") == 0)
		copy_text(reply->description, sizeof(reply->description), value);
	else if (strcmp(key, "license") == 0)
		copy_text(reply->license, sizeof(reply->license), value);
	else if (strcmp(key, "parm") == 0)
		take_parameter(reply, module, value);
}

static void describe(struct kmod_module *module, const char *name, struct kmod_reply *reply)
{
	struct kmod_list *list = NULL, *item;
	bool builtin;

	reply->allowed = allow_module(name);
	reply->loaded = is_in_kernel(module, &builtin);
	reply->builtin = builtin;
	if (!kmod_module_get_path(module) && !reply->loaded) {
		refuse(reply, ENOENT, NO_SUCH_MODULE, name);
		return;
	}
	if (kmod_module_get_info(module, &list) > 0)
		kmod_list_foreach(item, list) take_info(reply, name, kmod_module_info_get_key(item),
			kmod_module_info_get_value(item));
	kmod_module_info_free_list(list);
	list = kmod_module_get_dependencies(module);
	kmod_list_foreach(item, list)
	{
		struct kmod_module *depend = kmod_module_get_module(item);

		if (reply->depends < KMOD_DEPENDS_MAX)
			copy_text(reply->depend[reply->depends++], KMOD_NAME_MAX,
				kmod_module_get_name(depend));
		kmod_module_unref(depend);
	}
	kmod_module_unref_list(list);
}

/* True when the request is about a module that its kind may be asked for. */
static bool check_name(const struct kmod_request *request, struct kmod_reply *reply)
{
	if (!module_name_is_clean(request->name))
		refuse(reply, EINVAL, "expected the name of a module, without path and suffix");
	else if (request->kind != KMOD_INFO && !allow_module(request->name))
		refuse(reply, EPERM,
			"%.63s is not on the allow list (/etc/postern/modules.d/*.allow)",
			request->name);
	else
		return true;
	return false;
}

/* Quiet: what goes wrong is told to the caller. */
static struct kmod_ctx *open_kmod(void)
{
	struct kmod_ctx *kmod = kmod_new(NULL, NULL);

	if (kmod)
		kmod_set_log_priority(kmod, 0);
	return kmod;
}

/* What one request asks for, of one module. */
static void answer_for(struct kmod_ctx *kmod, const struct kmod_request *request, const char *name,
	const char *options, struct kmod_reply *reply)
{
	struct kmod_module *module = NULL;

	if (kmod_module_new_from_name(kmod, name, &module) < 0)
		refuse(reply, ENOMEM, "libkmod cannot be used");
	else if (request->kind == KMOD_UNLOAD)
		unload(module, name, reply);
	else if (request->kind == KMOD_INFO)
		describe(module, name, reply);
	else
		load(module, options[0] ? options : NULL, reply);
	kmod_module_unref(module);
}

static void answer_for_type(
	struct kmod_ctx *kmod, const struct kmod_request *request, struct kmod_reply *reply)
{
	const struct fs_type *type = fs_type_find(request->name);

	if (!type || !type->modules[0])
		refuse(reply, EPERM, "%.63s is no type with a module of its own", request->name);
	for (size_t i = 0; type && i < FS_MODULES_MAX && type->modules[i] && reply->error == 0; i++)
		answer_for(kmod, request, type->modules[i], "", reply);
}

void module_answer(const struct kmod_request *request, struct kmod_reply *ret_reply)
{
	struct kmod_ctx *kmod = open_kmod();
	char options[OPTIONS_MAX];

	*ret_reply = (struct kmod_reply){0};
	if (!kmod)
		refuse(ret_reply, ENOMEM, "libkmod cannot be used");
	else if (request->kind == KMOD_LOAD_FOR_TYPE)
		answer_for_type(kmod, request, ret_reply);
	else if (check_name(request, ret_reply) &&
		 join_parameters(request, options, sizeof(options), ret_reply) == 0)
		answer_for(kmod, request, request->name, options, ret_reply);
	kmod_unref(kmod);
}

int module_load_boot_list(void)
{
	size_t n;
	const struct kmod_boot *boot = kmod_boot_modules(&n);
	struct kmod_ctx *kmod = open_kmod();
	int missing = 0;

	if (!kmod)
		return 1;
	for (size_t i = 0; i < n; i++) {
		struct kmod_reply reply = {0};
		struct kmod_module *module;

		if (!boot[i].loaded || kmod_module_new_from_name(kmod, boot[i].name, &module) < 0)
			continue;
		load(module, NULL, &reply);
		kmod_module_unref(module);
		if (reply.error == 0 || !boot[i].needed)
			continue;
		log_warning("%s: %s", boot[i].name, reply.message);
		missing++;
	}
	kmod_unref(kmod);
	return missing;
}
