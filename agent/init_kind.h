/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What runs as process 1, for everything that differs by it. */
#pragma once

enum init_kind {
	INIT_OTHER,
	INIT_SYSTEMD,
	INIT_POSTERN,
	INIT_SYSVINIT, /* with OpenRC or without */
	INIT_OPENRC,   /* OpenRC's own process 1, openrc-init */
	INIT_BUSYBOX,
	INIT_KIND_COUNT,
};

#define INIT_SYSVINIT_FIFO "/run/initctl"
#define INIT_OPENRC_FIFO   "/run/openrc/init.ctl"

/* Looks at what each leaves for others to see: files, and the name of process 1. Needs no right. */
enum init_kind init_kind(void);

/* As system.info has it: "systemd". */
const char *init_kind_name(enum init_kind kind);
