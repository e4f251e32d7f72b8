/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may call what. A policy is text, one rule a line, in the *.policy files of a folder in
 * lexical order:
 *
 *   allow|deny IDENTITY METHOD...      # comment
 *
 * IDENTITY is host, host-root, guest:CID, local:UID, with * for any CID or UID. METHOD is a method
 * or topic name, where * stands for any characters ("mounts.*", "notify.*", "*").
 *
 * No rule, no access; a deny that matches beats every allow. A rule for host covers host-root.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/row.h"

enum identity_kind {
	IDENTITY_HOST,      /* CID 2 */
	IDENTITY_HOST_ROOT, /* CID 2 from a port below 1024 */
	IDENTITY_GUEST,     /* CID 3 and above; number is the CID */
	IDENTITY_LOCAL,     /* UNIX socket; number is the user id */
};

struct identity {
	enum identity_kind kind;
	uint32_t number;
};

/* "host", "guest:5", "local:0" into text[0..size). */
void identity_print(const struct identity *identity, char *text, size_t size);

bool identity_equal(const struct identity *a, const struct identity *b);

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

/* The rule that decides, NULL where none does; *ret_allowed is the verdict. */
const struct rule *policy_decide(const struct policy *policy, const struct identity *identity,
	const char *name, bool *ret_allowed);

#define VERDICT_PLACE_MAX 64

/*
 * What one identity may do, as a sealed memfd for the processes that serve it: one entry a row.
 * Where allowed is 0, rule says which rule of FILE:LINE decided, or is empty where there is none.
 */
struct verdict {
	uint8_t allowed;
	char rule[VERDICT_PLACE_MAX - 1];
};

struct verdicts {
	struct verdict method[METHOD_COUNT];
	struct verdict topic[TOPIC_COUNT];
};

/* Fills in the verdicts. Returns how many entries are allowed. */
size_t policy_verdicts(const struct policy *policy, const struct identity *identity,
	struct verdicts *ret_verdicts);
