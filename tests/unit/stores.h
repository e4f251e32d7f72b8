/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A store of properties, who uses it, and the time that goes by, for its tests. */
#pragma once

#include "tests/unit/unit.h"

#include "agent/watch/store.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

static const struct caller host = {.name = "host", .connection = &host};
static const struct caller root = {.name = "local:0", .guest = true, .connection = &root};
static const struct caller alice = {
	.name = "local:1000", .guest = true, .uid = 1000, .connection = &alice};
static const struct caller bob = {
	.name = "local:1001", .guest = true, .uid = 1001, .connection = &bob};

static struct store store;
static struct store_now now;
static const struct property *last;

static inline int set_up(void **state)
{
	(void)state;
	store = (struct store){0};
	now = (struct store_now){NSEC_PER_SEC, 2 * NSEC_PER_SEC, 3 * NSEC_PER_SEC};
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	/* Every count comes back to zero with the properties. */
	while (store.n > 0) {
		char key[PROPERTY_KEY_MAX + 1];

		(void)snprintf(key, sizeof(key), "%s", store.properties[0]->key);
		store_restore(&store, key, NULL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(store.accounts); i++) {
		assert_int_equal(store.accounts[i].n, 0);
		assert_int_equal(store.accounts[i].bytes, 0);
	}
	store_clear(&store);
	return 0;
}

static inline enum store_result change(const struct caller *caller, const char *key,
	const char *value, uint32_t said, uint32_t flags)
{
	const struct property_change wish = {.key = key,
		.value = (const uint8_t *)value,
		.value_len = strlen(value),
		.flags = flags,
		.flags_said = said};

	return store_set(&store, caller, &wish, &now, &last);
}

static inline enum store_result set(const struct caller *caller, const char *key, const char *value)
{
	return change(caller, key, value, 0, 0);
}

static inline enum store_result take_away(const struct caller *caller, const char *key)
{
	AUTO_FREE struct property *gone = NULL;

	return store_remove(&store, caller, key, NULL, &now, &gone);
}

/* What he sees of it, "" where he sees nothing. */
static inline const char *seen(const struct caller *caller, const char *key)
{
	static char value[64];
	const struct property *property = store_get(&store, caller, key);

	(void)snprintf(value, sizeof(value), "%.*s", property ? (int)property->value_len : 0,
		property ? (const char *)property->value : "");
	return value;
}

/* A test with a store of its own, in which every count comes back to zero. */
#define STORE_TEST(name)                                                                           \
	{                                                                                          \
#name, test_##name, set_up, tear_down, NULL                                        \
	}
