/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one table of file system types that Postern mounts: which module each needs, where a mount's
 * source comes from, and which options may be given. What a mount may use and what postern-kmod may
 * load for it are both read here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum source_kind {
	SOURCE_NONE,   /* no source: tmpfs, overlay */
	SOURCE_DEVICE, /* a block device below /dev */
	SOURCE_TAG,    /* a name that the host gave to a device: virtiofs, 9p */
	SOURCE_REMOTE, /* a server: nfs4, cifs, ceph */
};

#define FS_MODULES_MAX 2

struct fs_type {
	const char *name;
	const char *modules[FS_MODULES_MAX]; /* all that it needs; none: always built in */
	const char *options; /* keys of its own that may be given, separated by blanks */
	enum source_kind source;
	bool share;         /* shares.mount takes it */
	bool unit;          /* on a systemd guest a .mount unit stands for it */
	const char *secret; /* option that takes its secret; NULL: it has none */
	const char *always; /* "KEY=VALUE" that is always given; NULL: nothing */
};

/* The row of a type, NULL where it is not allowed. */
const struct fs_type *fs_type_find(const char *name);

/* True when the type takes this option. */
bool fs_type_takes(const struct fs_type *type, const char *key);

/* All rows. */
const struct fs_type *fs_types(size_t *ret_n);
