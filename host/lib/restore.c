/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/json_line.h"
#include "host/common/vm_files.h"
#include "proto/cleanup.h"

static int read_config(const char *dir, struct vm_config *config, struct postern_error *error)
{
	AUTO_FREE char *path = text_format("%s/" VM_FILE_CONFIG, dir);
	AUTO_JSON json_t *object = NULL;
	int r = path ? file_read_json(AT_FDCWD, path, &object) : -ENOMEM;

	if (r == -ENOENT)
		return fail(error, POSTERN_USAGE, ENOENT,
			"%s is no snapshot, or one that was not completed: there is no "
			"" VM_FILE_CONFIG " in it",
			dir);
	if (r < 0)
		return fail_errno(error, POSTERN_USAGE, -r, "%s/" VM_FILE_CONFIG, dir);
	return vm_config_from_json(object, config, error);
}

/* What the snapshot's own launch found on the host may have moved since. */
static int renew(const struct vmm_kind *kind, char *dir, struct vm_config *config,
	struct postern_error *error)
{
	free(config->name);
	config->name = NULL;
	free(config->restore);
	config->restore = dir;
	free(config->vmm);
	config->vmm = vmm_kind_program(kind);
	return config->vmm
		       ? 0
		       : fail(error, POSTERN_ABSENT, ENOENT, "%s is not installed: there is no %s",
				 kind->title, kind->program);
}

int restore_config(const struct postern_launch *launch, const struct vmm_kind **ret_kind,
	struct vm_config *ret_config, struct postern_error *error)
{
	AUTO_FREE char *dir = realpath(launch->restore, NULL);
	struct vm_config config = {0};
	const struct vmm_kind *kind = NULL;
	int r;

	if (!dir)
		return fail_errno(error, POSTERN_USAGE, errno, "%s", launch->restore);
	r = read_config(dir, &config, error);
	if (r < 0)
		return r;
	kind = vmm_kind_find(config.driver);
	if (!kind) {
		r = fail(error, POSTERN_USAGE, EINVAL, "%s: there is no driver for the VMM %s", dir,
			config.driver);
		vm_config_done(&config);
		return r;
	}
	if (launch->vmm && strcmp(launch->vmm, kind->name) != 0)
		r = fail(error, POSTERN_USAGE, EINVAL, "%s is a snapshot of %s, not of %s", dir,
			kind->name, launch->vmm);
	else
		r = renew(kind, take_ptr(dir), &config, error);
	if (r < 0) {
		vm_config_done(&config);
		return r;
	}
	*ret_kind = kind;
	*ret_config = config;
	return 0;
}
