/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/policy/rule.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/policy/condition.h"
#include "proto/line.h"

#define BLANKS       " \t\r\n"
#define METHOD_CHARS "abcdefghijklmnopqrstuvwxyz0123456789_.*-"

static int expected(char why[RULE_WHY_MAX], const char *what)
{
	(void)snprintf(why, RULE_WHY_MAX, "%s", what);
	return -EINVAL;
}

/*
 * Takes the next word from *rest and ends it there. 1; 0: there is none; -EINVAL: its quotes do not
 * end. A # outside of quotes ends the line.
 */
static int take_word(char **rest, char **ret_word)
{
	char *at = *rest + strspn(*rest, BLANKS), *to = at;
	bool quoted = false;

	*ret_word = at;
	if (*at == '\0' || *at == '#')
		return 0;
	for (; *at && (quoted || !strchr(BLANKS "#", *at)); at++) {
		if (*at == '"')
			quoted = !quoted;
		else if (quoted && at[0] == '\\' && (at[1] == '"' || at[1] == '\\'))
			*to++ = *++at;
		else
			*to++ = *at;
	}
	if (quoted)
		return -EINVAL;
	/* What follows a comment is nothing; what follows a blank may be a word. */
	*rest = *at && *at != '#' ? at + 1 : at + strlen(at);
	*to = '\0';
	return 1;
}

/* Methods up to "where", or the end: 1 where it stands. */
static int parse_methods(char **rest, struct rule *rule, char why[RULE_WHY_MAX])
{
	size_t len = 0;
	char *word;
	int r;

	rule->methods = calloc(1, LINE_SIZE);
	if (!rule->methods)
		return -ENOMEM;
	while ((r = take_word(rest, &word)) > 0) {
		if (strcmp(word, "where") == 0)
			break;
		if (*word == '\0' || word[strspn(word, METHOD_CHARS)] != '\0')
			return expected(why, "a method is made of a-z, 0-9, '_', '.', '-' and '*'");
		len += (size_t)snprintf(
			rule->methods + len, LINE_SIZE - len, "%s%s", len ? " " : "", word);
	}
	if (r < 0)
		return expected(why, "expected a \" at the end of the word");
	return len > 0 ? r : expected(why, "expected at least one method or topic");
}

static int parse_conditions(char **rest, struct rule *rule, char why[RULE_WHY_MAX])
{
	const char *reason = "";
	char *words[3], *word;
	int r;

	do {
		for (size_t i = 0; i < 3; i++)
			if (take_word(rest, &words[i]) <= 0)
				return expected(why, "expected FIELD OPERATOR VALUE behind where "
						     "and behind each and");
		r = condition_pack(&rule->conditions, words[0], words[1], words[2], &reason);
		if (r < 0)
			return r == -EINVAL ? expected(why, reason) : r;
		r = take_word(rest, &word);
	} while (r > 0 && strcmp(word, "and") == 0);
	return r == 0 ? 0 : expected(why, "expected and between conditions");
}

/* Whether the method has what the conditions ask for, where it is run. */
static int check_method(const struct rule *rule, enum method method, char why[RULE_WHY_MAX])
{
	const uint8_t *at = buffer_front(&rule->conditions),
		      *end = at + buffer_len(&rule->conditions);
	const struct method_row *row = &method_rows[method];
	struct condition condition;
	const char *reason;

	if (row->where < READER) {
		(void)snprintf(why, RULE_WHY_MAX,
			"where: %s is answered before anybody looks at its parameters: name it in "
			"a rule of its own",
			row->name);
		return -EINVAL;
	}
	while (condition_next(&at, end, &condition)) {
		if (condition_fits(&condition, method, &reason))
			continue;
		(void)snprintf(why, RULE_WHY_MAX, "where %.64s: %s: %s", condition.field, row->name,
			reason);
		return -EINVAL;
	}
	return 0;
}

static int check_conditions(const struct rule *rule, char why[RULE_WHY_MAX])
{
	size_t found = 0;

	for (int i = 0; i < TOPIC_COUNT; i++)
		if (rule_names(rule, topic_rows[i].name))
			return expected(why, "where: a notification has no parameters: name it in "
					     "a rule of its own");
	for (int i = 0; i < METHOD_COUNT; i++) {
		if (!rule_names(rule, method_rows[i].name))
			continue;
		if (check_method(rule, (enum method)i, why) < 0)
			return -EINVAL;
		found++;
	}
	return found > 0 ? 0 : expected(why, "where: expected a method that there is");
}

static int parse(char *line, struct rule *rule, char why[RULE_WHY_MAX])
{
	char *word, *rest = line;
	int r = take_word(&rest, &word);

	if (r == 0)
		return 0;
	if (r < 0 || (strcmp(word, "allow") != 0 && strcmp(word, "deny") != 0))
		return expected(why, "expected allow or deny");
	rule->allow = word[0] == 'a';
	r = take_word(&rest, &word);
	if (r <= 0 || identity_parse(word, &rule->identity, &rule->any_number) < 0)
		return expected(why, "expected host, host-root, guest:CID or local:UID");
	r = parse_methods(&rest, rule, why);
	if (r > 0)
		r = parse_conditions(&rest, rule, why);
	if (r == 0 && rule_has_conditions(rule))
		r = check_conditions(rule, why);
	return r < 0 ? r : 1;
}

int rule_parse(char *line, struct rule *ret, char why[RULE_WHY_MAX])
{
	int r;

	*ret = (struct rule){0};
	r = parse(line, ret, why);
	if (r <= 0)
		rule_clear(ret);
	return r;
}

void rule_clear(struct rule *rule)
{
	free(rule->methods);
	buffer_clear(&rule->conditions);
	*rule = (struct rule){0};
}

bool rule_covers(const struct rule *rule, const struct identity *identity)
{
	enum identity_kind kind = rule->identity.kind;

	if (identity->kind == IDENTITY_HOST_ROOT)
		return kind == IDENTITY_HOST_ROOT || kind == IDENTITY_HOST;
	if (kind != identity->kind)
		return false;
	return kind == IDENTITY_HOST || rule->any_number ||
	       rule->identity.number == identity->number;
}

bool rule_names(const struct rule *rule, const char *name)
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

bool rule_has_conditions(const struct rule *rule)
{
	return buffer_len(&rule->conditions) > 0;
}
