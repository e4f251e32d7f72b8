/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* posternd explain: what the policy's files say of a caller and a method, without asking the agent.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ctl/ctl.h"
#include "agent/methods/judge.h"
#include "agent/policy/rule.h"
#include "proto/arena.h"
#include "proto/cleanup.h"
#include "proto/client/client.h"
#include "proto/client/json.h"
#include "proto/limits.h"
#include "proto/log.h"
#include "proto/verify.h"

struct question {
	const char *who, *name;
	struct identity identity;
	const char *params; /* JSON; NULL: whatever they are */
};

/* The rules that look at parameters, one a line. */
static void print_clauses(const struct buffer *clauses, enum method method)
{
	const uint8_t *at = buffer_front(clauses), *end = at + buffer_len(clauses);

	while (at < end) {
		const struct clause *clause = (const struct clause *)at;

		if (clause->methods[method / 8] & 1 << method % 8)
			printf("  %-5s by %s\n", clause->allow ? "allow" : "deny", clause->rule);
		at += CLAUSE_ALIGN(clause->size);
	}
}

/* The request that the JSON stands for, in the arena. NULL after saying why. */
static ProtobufCMessage *read_params(const struct question *question, struct arena *arena)
{
	struct method_schema schema;
	json_t *json = json_loads(question->params, 0, NULL);
	uint8_t *bytes = NULL;
	size_t len = 0;
	char problem[256] = "expected a JSON object";
	const char *why = problem;
	ProtobufCMessage *request = NULL;

	if (json && schema_find(question->name, &schema) == 0 &&
		json_to_message(schema.request, json, &bytes, &len, problem, sizeof(problem)) == 0)
		request = verify_unpack(
			schema.request, bytes, len, &verify_agent_limits, arena, &why);
	free(bytes);
	json_decref(json);
	if (!request)
		log_error("parameters of %s: %s", question->name, why);
	return request;
}

static int say(const struct question *question, bool allowed, const char *rule)
{
	printf("%s %s call %s%s: %s%s\n", question->who, allowed ? "may" : "may not",
		question->name, question->params ? " with these parameters" : "",
		*rule     ? "decided by "
		: allowed ? ""
			  : "no rule allows it",
		rule);
	return allowed ? POSTERN_DONE : POSTERN_REFUSED;
}

static int explain_by_parameters(
	const struct policy *policy, const struct question *question, enum method method)
{
	static struct verdicts verdicts;
	struct buffer clauses = {0};
	struct arena arena;
	const ProtobufCMessage *request = NULL;
	const char *rule;
	bool by_path;
	int r = POSTERN_USAGE;

	(void)policy_verdicts(policy, &question->identity, &verdicts);
	if (policy_clauses(policy, &question->identity, &verdicts, &clauses) < 0)
		return POSTERN_ANSWERED;
	arena_init(&arena, ARENA_REQUEST_MAX);
	if (!question->params) {
		printf("%s may call %s with some parameters:\n", question->who, question->name);
		print_clauses(&clauses, method);
		r = POSTERN_DONE;
	} else if ((request = read_params(question, &arena))) {
		bool allowed = judge_allows(buffer_front(&clauses), buffer_len(&clauses), method,
			request, &rule, &by_path);

		r = say(question, allowed, rule);
	}
	arena_done(&arena);
	buffer_clear(&clauses);
	return r;
}

static bool is_known(const char *name, enum method *ret_method)
{
	*ret_method = method_find(name, strlen(name));
	for (int i = 0; i < TOPIC_COUNT && *ret_method == METHOD_COUNT; i++)
		if (strcmp(name, topic_rows[i].name) == 0)
			return true;
	return *ret_method != METHOD_COUNT;
}

static int explain(const struct policy *policy, const struct question *question)
{
	const struct rule *rule;
	enum method method;

	if (!is_known(question->name, &method)) {
		log_error("%s: there is no such method or topic: posternd methods lists them",
			question->name);
		return POSTERN_USAGE;
	}
	switch (policy_decide(policy, &question->identity, question->name, &rule)) {
	case ALLOWED_NO:
		return say(question, false, rule ? rule->place : "");
	case ALLOWED_YES:
		return say(question, true, rule->place);
	case ALLOWED_BY_PARAMETERS:
		break;
	}
	return explain_by_parameters(policy, question, method);
}

int ctl_explain(const char *settings, int argc, char **argv)
{
	struct question question = {0};
	struct policy policy = {0};
	struct config config;
	char problem[512];
	int r;

	if (argc < 3 || argc > 4) {
		log_error("usage: posternd explain IDENTITY METHOD [JSON]");
		return POSTERN_USAGE;
	}
	question.who = argv[1];
	question.name = argv[2];
	question.params = argv[3];
	if (identity_parse(question.who, &question.identity, NULL) < 0) {
		log_error("%s: expected host, host-root, guest:CID or local:UID", question.who);
		return POSTERN_USAGE;
	}
	r = ctl_settings(settings, &config);
	if (r != 0)
		return r;
	if (policy_read(&policy, config.policy_dir, problem, sizeof(problem)) < 0) {
		log_error("%s", problem);
		return POSTERN_ANSWERED;
	}
	r = explain(&policy, &question);
	policy_clear(&policy);
	return r;
}
