/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/init_kind.h"
#include "agent/methods/mount_options.h"
#include "agent/methods/share.h"
#include "agent/methods/systemd.h"
#include "kmod-helpers/types.h"
#include "proto/replace.h"

#define UNIT_DIR  "/etc/systemd/system"
#define WANTS_DIR UNIT_DIR "/multi-user.target.wants"

/* An instance is the escaped path of a target, as a share's key is. */
#define SERVICE_PREFIX "postern-share@"
#define TEMPLATE       SERVICE_PREFIX ".service"

bool share_has_unit(const char *name)
{
	const struct fs_type *type = fs_type_find(name);

	return type && type->unit && init_kind() == INIT_SYSTEMD;
}

/* What would mean something else in a unit file or an option list. */
static bool is_plain(const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || strchr(",\\%\"'$#;", text[i]) || text[i] == 0x7f)
			return false;
	return true;
}

/* "nosuid,nodev,size=64k": the same defaults as without systemd. */
static int join_options(struct call *call, const Postern__V1__Share *share, char **ret)
{
	unsigned int attributes = mount_attributes(share->options, share->n_options);
	const struct fs_type *type = fs_type_find(share->type);
	bool always = type && type->always;
	char *list = arena_printf(call->arena, "%s,%s%s%s",
		attributes & MOUNT_ATTR_NOSUID ? "nosuid" : "suid",
		attributes & MOUNT_ATTR_NODEV ? "nodev" : "dev", always ? "," : "",
		always ? type->always : "");

	for (size_t i = 0; i < share->n_options && list; i++) {
		const Postern__V1__MountOption *option = share->options[i];
		bool has_value = option->has_value && option->value.len > 0;

		if (has_value && !is_plain(option->value.data, option->value.len))
			return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
				"options: the value of %s holds characters that a unit cannot",
				option->key);
		if (strcmp(option->key, "suid") == 0 || strcmp(option->key, "nosuid") == 0 ||
			strcmp(option->key, "dev") == 0 || strcmp(option->key, "nodev") == 0)
			continue;
		list = arena_printf(call->arena, "%s,%s%s%.*s", list, option->key,
			has_value ? "=" : "", has_value ? (int)option->value.len : 0,
			has_value ? (const char *)option->value.data : "");
	}
	*ret = list;
	return list ? 0 : -ENOMEM;
}

static int write_unit_file(struct call *call, const struct mount_unit *unit, const char *target)
{
	char *text = arena_printf(call->arena,
		"# Made by Postern (shares.mount); shares.unmount removes it.\n"
		"[Unit]\nDescription=Share mounted by Postern\n\n"
		"[Mount]\nWhat=%s\nWhere=%s\nType=%s\nOptions=%s\n\n"
		"[Install]\nWantedBy=multi-user.target\n",
		unit->what, target, unit->type, unit->options);
	char *path = arena_printf(call->arena, UNIT_DIR "/%s", unit->name);
	char *wants = arena_printf(call->arena, WANTS_DIR "/%s", unit->name);
	int r;

	if (!text || !path || !wants)
		return -ENOMEM;
	r = replace_file(AT_FDCWD, path, 0644, text, strlen(text));
	if (r < 0)
		return r;
	if (mkdir(WANTS_DIR, 0755) < 0 && errno != EEXIST)
		return -errno;
	(void)unlink(wants);
	return symlink(path, wants) < 0 ? -errno : 0;
}

int share_unit_start(struct call *call, const char *key, Postern__V1__Share *share)
{
	struct mount_unit unit = {.type = share->type};
	char *target = arena_copy(call->arena, share->target.data, share->target.len),
	     *options = NULL;
	int r;

	unit.name = share->unit = arena_printf(call->arena, "%s.mount", key);
	unit.what = share->has_source
			    ? arena_copy(call->arena, share->source.data, share->source.len)
			    : (char *)share->type;
	if (!target || !unit.name || !unit.what)
		return -ENOMEM;
	if (!is_plain(share->target.data, share->target.len))
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"target: holds characters that a unit cannot");
	if (share->has_source && !is_plain(share->source.data, share->source.len))
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"source: holds characters that a unit cannot");
	r = join_options(call, share, &options);
	if (r < 0)
		return r;
	unit.options = options;
	if (share->persistent)
		r = write_unit_file(call, &unit, target);
	if (r == 0 && share->persistent)
		r = systemd_reload();
	if (r == 0)
		r = systemd_mount_start(&unit, !share->persistent);
	if (r < 0) {
		share_unit_remove(key, share);
		return call_fail_errno(call, r, "the unit %s could not be started", unit.name);
	}
	return 0;
}

int share_unit_start_again(struct call *call, const Postern__V1__Share *share)
{
	const struct mount_unit unit = {.name = share->unit, .type = share->type};
	int r = systemd_mount_start(&unit, false);

	return r < 0 ? call_fail_errno(call, r, "the unit %s could not be started", share->unit)
		     : 0;
}

/* Where the service is that mounts one share again, or NULL. */
static const char *find_template(void)
{
	const char *own = UNIT_DIR "/" TEMPLATE, *packaged = "/usr/lib/systemd/system/" TEMPLATE;

	if (access(own, F_OK) == 0)
		return own;
	return access(packaged, F_OK) == 0 ? packaged : NULL;
}

int share_service_enable(struct call *call, const char *key, Postern__V1__Share *share)
{
	const char *template = init_kind() == INIT_SYSTEMD ? find_template() : NULL;
	char *unit, *wants;

	if (!template || share_has_unit(share->type))
		return 0;
	unit = arena_printf(call->arena, SERVICE_PREFIX "%s.service", key);
	wants = arena_printf(call->arena, WANTS_DIR "/%s", unit);
	if (!unit || !wants)
		return -ENOMEM;
	if (mkdir(WANTS_DIR, 0755) < 0 && errno != EEXIST)
		return -errno;
	(void)unlink(wants);
	if (symlink(template, wants) < 0)
		return -errno;
	share->unit = unit;
	return 0;
}

void share_service_start(const Postern__V1__Share *share)
{
	if (share->persistent && share->unit && !share_has_unit(share->type))
		(void)systemd_start(share->unit);
}

void share_unit_remove(const char *key, const Postern__V1__Share *share)
{
	char path[512];

	if (!share->unit)
		return;
	(void)snprintf(path, sizeof(path), WANTS_DIR "/%s", share->unit);
	(void)unlink(path);
	if (!share_has_unit(share->type ? share->type : "")) {
		(void)systemd_stop(share->unit);
	} else {
		(void)snprintf(path, sizeof(path), UNIT_DIR "/%s.mount", key);
		if (unlink(path) == 0)
			(void)systemd_reload();
	}
	systemd_reset_failed(share->unit);
}
