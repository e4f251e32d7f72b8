/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One rule of a policy: a line of it (policy.h). */
#pragma once

#include "agent/policy/identity.h"
#include "agent/policy/policy.h"
#include "proto/buffer.h"

struct rule {
	bool allow;
	bool any_number; /* guest:*, local:* */
	struct identity identity;
	char *methods;            /* owned; patterns separated by blanks */
	struct buffer conditions; /* owned; packed (condition.h); empty: it asks for none */
	char place[VERDICT_PLACE_MAX - 1];
};

#define RULE_WHY_MAX 256

/* Reads a line, which it takes apart. 1: a rule, which rule_clear() releases; 0: nothing is on the
 * line; -EINVAL with what was expected in why; -ENOMEM. */
int rule_parse(char *line, struct rule *ret, char why[RULE_WHY_MAX]);

void rule_clear(struct rule *rule);

bool rule_covers(const struct rule *rule, const struct identity *identity);

/* Whether one of its patterns is that of a method or topic. */
bool rule_names(const struct rule *rule, const char *name);

/* It asks for parameters. */
bool rule_has_conditions(const struct rule *rule);
