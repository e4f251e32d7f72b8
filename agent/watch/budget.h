/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each owner of properties may have, and how often it may change something. */
#pragma once

#include "agent/watch/store.h"

/* Whether the property may take the place of what was before (NULL: nothing), by number and bytes,
 * now (CLOCK_MONOTONIC, ns; UINT64_MAX: at any time). */
enum store_result budget_allows(struct store *store, const struct property *before,
	const struct property *property, uint64_t now_ns);

/* The property is there from now on, and not any more. */
void budget_take(struct store *store, const struct property *property);
void budget_give_back(struct store *store, const struct property *property);
