/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may call what. A policy is text, one rule a line, in the *.policy files of a folder in
 * lexical order:
 *
 *   allow|deny IDENTITY METHOD... [where CONDITION [and CONDITION]...]     # comment
 *
 * IDENTITY is host, host-root, guest:CID, local:UID, with * for any CID or UID. METHOD is a method
 * or topic name, where * stands for any characters ("mounts.*", "notify.*", "*"). A CONDITION asks
 * for a request's parameters (condition.h); all that the rule names must be methods that have them,
 * and be run where a decoded request is looked at: not in the session, the broker or the watcher.
 * "..." keeps blanks and # in a word together; \" and \\ stand for themselves in it.
 *
 * No rule, no access; a deny that matches beats every allow. A rule for host covers host-root.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/policy/identity.h"
#include "agent/row.h"
#include "proto/buffer.h"

struct rule;

struct policy {
	struct rule *rules; /* owned, in order */
	size_t n;
};

/* Reads the folder. 0; -EINVAL with problem "FILE:LINE: what was expected"; -errno when the folder
 * or a file cannot be read, or holds no rule file at all. policy must be zero or freed. */
int policy_read(struct policy *policy, const char *dir, char *problem, size_t size);

/* Frees the rules. */
void policy_clear(struct policy *policy);

enum allowed {
	ALLOWED_NO,
	ALLOWED_YES,
	ALLOWED_BY_PARAMETERS, /* some requests: what serves them asks judge_allows() */
};

/* May it, without a look at parameters? *ret_rule is the rule that decided, NULL where none does
 * alone. */
enum allowed policy_decide(const struct policy *policy, const struct identity *identity,
	const char *name, const struct rule **ret_rule);

#define VERDICT_PLACE_MAX 64

/*
 * What one identity may do, as a sealed memfd for the processes that serve it: one entry a row, and
 * behind them the clauses. Where allowed is ALLOWED_NO, rule says which rule of FILE:LINE decided,
 * or is empty where there is none.
 */
struct verdict {
	uint8_t allowed; /* enum allowed */
	char rule[VERDICT_PLACE_MAX - 1];
};

struct verdicts {
	struct verdict method[METHOD_COUNT];
	struct verdict topic[TOPIC_COUNT];
};

/* Fills in the verdicts. Returns how many entries are allowed. */
size_t policy_verdicts(const struct policy *policy, const struct identity *identity,
	struct verdicts *ret_verdicts);

/* A rule of those that decide about ALLOWED_BY_PARAMETERS, with its conditions (condition.h) behind
 * it. */
struct clause {
	uint32_t size; /* bytes of all of it; the next one begins at CLAUSE_ALIGN(size) */
	uint8_t allow;
	char rule[VERDICT_PLACE_MAX - 1];      /* FILE:LINE */
	uint8_t methods[METHOD_COUNT / 8 + 1]; /* a bit each */
};

#define CLAUSE_ALIGN(size) (((size_t)(size) + 7) & ~(size_t)7)

/* Appends the clauses of this identity, of the methods that the verdicts leave open. 0 or -ENOMEM.
 */
int policy_clauses(const struct policy *policy, const struct identity *identity,
	const struct verdicts *verdicts, struct buffer *clauses);
