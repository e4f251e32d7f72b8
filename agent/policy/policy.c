/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/policy/policy.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/policy/rule.h"
#include "proto/cleanup.h"
#include "proto/line.h"

#define RULES_MAX 4096

static int add_rule(struct policy *policy, const struct rule *rule)
{
	struct rule *rules;

	if (policy->n == RULES_MAX)
		return -E2BIG;
	rules = reallocarray(policy->rules, policy->n + 1, sizeof(*rules));
	if (!rules)
		return -ENOMEM;
	rules[policy->n++] = *rule;
	policy->rules = rules;
	return 0;
}

static int read_file(
	struct policy *policy, const char *dir, const char *name, char *problem, size_t size)
{
	char path[PATH_MAX], line[LINE_SIZE], why[RULE_WHY_MAX];
	AUTO_FILE FILE *file = NULL;
	const char *unread = "";
	int r;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "re");
	if (!file) {
		r = -errno;
		(void)snprintf(problem, size, "%s: %s", path, strerror(-r));
		return r;
	}
	for (unsigned int number = 1; (r = line_read(file, line, &unread)) != 0; number++) {
		struct rule rule;

		if (r < 0)
			(void)snprintf(why, sizeof(why), "%s", unread);
		else
			r = rule_parse(line, &rule, why);
		if (r > 0) {
			(void)snprintf(rule.place, sizeof(rule.place), "%.48s:%u", name, number);
			r = add_rule(policy, &rule);
			if (r < 0)
				rule_clear(&rule);
		}
		if (r < 0) {
			(void)snprintf(problem, size, "%s:%u: %s", path, number,
				r == -EINVAL ? why : strerror(-r));
			return r;
		}
	}
	return 0;
}

static int is_policy_file(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return entry->d_name[0] != '.' && len > 7 &&
	       strcmp(entry->d_name + len - 7, ".policy") == 0;
}

int policy_read(struct policy *policy, const char *dir, char *problem, size_t size)
{
	struct dirent **entries = NULL;
	int n = scandir(dir, &entries, is_policy_file, alphasort), r = 0;

	if (n < 0) {
		r = -errno;
		(void)snprintf(problem, size, "%s: %s", dir, strerror(-r));
		return r;
	}
	if (n == 0) {
		r = -ENOENT;
		(void)snprintf(problem, size,
			"%s: holds no *.policy file; without one nobody may do anything", dir);
	}
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = read_file(policy, dir, entries[i]->d_name, problem, size);
		free(entries[i]);
	}
	free(entries);
	if (r < 0)
		policy_clear(policy);
	return r;
}

void policy_clear(struct policy *policy)
{
	for (size_t i = 0; i < policy->n; i++)
		rule_clear(&policy->rules[i]);
	free(policy->rules);
	*policy = (struct policy){0};
}

enum allowed policy_decide(const struct policy *policy, const struct identity *identity,
	const char *name, const struct rule **ret_rule)
{
	const struct rule *allow = NULL;
	bool some_allow = false, some_deny = false;

	*ret_rule = NULL;
	for (size_t i = 0; i < policy->n; i++) {
		const struct rule *rule = &policy->rules[i];

		if (!rule_covers(rule, identity) || !rule_names(rule, name))
			continue;
		if (rule_has_conditions(rule)) {
			some_allow |= rule->allow;
			some_deny |= !rule->allow;
		} else if (!rule->allow) {
			*ret_rule = rule;
			return ALLOWED_NO;
		} else if (!allow) {
			allow = rule;
		}
	}
	if (allow && !some_deny) {
		*ret_rule = allow;
		return ALLOWED_YES;
	}
	return allow || some_allow ? ALLOWED_BY_PARAMETERS : ALLOWED_NO;
}

static size_t decide(const struct policy *policy, const struct identity *identity, const char *name,
	struct verdict *ret)
{
	const struct rule *rule;
	enum allowed allowed = policy_decide(policy, identity, name, &rule);

	*ret = (struct verdict){.allowed = (uint8_t)allowed};
	if (allowed == ALLOWED_NO && rule)
		(void)snprintf(ret->rule, sizeof(ret->rule), "%s", rule->place);
	return allowed != ALLOWED_NO;
}

size_t policy_verdicts(
	const struct policy *policy, const struct identity *identity, struct verdicts *ret_verdicts)
{
	size_t allowed = 0;

	for (int i = 0; i < METHOD_COUNT; i++)
		allowed += decide(policy, identity, method_rows[i].name, &ret_verdicts->method[i]);
	for (int i = 0; i < TOPIC_COUNT; i++)
		allowed += decide(policy, identity, topic_rows[i].name, &ret_verdicts->topic[i]);
	return allowed;
}

static int add_clause(
	const struct rule *rule, const struct verdicts *verdicts, struct buffer *clauses)
{
	size_t len = buffer_len(&rule->conditions), size = sizeof(struct clause) + len;
	struct clause clause = {.size = (uint32_t)size, .allow = rule->allow};
	bool any = false;
	uint8_t *at;

	for (int i = 0; i < METHOD_COUNT; i++) {
		if (verdicts->method[i].allowed != ALLOWED_BY_PARAMETERS ||
			!rule_names(rule, method_rows[i].name))
			continue;
		clause.methods[i / 8] = (uint8_t)(clause.methods[i / 8] | 1 << i % 8);
		any = true;
	}
	if (!any)
		return 0;
	(void)snprintf(clause.rule, sizeof(clause.rule), "%s", rule->place);
	at = buffer_reserve(clauses, CLAUSE_ALIGN(size));
	if (!at)
		return -ENOMEM;
	memset(at, 0, CLAUSE_ALIGN(size));
	memcpy(at, &clause, sizeof(clause));
	if (len > 0)
		memcpy(at + sizeof(clause), buffer_front(&rule->conditions), len);
	buffer_commit(clauses, CLAUSE_ALIGN(size));
	return 0;
}

int policy_clauses(const struct policy *policy, const struct identity *identity,
	const struct verdicts *verdicts, struct buffer *clauses)
{
	int r = 0;

	for (size_t i = 0; i < policy->n && r == 0; i++)
		if (rule_covers(&policy->rules[i], identity))
			r = add_clause(&policy->rules[i], verdicts, clauses);
	return r;
}
