/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The load history on disk. A short-lived worker writes it, never the broker or the watcher: anyone
 * may freeze a file system, and then only that worker hangs.
 */
#pragma once

#include "agent/broker/broker.h"

/* Starts to write the history to the state folder, unless a writer is still at it. */
void saver_start(struct broker *broker);
