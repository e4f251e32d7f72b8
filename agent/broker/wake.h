/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* That the guest has slept, whoever brought it to sleep. */
#pragma once

#include "agent/broker/broker.h"

/*
 * Watches for it: when the guest is awake again its generation is looked at, and the host is told
 * that the agent is ready, since after a sleep on disk it may be another program that waits there.
 * Without such a timer of the kernel's nothing is watched.
 */
void wake_start(struct broker *broker);
