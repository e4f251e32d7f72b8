/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/quarantine.h"

#include <unistd.h>

#include "agent/broker/freeze.h"
#include "agent/broker/stuck.h"
#include "proto/log.h"

static void add(struct quarantine *quarantine, const struct stuck *stuck)
{
	for (uint32_t i = 0; i < quarantine->n; i++) {
		if (quarantine->place[i].device != stuck->device)
			continue;
		quarantine->place[i].writes_only &= stuck->writes_only;
		return;
	}
	quarantine->place[quarantine->n].device = stuck->device;
	quarantine->place[quarantine->n++].writes_only = stuck->writes_only;
}

void quarantine_publish(const struct broker *broker)
{
	struct quarantine quarantine = {.many = stuck_many(broker)};

	freeze_describe(broker, &quarantine.freeze);
	for (size_t i = 0; i < STUCK_MAX; i++)
		if (broker->stuck[i].pid > 0 && broker->stuck[i].device != 0)
			add(&quarantine, &broker->stuck[i]);
	if (pwrite(broker->sources.quarantine, &quarantine, sizeof(quarantine), 0) < 0)
		log_warning("the quarantine could not be written");
}
