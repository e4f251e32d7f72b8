/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A job's facts as the protocol's message. */
#pragma once

#include "agent/inner.h"
#include "exec.pb-c.h"
#include "proto/arena.h"

/* In the arena, or NULL over its cap or without memory; texts are borrowed from the facts. */
Postern__V1__Job *job_message(struct arena *arena, const struct job_facts *facts);
