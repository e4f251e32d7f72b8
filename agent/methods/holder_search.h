/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of holders_find(): one search, and the places where it looks. */
#pragma once

#include <libmount/libmount.h>
#include <stdbool.h>
#include <sys/types.h>

#include "agent/methods/holders.h"
#include "agent/methods/process.h"

#define NAMESPACES_MAX 4096

struct search {
	struct call *call;
	struct holders *found;
	const char *target;
	size_t target_len;
	int mount_id;
	unsigned int major, minor;
	ino_t own_namespace;
	char peer[24];     /* ":N" of our peer group, empty: none */
	ino_t *namespaces; /* owned; others, each looked at once */
	size_t namespaces_n;
	size_t bytes, most_bytes; /* that the holders take in a frame, about; and may take */
	pid_t left_out;           /* the last one for whom there was no room */
	bool failed;
};

/* Remembers one use by a process (NULL: by the kernel). The uses of one come one after another. */
void search_add(struct search *search, const struct process *process, Postern__V1__UseKind kind,
	const char *path, int fd);

/* ---- holder_process.c ---- */

/* Its descriptors, folders, program and mappings, and its mount namespace unless another process of
 * that was looked at already. */
void search_process(struct search *search, const struct process *process);

/* ---- holder_kernel.c ---- */

/* Nested mounts, by the table of our own namespace; our peer group is found on the way. */
void search_nested(struct search *search, struct libmnt_table *table);
void search_loop_devices(struct search *search);
void search_swap(struct search *search);
