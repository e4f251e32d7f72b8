/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The end of the agent: callers get their goodbye and changes under way come to an end, both within
 * a bounded time; what is left then is killed.
 */
#pragma once

#include "agent/broker/broker.h"

/* Takes nobody new in, and has every session say goodbye. The loop ends once nothing is left to
 * wait for, at the latest after two seconds. Doing it twice is harmless. */
void stop_begin(struct broker *broker);

/* A session or a call is gone: the last one ends the loop of an agent that is stopping. */
void stop_check(struct broker *broker);

/* After the loop: kills what still runs and waits, shortly, for it to be gone. */
void stop_end(struct broker *broker);
