/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What readers and workers look at before they touch anything: struct quarantine. */
#pragma once

#include "agent/broker/broker.h"

/* Writes it down anew, after the list of processes that hang or what is frozen has changed. */
void quarantine_publish(const struct broker *broker);
