/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conditions on the guest's load as people type them: "load1>4", "memory<64M", "io-pressure>20". */
#pragma once

#include <jansson.h>

/* Adds the condition to the JSON form of a LoadThreshold. 0, -EINVAL for a text that is none, or
 * -ENOMEM. */
int load_condition_add(json_t *threshold, const char *text);
