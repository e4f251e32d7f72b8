/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The way to postern-kmod, the only program that may load modules. */
#pragma once

#include "agent/broker/broker.h"

/* Answers a worker's or reader's INNER_WANT_KMOD with a connection: to the socket of postern-kmod's
 * own unit where there is one, else to a process that the keeper starts for it. Who runs no method
 * that changes something gets one that loads nothing. */
void kmod_connect(struct child *worker);
