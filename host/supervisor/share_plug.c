/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shares that are added and removed while the guest runs. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/json_line.h"
#include "host/common/text.h"
#include "host/common/vm_files.h"
#include "host/supervisor/machine.h"
#include "host/supervisor/problem.h"
#include "proto/cleanup.h"
#include "proto/log.h"

/* What comes back with the next machine of this name. */
static void save(const struct machine *machine)
{
	AUTO_JSON json_t *object = json_object();
	json_t *list = json_array();
	int r;

	for (size_t i = 0; i < VM_SHARES_MAX; i++)
		if (machine->shares[i].state != SHARE_FREE && machine->shares[i].config.persistent)
			(void)json_array_append_new(
				list, share_config_to_json(&machine->shares[i].config));
	(void)json_object_set_new(object, "shares", list);
	r = file_replace_json(machine->dir_fd, VM_FILE_SHARES, object);
	if (r < 0)
		log_warning("persistent shares cannot be recorded: %s", strerror(-r));
}

static void answer(struct share *share, const struct postern_error *error, json_t *result)
{
	struct request *request = share->request;

	share->request = NULL;
	if (error) {
		json_decref(result);
		request_fail(request, error, NULL);
	} else {
		request_return(request, result);
	}
}

static void on_plugged(void *ctx, const struct postern_error *error)
{
	struct share *share = ctx;
	struct postern_error failed = {0};
	char path[PATH_MAX];

	(void)unlink(share_socket_path(share, path));
	if (error) {
		const char *line = process_last_line(&share->virtiofsd);

		(void)fail(&failed, error->failure, error->sys_errno, "%s%s%s", error->message,
			*line ? "; virtiofsd: " : "", line);
		share_stop(share);
		answer(share, &failed, NULL);
		return;
	}
	share->state = SHARE_PLUGGED;
	share->dead = !process_running(&share->virtiofsd);
	if (share->config.persistent)
		save(share->machine);
	share_event(share, "added");
	answer(share, NULL, share_config_to_json(&share->config));
}

static struct share *find(struct machine *machine, const char *tag)
{
	for (size_t i = 0; i < VM_SHARES_MAX; i++)
		if (machine->shares[i].state != SHARE_FREE &&
			strcmp(machine->shares[i].config.tag, tag) == 0)
			return &machine->shares[i];
	return NULL;
}

/* A free root port. Its last virtiofsd must have been reaped: it is the slot's too. */
static struct share *find_free(struct machine *machine)
{
	for (size_t i = 0; i < VM_SHARES_MAX; i++)
		if (machine->shares[i].state == SHARE_FREE &&
			!process_running(&machine->shares[i].virtiofsd))
			return &machine->shares[i];
	return NULL;
}

/* The new share with its virtiofsd running, and that one's socket; NULL with *error filled. */
static struct share *start_new(struct machine *machine, const json_t *arguments,
	char ret_socket[PATH_MAX], struct postern_error *error)
{
	struct share_config config;
	struct share *share;

	if (share_config_from_json(arguments, &config, error) < 0)
		return NULL;
	if (!machine->vmm || machine->state > MACHINE_READY) {
		(void)fail(error, POSTERN_ABSENT, ENOTCONN, "the VM is not running");
		return NULL;
	}
	if (!config.p9 && vmm_can(machine->driver->kind, VMM_SHARES, POSTERN_ANSWERED, error) < 0)
		return NULL;
	if (config.p9) {
		(void)fail(error, POSTERN_ANSWERED, EOPNOTSUPP,
			"no VMM can plug a 9p device into a running machine: launch it with "
			"--share HOST:GUEST:9p");
		return NULL;
	}
	if (find(machine, config.tag)) {
		(void)fail(error, POSTERN_ANSWERED, EEXIST, "the VM has a share %s already",
			config.tag);
		return NULL;
	}
	share = find_free(machine);
	if (!share) {
		(void)fail(error, POSTERN_ANSWERED, ENOSPC, "all %d places for shares are taken",
			VM_SHARES_MAX);
		return NULL;
	}
	return share_start(share, &config, ret_socket, error) < 0 ? NULL : share;
}

void share_add_command(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;
	struct postern_error error = {0};
	char path[PATH_MAX];
	struct share *share = start_new(machine, arguments, path, &error);
	struct vmm_device device;

	if (!share) {
		request_fail(request, &error, NULL);
		return;
	}
	share->state = SHARE_PLUGGING;
	share->request = request;
	device = (struct vmm_device){.tag = share->config.tag, .socket = path};
	machine->driver->plug(machine->vmm, share->slot, &device, on_plugged, share);
}

static void on_unplugged(void *ctx, const struct postern_error *error)
{
	struct share *share = ctx;
	struct machine *machine = share->machine;
	struct postern_error stuck = {0};
	bool persistent = share->config.persistent;
	json_t *result;

	if (error) {
		share->state = SHARE_PLUGGED;
		share->dead = !process_running(&share->virtiofsd);
		share->stuck =
			share->dead && error->failure == POSTERN_TIMED_OUT && !machine->vmm_silent;
		if (share->stuck) {
			(void)fail(&stuck, POSTERN_TIMED_OUT, ETIMEDOUT,
				"the guest cannot let the dead share go: somebody in it waits for "
				"an answer; the VM must be restarted");
			problem_tell(machine, PROBLEM_SHARE_STUCK, share->config.tag);
		}
		answer(share, share->stuck ? &stuck : error, NULL);
		return;
	}
	result = share_config_to_json(&share->config);
	share_event(share, "removed");
	share_stop(share);
	if (persistent)
		save(machine);
	answer(share, NULL, result);
}

void share_remove_command(void *ctx, struct request *request, const json_t *arguments)
{
	struct machine *machine = ctx;
	const char *tag = json_field_string(arguments, "tag", "");
	struct postern_error error = {0};
	struct share *share = find(machine, tag);
	int r = 0;

	if (!machine->vmm || machine->state > MACHINE_READY)
		r = fail(&error, POSTERN_ABSENT, ENOTCONN, "the VM is not running");
	else if (!share_tag_valid(tag) || !share)
		r = fail(&error, POSTERN_ANSWERED, ENOENT, "the VM has no such share");
	else if (share->config.p9)
		r = fail(&error, POSTERN_ANSWERED, EOPNOTSUPP,
			"a 9p device stays until the machine ends; it can be unmounted");
	else if (share->state != SHARE_PLUGGED)
		r = fail(&error, POSTERN_ANSWERED, EBUSY,
			"the share is just being added or removed");
	if (r < 0 || !share) {
		request_fail(request, &error, NULL);
		return;
	}
	share->state = SHARE_UNPLUGGING;
	share->request = request;
	machine->driver->unplug(machine->vmm, share->slot, on_unplugged, share);
}
