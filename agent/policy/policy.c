/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/policy/policy.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cleanup.h"
#include "proto/line.h"

#define RULES_MAX    4096
#define METHOD_CHARS "abcdefghijklmnopqrstuvwxyz0123456789_.*-"

struct rule {
	bool allow;
	enum identity_kind kind;
	bool any_number; /* guest:*, local:* */
	uint32_t number;
	char *methods; /* owned; patterns separated by blanks */
	char place[VERDICT_PLACE_MAX - 1];
};

void identity_print(const struct identity *identity, char *text, size_t size)
{
	switch (identity->kind) {
	case IDENTITY_HOST:
		(void)snprintf(text, size, "host");
		break;
	case IDENTITY_HOST_ROOT:
		(void)snprintf(text, size, "host-root");
		break;
	case IDENTITY_GUEST:
		(void)snprintf(text, size, "guest:%u", identity->number);
		break;
	case IDENTITY_LOCAL:
		(void)snprintf(text, size, "local:%u", identity->number);
		break;
	}
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
	return a->kind == b->kind && a->number == b->number;
}

/* Parses the number of "guest:5" or "local:*". */
static int parse_number(const char *text, struct rule *rule)
{
	char *end;
	unsigned long number;

	if (strcmp(text, "*") == 0) {
		rule->any_number = true;
		return 0;
	}
	errno = 0;
	number = strtoul(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || *text == '-' || *text == '+' ||
		number >= UINT32_MAX)
		return -EINVAL;
	rule->number = (uint32_t)number;
	return 0;
}

static int parse_identity(const char *text, struct rule *rule)
{
	if (strcmp(text, "host") == 0) {
		rule->kind = IDENTITY_HOST;
		return 0;
	}
	if (strcmp(text, "host-root") == 0) {
		rule->kind = IDENTITY_HOST_ROOT;
		return 0;
	}
	if (strncmp(text, "guest:", 6) == 0) {
		rule->kind = IDENTITY_GUEST;
		return parse_number(text + 6, rule);
	}
	if (strncmp(text, "local:", 6) == 0) {
		rule->kind = IDENTITY_LOCAL;
		return parse_number(text + 6, rule);
	}
	return -EINVAL;
}

/* Parses one line into *rule. 1: a rule; 0: nothing on it; -EINVAL with *ret_why. */
static int parse_line(char *line, struct rule *rule, const char **ret_why)
{
	char *word, *rest = NULL, *comment = strchr(line, '#');
	size_t len = 0;

	if (comment)
		*comment = '\0';
	word = strtok_r(line, " \t\r\n", &rest);
	if (!word)
		return 0;
	*ret_why = "expected allow or deny";
	if (strcmp(word, "allow") != 0 && strcmp(word, "deny") != 0)
		return -EINVAL;
	rule->allow = word[0] == 'a';
	*ret_why = "expected host, host-root, guest:CID or local:UID";
	word = strtok_r(NULL, " \t\r\n", &rest);
	if (!word || parse_identity(word, rule) < 0)
		return -EINVAL;
	*ret_why = "expected at least one method or topic";
	rule->methods = calloc(1, LINE_SIZE);
	if (!rule->methods)
		return -ENOMEM;
	while ((word = strtok_r(NULL, " \t\r\n", &rest))) {
		if (word[strspn(word, METHOD_CHARS)] != '\0') {
			*ret_why = "a method is made of a-z, 0-9, '_', '.', '-' and '*'";
			return -EINVAL;
		}
		len += (size_t)snprintf(
			rule->methods + len, LINE_SIZE - len, "%s%s", len ? " " : "", word);
	}
	return len > 0 ? 1 : -EINVAL;
}

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
	char path[PATH_MAX], line[LINE_SIZE];
	AUTO_FILE FILE *file = NULL;
	const char *why = "";
	int r;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "re");
	if (!file) {
		r = -errno;
		(void)snprintf(problem, size, "%s: %s", path, strerror(-r));
		return r;
	}
	for (unsigned int number = 1; (r = line_read(file, line, &why)) != 0; number++) {
		struct rule rule = {0};

		if (r > 0)
			r = parse_line(line, &rule, &why);
		(void)snprintf(rule.place, sizeof(rule.place), "%.48s:%u", name, number);
		if (r > 0)
			r = add_rule(policy, &rule);
		if (r < 0) {
			free(rule.methods);
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
		free(policy->rules[i].methods);
	free(policy->rules);
	*policy = (struct policy){0};
}

static bool rule_covers(const struct rule *rule, const struct identity *identity)
{
	if (identity->kind == IDENTITY_HOST_ROOT)
		return rule->kind == IDENTITY_HOST_ROOT || rule->kind == IDENTITY_HOST;
	if (rule->kind != identity->kind)
		return false;
	return identity->kind == IDENTITY_HOST || rule->any_number ||
	       rule->number == identity->number;
}

static bool rule_names(const struct rule *rule, const char *name)
{
	char pattern[LINE_SIZE];

	for (const char *at = rule->methods; *at; at += strspn(at, " ")) {
		size_t len = strcspn(at, " ");

		memcpy(pattern, at, len);
		pattern[len] = '\0';
		/* No slash and no bracket gets past the parser, so * is all that is special. */
		if (fnmatch(pattern, name, FNM_NOESCAPE) == 0)
			return true;
		at += len;
	}
	return false;
}

const struct rule *policy_decide(const struct policy *policy, const struct identity *identity,
	const char *name, bool *ret_allowed)
{
	const struct rule *allow = NULL;

	*ret_allowed = false;
	for (size_t i = 0; i < policy->n; i++) {
		const struct rule *rule = &policy->rules[i];

		if (!rule_covers(rule, identity) || !rule_names(rule, name))
			continue;
		if (!rule->allow)
			return rule;
		if (!allow)
			allow = rule;
	}
	*ret_allowed = allow != NULL;
	return allow;
}

static size_t decide(const struct policy *policy, const struct identity *identity, const char *name,
	struct verdict *ret)
{
	bool allowed;
	const struct rule *rule = policy_decide(policy, identity, name, &allowed);

	*ret = (struct verdict){.allowed = allowed};
	if (!allowed && rule)
		(void)snprintf(ret->rule, sizeof(ret->rule), "%s", rule->place);
	return allowed;
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
