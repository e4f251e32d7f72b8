/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/hook_event.h"
#include "agent/init_kind.h"
#include "agent/methods/component.h"
#include "agent/methods/mount_entry.h"
#include "agent/methods/process.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define STATE(name) POSTERN__V1__COMPONENT_STATE__COMPONENT_##name
#define TYPE(name)  POSTERN__V1__COMPONENT_TYPE__COMPONENT_##name

/* ---- the list ---- */

static void set(struct components *components, protobuf_c_boolean *has, ProtobufCBinaryData *field,
	const char *text)
{
	*has = text && text[0];
	if (*has)
		*field = call_text(components->call, text);
}

void component_set_label(
	struct components *components, Postern__V1__Component *component, const char *text)
{
	set(components, &component->has_label, &component->label, text);
}

void component_set_version(
	struct components *components, Postern__V1__Component *component, const char *text)
{
	set(components, &component->has_version, &component->version, text);
}

void component_describe(
	struct components *components, Postern__V1__Component *component, const char *text)
{
	set(components, &component->has_description, &component->description, text);
}

Postern__V1__Component *component_add(struct components *components,
	Postern__V1__ComponentType type, Postern__V1__ComponentState state, const char *kind,
	const char *name)
{
	struct arena *arena = components->call->arena;
	Postern__V1__Component *component;

	if (components->n == COMPONENTS_MAX)
		return NULL;
	component = arena_alloc(arena, sizeof(*component));
	if (!component)
		return NULL;
	postern__v1__component__init(component);
	component->has_type = component->has_state = true;
	component->type = type;
	component->state = state;
	set(components, &component->has_id, &component->id,
		arena_printf(arena, "%s%s%s", kind, name ? "/" : "", name ? name : ""));
	component_set_label(components, component, name ? name : kind);
	components->list[components->n++] = component;
	return component;
}

/* ---- kernel, process 1 ---- */

static void add_kernel(struct components *components)
{
	Postern__V1__Component *kernel =
		component_add(components, TYPE(KERNEL), STATE(READY), "kernel", NULL);
	struct utsname name;

	if (!kernel || uname(&name) < 0)
		return;
	component_set_label(components, kernel, name.sysname);
	component_set_version(components, kernel, name.release);
	component_describe(components, kernel, name.version);
}

static void add_service_manager(struct components *components)
{
	Postern__V1__Component *manager = component_add(
		components, TYPE(SERVICE_MANAGER), STATE(READY), "service_manager", NULL);

	if (manager)
		component_set_label(components, manager, init_kind_name(init_kind()));
}

/* ---- the agent ---- */

static const struct {
	const char *command, *label;
	bool always; /* it runs as long as the agent does */
} programs[] = {{"posternd", "broker", true}, {"postern-watch", "watcher", true},
	{"postern-session", "sessions", true}, {"postern-worker", "readers and workers", false},
	{"postern-job", "programs for callers", false}, {"postern-kmod", "module loader", false}};

struct counting {
	uint32_t n[ARRAY_SIZE(programs)];
};

static void count(void *ctx, const struct process *process)
{
	struct counting *counting = ctx;

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		counting->n[i] += strcmp(process->command, programs[i].command) == 0;
}

static void add_agent(struct components *components)
{
	struct counting counting = {0};
	Postern__V1__Component *agent =
		component_add(components, TYPE(AGENT), STATE(READY), "agent", NULL);

	if (agent)
		component_set_version(components, agent, POSTERN_VERSION);
	if (process_each(count, &counting) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		Postern__V1__ComponentState state = counting.n[i] > 0    ? STATE(READY)
						    : programs[i].always ? STATE(ERROR)
									 : STATE(UNKNOWN);
		Postern__V1__Component *program =
			component_add(components, TYPE(AGENT), state, "agent", programs[i].command);

		if (!program)
			return;
		program->has_instances = true;
		program->instances = counting.n[i];
		component_describe(components, program, programs[i].label);
		component_set_version(components, program, POSTERN_VERSION);
		if (counting.n[i] == 0)
			component_describe(components, program,
				programs[i].always ? "does not run" : "runs when it is needed");
	}
}

