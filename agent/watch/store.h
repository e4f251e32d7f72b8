/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Properties: keys with values of whoever may have them, each owner within a budget of number,
 * bytes and changes a second. In the order of their keys; those that end by themselves do so when
 * somebody looks (store_expire()).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/limits.h"

enum property_flags {
	PROPERTY_READ_ONLY_HOST = 1 << 0,
	PROPERTY_READ_ONLY_GUEST = 1 << 1,
	PROPERTY_WORLD_READABLE = 1 << 2,
	PROPERTY_EPHEMERAL = 1 << 3,
	PROPERTY_BY_HOST =
		1 << 4, /* who set it last is not of this guest, and it is in his budget */
};

/* Who asks, as the broker has proved it. */
struct caller {
	char name[24];          /* "host", "local:1000" */
	uint32_t uid;           /* of a program of the guest */
	bool guest;             /* it is one */
	const void *connection; /* that what is ephemeral ends with; compared, never followed */
};

struct property {
	uint64_t revision;
	uint64_t set_ns;     /* wall clock */
	uint64_t expires_ns; /* CLOCK_BOOTTIME; 0: never */
	uint32_t flags;      /* enum property_flags */
	uint32_t owner;      /* user id; 0 for all that is not below "user/UID/" */
	char set_by[24];
	const void *connection; /* of an ephemeral one */
	size_t value_len;
	const uint8_t *value; /* behind the key */
	char key[];
};

/* What one owner has. */
struct account {
	uint32_t uid;
	uint32_t n;
	size_t bytes;
	uint64_t free_ns; /* CLOCK_MONOTONIC: when all changes that it has had are paid for */
};

enum { ACCOUNT_HOST, ACCOUNT_ROOT, ACCOUNT_USERS, ACCOUNT_USER_FIRST };

struct store {
	struct property **properties; /* owned, each too; by key */
	size_t n, room;
	uint64_t revision; /* of the last change */
	/* ACCOUNT_USERS has what all those behind it have together. */
	struct account accounts[ACCOUNT_USER_FIRST + PROPERTY_USERS_MAX];
};

enum store_result {
	STORE_DONE,
	STORE_SAME, /* it was so already */
	STORE_BAD_KEY,
	STORE_LONG_VALUE,
	STORE_ABSENT, /* also where the caller may not know that it is there */
	STORE_NOT_YOURS,
	STORE_READ_ONLY,
	STORE_OTHER_SIDE, /* read_only_* is for the other side to say */
	STORE_REVISION,
	STORE_MANY,  /* too many of this owner, or too many bytes */
	STORE_OFTEN, /* too many changes in a short time */
	STORE_NO_MEMORY,
};

struct property_change {
	const char *key;
	const uint8_t *value;
	size_t value_len;
	uint64_t ttl_ms;     /* 0: it stays */
	uint32_t flags;      /* as they are to be */
	uint32_t flags_said; /* which of them; the others stay as they are */
	bool has_revision;
	uint64_t revision;
};

/* Words of a key, with '/' between. */
bool store_key_is_good(const char *key);

/* A word of a key. */
bool store_word_is_good(const char *word, size_t len);

/* The property, or NULL where there is none that the caller may see. */
const struct property *store_get(
	const struct store *store, const struct caller *caller, const char *key);

/* Whether he may see it. */
bool store_may_see(const struct caller *caller, const struct property *property);

/* The first of them whose key is not before this one; store->n: there is none. */
size_t store_find(const struct store *store, const char *key);

/* Makes or changes one. STORE_DONE with *ret_property (borrowed, until the next change), or why
 * not; STORE_SAME also has it. now: of all clocks. */
struct store_now {
	uint64_t monotonic_ns, boottime_ns, real_ns;
};
enum store_result store_set(struct store *store, const struct caller *caller,
	const struct property_change *change, const struct store_now *now,
	const struct property **ret_property);

/* Takes one out; *ret_property is the caller's to free, with the revision of its removal. */
enum store_result store_remove(struct store *store, const struct caller *caller, const char *key,
	const uint64_t *revision, const struct store_now *now, struct property **ret_property);

/* Takes out one whose time is over, then one that was bound to this connection; NULL: there is none
 * (any more). The caller's to free. */
struct property *store_expire(struct store *store, uint64_t boottime_ns);
struct property *store_disconnect(struct store *store, const void *connection);

/* When the next one ends by itself, CLOCK_BOOTTIME; UINT64_MAX: none does. */
uint64_t store_next_expiry(const struct store *store);

/* Puts one in that was kept in a file (taken over), in place of what is there; NULL: takes that
 * out. Within its owner's budget, else it is dropped. */
void store_restore(struct store *store, const char *key, struct property *property);

/* A property with room for a value, zero otherwise but for its key; NULL: no memory. */
struct property *property_new(const char *key, size_t value_len);

/* What one counts as in its owner's budget, bytes. */
size_t property_size(const struct property *property);

/* A change of something else that is told as often as this is, by a program of the guest: whether
 * it may be. */
bool store_pay(struct store *store, const struct caller *caller, uint64_t monotonic_ns);

void store_clear(struct store *store);
