/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What `postern forward` says: lines and a table, or JSON, a line each. */
#pragma once

#include "host/cli/command.h"
#include "host/cli/forward_spec.h"

#define FORWARD_SPECS_MAX 64

struct forward_tell {
	struct cli *cli;
	const char *vm;
	struct forward_spec *specs; /* borrowed */
	size_t n;
	/* Of connections that are open, for the next table. */
	uint64_t to_guest[FORWARD_SPECS_MAX], from_guest[FORWARD_SPECS_MAX];
};

/* All of them listen. */
void forward_tell_start(struct forward_tell *tell);

/* Something has happened: a word for machines, and a sentence. */
void forward_tell_event(struct forward_tell *tell, const char *event, const char *sentence);

/* The guest could not connect. */
void forward_tell_failed(
	struct forward_tell *tell, const struct forward_spec *spec, int32_t sys_errno);

/* Bytes of one that is open. */
void forward_tell_add(struct forward_tell *tell, const struct forward_spec *spec, uint64_t to_guest,
	uint64_t from_guest);

/* The counts of all. */
void forward_tell_counts(struct forward_tell *tell);
