/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* posternd as a service: one process that is started again when it ends, not too often. */
#pragma once

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct service {
	pid_t pid;           /* 0: not running */
	uint64_t started_ns; /* CLOCK_MONOTONIC */
	uint64_t again_ns;   /* when to start it again; 0: it runs */
	unsigned int quick;  /* ends in a row that came soon after the start */
};

/* Starts it now. */
void service_start(struct service *service);

/* A process has ended; nothing happens when it is another one. */
void service_ended(struct service *service, pid_t pid, int status);

/* How long there is nothing to do for the service. */
void service_wait(const struct service *service, struct timespec *ret);

/* Starts it again when that is due. */
void service_check(struct service *service);
