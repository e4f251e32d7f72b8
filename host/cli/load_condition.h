/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conditions on the guest's load as people type them: "load1>4", "memory<64M", "io-pressure>20". */
#pragma once

#include "proto/client/subscribe.h"

/* Adds the condition. 0, or -EINVAL for a text that is none. */
int load_condition_add(struct postern_threshold *threshold, const char *text);
