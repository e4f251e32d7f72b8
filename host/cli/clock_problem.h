/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <jansson.h>

/*
 * What is wrong with a guest's clock, as the supervisor tells of problems: {"problem", "help"}, a
 * new reference. The agent is asked, for 2 s at most. NULL where the clock agrees with ours to a
 * second and what the question took, or nobody tells.
 */
json_t *clock_problem(const char *name);
