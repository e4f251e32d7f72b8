/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clients of vsh, the shell of other virtual machine tools. What they say is read by postern-job
 * alone (agent/job/vsh.h): here is decided whether they get one.
 */
#pragma once

#include "agent/broker/broker.h"

/* Hands the connection (borrowed) to a fresh process. NULL, or why not, in at most 100 bytes. */
const char *vsh_start(struct broker *broker, int socket, const struct identity *identity);

/* Says so to the client, and that nothing more comes. Never blocks. */
void vsh_refuse(int socket, const char *why);
