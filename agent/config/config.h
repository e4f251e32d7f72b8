/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The agent's settings: built-in values, then /etc/postern/postern.conf (KEY = VALUE, one a line, #
 * comments), then postern.KEY=VALUE words of the kernel command line, the last one wins. Paths stay
 * below PATH_MAX; a value is at most 255 bytes, a list of folders 1023.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/log.h"

#define CONFIG_DEFAULT_FILE "/etc/postern/postern.conf"

struct config {
	bool vsock;               /* listen on AF_VSOCK */
	uint32_t vsock_port;      /* 1 to 2^32-2 */
	uint32_t ready_port;      /* of the host, told when the agent is ready; 0: nobody is told */
	char socket[256];         /* guest-local UNIX socket; empty: none */
	uint32_t vsh_port;        /* for clients of vsh; 0: none */
	char vsh_socket[256];     /* the same on a UNIX socket; empty: none */
	char run_dir[256];        /* state of this boot, a tmpfs */
	char state_dir[256];      /* state that outlives a boot */
	char policy_dir[256];     /* *.policy, in lexical order */
	char hooks_dir[256];      /* a folder of programs for each event (agent/hook_event.h) */
	char libexec_dir[256];    /* the agent's other programs */
	char user[64];            /* whom unprivileged roles run as */
	char sysctl_allow[512];   /* patterns with spaces between; empty: none */
	bool renew_machine_id;    /* in a guest that was restored */
	char files_roots[1024];   /* folders for files.*, with colons between; empty: none */
	char disks_folders[1024]; /* where disks for disks.* are mounted below; the same */
	char disks_repository[256]; /* folder that disks.* call "__repository__"; empty: none */
	uint32_t sample_interval_s; /* of the load sampler, 1 to 3600 */
	uint32_t history_s;         /* how far back the load history goes, up to a week */
	uint32_t save_interval_s;   /* between two writes of it to disk; 0: never */
	enum log_level log_level;
};

/* Fills in the built-in values. */
void config_init(struct config *config);

/* Sets one key. 0, or -EINVAL with problem[0..size) saying what was expected (also for a key that
 * does not exist). */
int config_set(
	struct config *config, const char *name, const char *value, char *problem, size_t size);

/* Reads a file. 0; -ENOENT where it does not exist; -EINVAL with problem as "FILE:LINE: ...";
 * -errno of reading with problem filled too. */
int config_read_file(struct config *config, const char *path, char *problem, size_t size);

/* Takes the postern.* words of a kernel command line. An unknown key or bad value is an error as
 * above: a typing mistake must not silently widen or lose anything. */
int config_read_cmdline(struct config *config, const char *path, char *problem, size_t size);

/* Prints every key with its value and meaning to standard output. */
void config_print(const struct config *config);
