/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rules that depend on a request's parameters, where the decoded request is. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "agent/policy/policy.h"

/*
 * May the request be run? Of the clauses (bytes as policy_clauses() made them) those for the method
 * count: a deny that holds beats every allow that holds. A condition on a repeated field holds for
 * an allow when there is an element, and it holds for each; for a deny, when it holds for any. One
 * on a field that is absent does not hold. A path with ".." in it is beneath whatever a deny names,
 * and beneath nothing that an allow names.
 *
 * *ret_rule: the one that decided (within clauses), "" where none allowed. *ret_by_path: a path was
 * looked at, so that links must not lead elsewhere.
 */
bool judge_allows(const uint8_t *clauses, size_t len, enum method method,
	const ProtobufCMessage *request, const char **ret_rule, bool *ret_by_path);
