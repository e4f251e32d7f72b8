/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/broker/broker.h"

/* Looks at the agent's own processes, the broker included. Blocks for a few reads below /proc. */
void footprint_take(const struct broker *broker, struct footprint *ret);
