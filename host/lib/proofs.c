/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/proofs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "host/common/file.h"
#include "host/common/json_line.h"
#include "host/lib/tools.h"
#include "proto/cleanup.h"

#define FILE_NAME  "proofs.json"
#define PROOFS_MAX 32

static char *file_path(void)
{
	AUTO_FREE char *dir = tool_cache_dir();

	return dir && make_dirs(dir) == 0 ? text_format("%s/" FILE_NAME, dir) : NULL;
}

static json_t *read_all(const char *path)
{
	json_t *proofs = NULL;

	if (!path || file_read_json(AT_FDCWD, path, &proofs) < 0)
		proofs = json_object();
	return proofs;
}

int proof_find(const char *key)
{
	AUTO_FREE char *path = file_path();
	AUTO_JSON json_t *proofs = read_all(path);
	const json_t *known = json_object_get(proofs, key);

	return json_is_boolean(known) ? json_is_true(known) : -ENOENT;
}

void proof_keep(const char *key, bool yes)
{
	AUTO_FREE char *path = file_path();
	AUTO_JSON json_t *proofs = read_all(path);

	if (json_object_size(proofs) >= PROOFS_MAX)
		(void)json_object_clear(proofs);
	if (path && json_object_set_new(proofs, key, json_boolean(yes)) == 0)
		(void)file_replace_json(AT_FDCWD, path, proofs);
}

char *proof_of_file(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return NULL;
	return text_format("%s %lld %lld", path, (long long)st.st_mtime, (long long)st.st_size);
}
