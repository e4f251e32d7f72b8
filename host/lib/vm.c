/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is known of machines. */
#include "host/lib/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/json_line.h"
#include "host/common/vm_files.h"
#include "host/lib/control_client.h"
#include "host/lib/environment.h"
#include "host/lib/registry.h"
#include "proto/cleanup.h"
#include "proto/client/json_text.h"

#define LOOK_MS 2000 /* for a supervisor's answer; a busy one is not a dead one */

static const struct {
	const char *name; /* as people see it */
	const char *word; /* in JSON */
} status_names[] = {
	[POSTERN_VM_STARTING] = {"Starting", "starting"},
	[POSTERN_VM_RUNNING] = {"Running", "running"},
	[POSTERN_VM_STOPPING] = {"Stopping", "stopping"},
	[POSTERN_VM_STOPPED] = {"Stopped", "stopped"},
	[POSTERN_VM_FAILED] = {"Failed", "failed"},
	[POSTERN_VM_TERMINATED] = {"VMM Unexpectedly Terminated", "terminated"},
	[POSTERN_VM_UNAVAILABLE] = {"Unavailable", "unavailable"},
	[POSTERN_VM_PAUSED] = {"Paused", "paused"},
	[POSTERN_VM_ASLEEP] = {"Asleep", "asleep"},
};

const char *postern_vm_status_name(enum postern_vm_status status)
{
	return status_names[status].name;
}

void postern_vm_free(struct postern_vm *vm)
{
	if (!vm)
		return;
	for (size_t i = 0; i < vm->n_problems; i++)
		free(vm->problems[i]);
	free(vm->problems);
	json_decref(vm->details);
	free(vm->name);
	free(vm);
}

static enum postern_vm_status live_status(const json_t *details)
{
	const char *state = json_field_string(details, "state", "");

	if (strcmp(state, "ready") == 0)
		return POSTERN_VM_RUNNING;
	if (strcmp(state, "paused") == 0)
		return POSTERN_VM_PAUSED;
	if (strcmp(state, "asleep") == 0)
		return POSTERN_VM_ASLEEP;
	if (strcmp(state, "stopping") == 0 || strcmp(state, "ended") == 0)
		return POSTERN_VM_STOPPING;
	/* A guest that is kept without an agent runs all the same; its problem says what it lacks.
	 */
	if (json_array_size(json_object_get(details, "problems")) > 0 &&
		strcmp(state, "booting") == 0)
		return POSTERN_VM_RUNNING;
	return POSTERN_VM_STARTING;
}

static int take_problems(struct postern_vm *vm)
{
	const json_t *list = json_object_get(vm->details, "problems"), *item;
	size_t i;

	vm->problems = calloc(json_array_size(list) + 1, sizeof(*vm->problems));
	if (!vm->problems)
		return -ENOMEM;
	json_array_foreach(list, i, item)
	{
		char *text = text_format("%s: %s", json_field_string(item, "problem", "?"),
			json_field_string(item, "help", "?"));

		if (!text)
			return -ENOMEM;
		vm->problems[vm->n_problems++] = text;
	}
	return 0;
}

/* A VM whose supervisor lives. False where that does not answer. */
static bool ask(const char *dir, struct postern_vm *vm)
{
	AUTO_CLOSE int fd = -EBADF;

	if (control_connect(dir, &fd, NULL) < 0 ||
		control_call(fd, "status", NULL, LOOK_MS, NULL, NULL, &vm->details, NULL) < 0) {
		vm->status = POSTERN_VM_UNAVAILABLE;
		return false;
	}
	vm->status = live_status(vm->details);
	return true;
}

/* Sockets of a supervisor that was killed: nobody answers there any more. */
static void sweep(int dir_fd)
{
	static const char *const sockets[] = {
		VM_FILE_CONTROL, VM_FILE_API, VM_FILE_VSOCK, VM_FILE_VSOCK "_7670"};

	for (size_t i = 0; i < ARRAY_SIZE(sockets); i++)
		(void)unlinkat(dir_fd, sockets[i], 0);
}

/* A VM that has ended. */
static void read_end(int dir_fd, struct postern_vm *vm)
{
	json_decref(vm->details);
	vm->details = NULL;
	sweep(dir_fd);
	if (file_read_json(dir_fd, VM_FILE_END, &vm->details) < 0) {
		vm->status = POSTERN_VM_TERMINATED;
		vm->details = json_pack("{s:s}", "reason", "its supervisor was killed");
		return;
	}
	vm->status = strcmp(json_field_string(vm->details, "status", ""), "stopped") == 0
			     ? POSTERN_VM_STOPPED
			     : POSTERN_VM_FAILED;
}

/* vm.json of its launch, for what an ended or silent supervisor does not tell. */
static int add_config(int dir_fd, struct postern_vm *vm)
{
	static const char *const keys[] = {
		"cid", "memory_bytes", "cpus", "kernel", "image", "driver"};
	AUTO_JSON json_t *config = NULL;
	int r = file_read_json(dir_fd, VM_FILE_CONFIG, &config);

	if (!vm->details)
		vm->details = json_object();
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(keys); i++) {
		json_t *value = json_object_get(config, keys[i]);

		if (value && !json_is_null(value) && !json_object_get(vm->details, keys[i]))
			(void)json_object_set(vm->details, keys[i], value);
	}
	return r;
}

