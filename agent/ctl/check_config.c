/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "agent/ctl/ctl.h"
#include "agent/policy/policy.h"
#include "proto/client/client.h"
#include "proto/log.h"

/* How much of the method table each kind of caller may use. */
static void print_policy(const struct policy *policy)
{
	static const struct identity identities[] = {{IDENTITY_HOST, 0}, {IDENTITY_HOST_ROOT, 0},
		{IDENTITY_GUEST, 3}, {IDENTITY_LOCAL, 0}, {IDENTITY_LOCAL, 65534}};

	printf("\n%zu rules\n", policy->n);
	for (size_t i = 0; i < sizeof(identities) / sizeof(identities[0]); i++) {
		struct verdicts verdicts;
		char name[64];
		size_t allowed = policy_verdicts(policy, &identities[i], &verdicts);

		identity_print(&identities[i], name, sizeof(name));
		printf("  %-12s may use %zu of %d methods and topics\n", name, allowed,
			METHOD_COUNT + TOPIC_COUNT);
	}
}

int ctl_check_config(const char *settings, int argc, char **argv)
{
	struct policy policy = {0};
	struct config config;
	char problem[512];
	int r;

	if (argc > 2) {
		log_error("usage: posternd check-config [FILE]");
		return POSTERN_USAGE;
	}
	r = ctl_settings(argc > 1 ? argv[1] : settings, &config);
	if (r != 0)
		return r;
	if (policy_read(&policy, config.policy_dir, problem, sizeof(problem)) < 0) {
		log_error("%s", problem);
		return POSTERN_ANSWERED;
	}
	config_print(&config);
	print_policy(&policy);
	policy_clear(&policy);
	return 0;
}
