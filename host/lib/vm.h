/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <jansson.h>

#include "host/lib/postern.h"

struct postern_vm {
	char *name;
	char env[64]; /* "": the environment without a name */
	enum postern_vm_status status;
	json_t *details; /* the supervisor's status, or what the directory tells */
	char **problems; /* "channel lost: the VM must be restarted" */
	size_t n_problems;
};