/* ---- shares ---- */

static bool is_share(const char *type)
{
	static const char *const types[] = {
		"virtiofs", "9p", "nfs", "nfs4", "cifs", "smb3", "ceph"};

	for (size_t i = 0; type && i < ARRAY_SIZE(types); i++)
		if (strcmp(type, types[i]) == 0)
			return true;
	return false;
}

static void add_share(struct components *components, struct libmnt_fs *fs)
{
	bool hangs = worker_is_quarantined(components->call, mnt_fs_get_devno(fs), TOUCH_LOOK);
	const char *target = mnt_fs_get_target(fs), *source = mnt_fs_get_source(fs);
	Postern__V1__Component *share = component_add(
		components, TYPE(SHARE), hangs ? STATE(ERROR) : STATE(READY), "share", target);

	if (!share)
		return;
	component_describe(components, share,
		arena_printf(components->call->arena, "%s %s%s", mnt_fs_get_fstype(fs),
			source ? source : "", hangs ? ": does not respond" : ""));
}

static int add_shares(struct components *components)
{
	struct libmnt_table *mounts = NULL;
	struct libmnt_iter *iter;
	struct libmnt_fs *fs;
	int r = mount_table_own(&mounts);

	if (r < 0)
		return call_fail_errno(components->call, r, "the mount table");
	iter = mnt_new_iter(MNT_ITER_FORWARD);
	while (iter && mnt_table_next_fs(mounts, iter, &fs) == 0)
		if (is_share(mnt_fs_get_fstype(fs)) && mnt_fs_get_target(fs))
			add_share(components, fs);
	mnt_free_iter(iter);
	mnt_unref_table(mounts);
	return 0;
}

/* ---- hooks ---- */

static int is_hook(const struct dirent *entry)
{
	return hook_is_program(entry->d_name);
}

static void add_hook(struct components *components, const char *path, const char *name)
{
	int r = hook_check(path);
	Postern__V1__Component *hook = component_add(
		components, TYPE(HOOK), r == 0 ? STATE(READY) : STATE(ERROR), "hook", name);

	if (hook)
		component_describe(components, hook,
			r == 0        ? NULL
			: r == -EPERM ? "is not run: others than root could change it"
				      : "cannot be looked at");
}

static void add_hooks_of(struct components *components, const char *folder, const char *event)
{
	struct arena *arena = components->call->arena;
	const char *path = arena_printf(arena, "%s/%s", folder, event);
	struct dirent **entries = NULL;
	int n = path ? scandir(path, &entries, is_hook, alphasort) : -1;

	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name,
			   *whole = arena_printf(arena, "%s/%s", path, name),
			   *hook = arena_printf(arena, "%s/%s", event, name);

		if (whole && hook)
			add_hook(components, whole, hook);
		free(entries[i]);
	}
	free(entries);
}

static void add_hooks(struct components *components)
{
	const char *folder = worker_facts(components->call)->hooks_dir;

	for (int event = 0; folder[0] && event < HOOK_EVENTS; event++)
		add_hooks_of(components, folder, hook_event_name((enum hook_event)event));
}

int components_discover(struct call *call, const Postern__V1__ComponentsDiscoverRequest *request,
	Postern__V1__ComponentsDiscoverReply *reply)
{
	struct components components = {.call = call};
	int r;

	(void)request;
	components.list = arena_alloc(call->arena, COMPONENTS_MAX * sizeof(*components.list));
	if (!components.list)
		return -ENOMEM;
	add_kernel(&components);
	add_service_manager(&components);
	add_agent(&components);
	components_add_modules(&components);
	components_add_devices(&components);
	r = add_shares(&components);
	add_hooks(&components);
	reply->components = components.list;
	reply->n_components = components.n;
	return r;
}
