/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What became of a change whose worker was killed: a fresh reader looks, and answers for it with an
 * error that says whether the change is in effect.
 */
#pragma once

#include "agent/methods/call.h"

/* why is enum ended_why of agent/inner.h. 0 or -errno of emitting. */
int settle(struct call *call, const uint8_t *params, size_t len, uint32_t why);
