/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What happens once the agent can serve: it listens, tells the service manager, and tells the host.
 */
#pragma once

#include "agent/broker/broker.h"

/* Does all that, the first time it is called. Failing to listen stops the agent. */
void ready_all(struct broker *broker);

/* Tells the host once more, if it was told. */
void ready_again(struct broker *broker);

/* Stops telling the host. */
void ready_stop(struct broker *broker);
