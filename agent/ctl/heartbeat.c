/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* posternd heartbeat: a sign of life from a script. */
#include <getopt.h>

#include "agent/ctl/ctl.h"
#include "heartbeat.pb-c.h"
#include "proto/log.h"

static int usage(void)
{
	log_error("usage: posternd heartbeat [--deadline SECONDS] NAME, or --end NAME");
	return POSTERN_USAGE;
}

static int beat(const char *settings, char *name, bool has_deadline, uint64_t deadline_ms)
{
	Postern__V1__HeartbeatBeatRequest request = POSTERN__V1__HEARTBEAT_BEAT_REQUEST__INIT;

	request.name = name;
	request.has_deadline_ms = has_deadline;
	request.deadline_ms = deadline_ms;
	/* This process is not the one whose life it is about. */
	request.has_detached = request.detached = true;
	return ctl_ask(settings, "heartbeat.beat", &request.base,
		&postern__v1__heartbeat_beat_reply__descriptor, NULL, NULL);
}

static int end(const char *settings, char *name)
{
	Postern__V1__HeartbeatEndRequest request = POSTERN__V1__HEARTBEAT_END_REQUEST__INIT;

	request.name = name;
	return ctl_ask(settings, "heartbeat.end", &request.base,
		&postern__v1__heartbeat_end_reply__descriptor, NULL, NULL);
}

int ctl_heartbeat(const char *settings, int argc, char **argv)
{
	static const struct option options[] = {
		{"deadline", required_argument, NULL, 'd'}, {"end", no_argument, NULL, 'e'}, {0}};
	bool ends = false, has_deadline = false;
	uint64_t deadline_ms = 0;
	int option;

	while ((option = getopt_long(argc, argv, "d:e", options, NULL)) >= 0) {
		if (option == 'e')
			ends = true;
		else if (option == 'd' && ctl_seconds(optarg, &deadline_ms) == 0)
			has_deadline = true;
		else
			return usage();
	}
	if (argc - optind != 1 || (ends && has_deadline))
		return usage();
	return ends ? end(settings, argv[optind])
		    : beat(settings, argv[optind], has_deadline, deadline_ms);
}
