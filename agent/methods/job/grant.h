/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/job/job.h"
#include "channels.pb-c.h"

/* Takes the next of the answer's grants for the port, as the answer has it; NULL: there is none
 * left, or no memory. */
Postern__V1__Channel *grant_channel(struct call *call, struct port *port);
