/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/inner.h"
#include "agent/methods/call.h"
#include "channels.pb-c.h"

/* A grant as an answer has it, in the call's arena; NULL without memory. */
Postern__V1__Channel *grant_message(struct call *call, const struct grant *grant);