int postern_vm_info(const char *name, struct postern_vm **ret_vm, struct postern_error *error)
{
	AUTO_CLOSE int dir_fd = -EBADF;
	char dir[PATH_MAX], own[64] = "", env[64] = "";
	bool live = false;
	struct postern_vm *vm;
	int r = env_split(name, env, own, error);

	if (r == 0)
		r = registry_open(name, dir, &dir_fd, &live, error);

	if (r < 0)
		return r;
	vm = calloc(1, sizeof(*vm));
	if (vm) {
		memcpy(vm->env, env, sizeof(env));
		vm->name = strdup(own);
	}
	if (!vm || !vm->name) {
		postern_vm_free(vm);
		return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "%s", name);
	}
	/* It may end between the look at its lock and the question. */
	if (!live || (!ask(dir, vm) && !registry_is_live(dir_fd)))
		read_end(dir_fd, vm);
	r = add_config(dir_fd, vm);
	if (r == 0) {
		(void)json_object_set_new(vm->details, "name", json_string(own));
		(void)json_object_set_new(vm->details, "env", json_string(env));
		(void)json_object_set_new(
			vm->details, "status", json_string(status_names[vm->status].word));
		r = take_problems(vm);
	}
	if (r < 0) {
		postern_vm_free(vm);
		return r == -ENOENT ? fail(error, POSTERN_ABSENT, ENOENT, "there is no VM %s", name)
				    : fail_errno(error, POSTERN_ANSWERED, -r, "%s", dir);
	}
	*ret_vm = vm;
	return 0;
}

void postern_vms_free(struct postern_vm **vms, size_t n)
{
	for (size_t i = 0; i < n; i++)
		postern_vm_free(vms[i]);
	free(vms);
}

int postern_list(
	const char *env, struct postern_vm ***ret_vms, size_t *ret_n, struct postern_error *error)
{
	struct postern_vm **vms;
	char **names;
	size_t n, found = 0;
	int r;

	if (!env)
		env = env_default();
	r = registry_names(env, &names, &n, error);
	if (r < 0)
		return r;
	vms = calloc(n + 1, sizeof(*vms));
	for (size_t i = 0; vms && i < n; i++) {
		AUTO_FREE char *full = text_format("%s/%s", env, names[i]);

		/* One that went just now, or that cannot be read, hides no other. */
		if (full && postern_vm_info(full, &vms[found], NULL) == 0)
			found++;
	}
	registry_names_free(names, n);
	if (!vms)
		return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "list");
	*ret_vms = vms;
	*ret_n = found;
	return 0;
}

int postern_envs(char ***ret_envs, size_t *ret_n, struct postern_error *error)
{
	return registry_envs(ret_envs, ret_n, error);
}

void postern_envs_free(char **envs, size_t n)
{
	registry_names_free(envs, n);
}

int postern_leases_json(char **ret_json, struct postern_error *error)
{
	AUTO_JSON json_t *leases = NULL, *list = NULL;
	char base[PATH_MAX];
	int r = env_base(base, error);

	if (r == 0)
		r = lease_list(base, &list, error);
	if (r < 0)
		return r;
	leases = json_pack("{s:O}", "leases", list);
	*ret_json = json_text(leases, 0);
	return *ret_json ? 0 : fail_errno(error, POSTERN_ANSWERED, ENOMEM, "leases");
}

const char *postern_vm_name(const struct postern_vm *vm)
{
	return vm->name;
}

const char *postern_vm_env(const struct postern_vm *vm)
{
	return vm->env;
}

enum postern_vm_status postern_vm_status(const struct postern_vm *vm)
{
	return vm->status;
}

uint64_t postern_vm_uptime_ms(const struct postern_vm *vm)
{
	json_int_t ms = json_field_int(vm->details, "uptime_ms", -1);

	return ms < 0 ? UINT64_MAX : (uint64_t)ms;
}

uint32_t postern_vm_cid(const struct postern_vm *vm)
{
	return (uint32_t)json_field_int(vm->details, "cid", 0);
}

const char *postern_vm_reason(const struct postern_vm *vm)
{
	return json_field_string(vm->details, "reason", NULL);
}

size_t postern_vm_problems(const struct postern_vm *vm)
{
	return vm->n_problems;
}

const char *postern_vm_problem(const struct postern_vm *vm, size_t i)
{
	return i < vm->n_problems ? vm->problems[i] : NULL;
}

char *postern_vm_json(const struct postern_vm *vm)
{
	return json_text(vm->details, 0);
}

int postern_vm_address(const char *name_or_address, char **ret_address, struct postern_error *error)
{
	static const char *const schemes[] = {"vsock:", "unix:", "local:"};
	AUTO_CLOSE int dir_fd = -EBADF;
	AUTO_JSON json_t *config = NULL;
	char dir[PATH_MAX];
	bool live;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (strncmp(name_or_address, schemes[i], strlen(schemes[i])) == 0) {
			*ret_address = strdup(name_or_address);
			return *ret_address
				       ? 0
				       : fail_errno(error, POSTERN_ANSWERED, ENOMEM, "address");
		}
	r = registry_open(name_or_address, dir, &dir_fd, &live, error);
	if (r < 0)
		return r;
	if (!live)
		return fail(
			error, POSTERN_ABSENT, ENOENT, "the VM %s is not running", name_or_address);
	r = file_read_json(dir_fd, VM_FILE_CONFIG, &config);
	if (r < 0)
		return fail_errno(error, POSTERN_ANSWERED, -r, "%s/" VM_FILE_CONFIG, dir);
	if (!(json_field_int(config, "devices", POSTERN_DEVICE_VSOCK) & POSTERN_DEVICE_VSOCK))
		return fail(error, POSTERN_ABSENT, ENODEV, "Guest lacks the required vsock device");
	*ret_address = json_field_bool(config, "vsock_kernel", false)
			       ? text_format("vsock:%u", (unsigned)json_field_int(config, "cid", 0))
			       : text_format("unix:%s/" VM_FILE_VSOCK, dir);
	return *ret_address ? 0 : fail_errno(error, POSTERN_ANSWERED, ENOMEM, "address");
}
