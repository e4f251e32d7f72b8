/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a worker may ask of the broker, whoever it works for. */
#pragma once

#include "agent/broker/broker.h"

/* Sees to what a worker says while it works: the device it is about to touch, that it wants
 * postern-kmod, an event (a descriptor, borrowed), its channels, its job. body is the message's.
 * False for anything else, which is its owner's to judge. */
bool worker_serve(struct child *worker, const struct inner_message *message, const void *body,
	int *fds, size_t n_fds);
