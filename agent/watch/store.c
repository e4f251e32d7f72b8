/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/watch/store.h"

#include <stdlib.h>
#include <string.h>

#include "agent/watch/budget.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define USER_PREFIX "user/"

bool store_word_is_good(const char *word, size_t len)
{
	static const char chars[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:@+-";

	return len > 0 && strspn(word, chars) >= len && strncmp(word, "..", len) != 0;
}

bool store_key_is_good(const char *key)
{
	size_t len = strlen(key);

	if (len > PROPERTY_KEY_MAX)
		return false;
	for (;; key++) {
		size_t word = strcspn(key, "/");

		if (!store_word_is_good(key, word))
			return false;
		key += word;
		if (*key == '\0')
			return true;
	}
}

/* Whose a good key is: "user/1000/..." is the user's, who is not root, all else root's. */
static uint32_t owner_of(const char *key)
{
	const char *digits = key + strlen(USER_PREFIX);
	unsigned long uid;
	char *end;

	if (strncmp(key, USER_PREFIX, strlen(USER_PREFIX)) != 0 || *digits < '1' || *digits > '9')
		return 0;
	uid = strtoul(digits, &end, 10);
	/* (uid_t)-1 is nobody's. */
	return *end == '/' && uid < UINT32_MAX ? (uint32_t)uid : 0;
}

struct property *property_new(const char *key, size_t value_len)
{
	size_t key_size = strlen(key) + 1;
	struct property *property = calloc(1, sizeof(*property) + key_size + value_len);

	if (!property)
		return NULL;
	memcpy(property->key, key, key_size);
	property->value = (uint8_t *)property->key + key_size;
	property->value_len = value_len;
	property->owner = owner_of(key);
	return property;
}

size_t property_size(const struct property *property)
{
	return sizeof(*property) + strlen(property->key) + property->value_len;
}

size_t store_find(const struct store *store, const char *key)
{
	size_t low = 0, high = store->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(store->properties[middle]->key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The place of the property with this key, NULL: there is none. */
static struct property **place_of(const struct store *store, const char *key)
{
	size_t at = store_find(store, key);

	return at < store->n && strcmp(store->properties[at]->key, key) == 0
		       ? &store->properties[at]
		       : NULL;
}

bool store_may_see(const struct caller *caller, const struct property *property)
{
	return !caller->guest || caller->uid == 0 || caller->uid == property->owner ||
	       property->flags & PROPERTY_WORLD_READABLE;
}

const struct property *store_get(
	const struct store *store, const struct caller *caller, const char *key)
{
	struct property **place = place_of(store, key);

	return place && store_may_see(caller, *place) ? *place : NULL;
}

/* Whether he may change what has this key, be it there (else NULL) or not. */
static enum store_result may_change(
	const struct caller *caller, const char *key, const struct property *property)
{
	uint32_t read_only = caller->guest ? PROPERTY_READ_ONLY_GUEST : PROPERTY_READ_ONLY_HOST;

	if (caller->guest && caller->uid != 0 && caller->uid != owner_of(key))
		return STORE_NOT_YOURS;
	return property && property->flags & read_only ? STORE_READ_ONLY : STORE_DONE;
}

static bool is_same(const struct property *a, const struct property *b)
{
	return a->flags == b->flags && a->connection == b->connection &&
	       a->value_len == b->value_len && memcmp(a->value, b->value, a->value_len) == 0 &&
	       strcmp(a->set_by, b->set_by) == 0;
}

/* Takes the property at the place out of the order; it is in nobody's budget any more. */
static struct property *take_out(struct store *store, struct property **place)
{
	struct property *property = *place;
	size_t behind = store->n - (size_t)(place - store->properties) - 1;

	memmove(place, place + 1, behind * sizeof(*place));
	store->n--;
	budget_give_back(store, property);
	if (store->n == 0) {
		free(take_ptr(store->properties));
		store->room = 0;
	}
	return property;
}

static bool make_room(struct store *store)
{
	size_t room = store->room ? store->room * 2 : 16;
	struct property **more;

	if (store->n < store->room)
		return true;
	more = reallocarray(store->properties, room, sizeof(struct property *));
	if (!more)
		return false;
	store->properties = more;
	store->room = room;
	return true;
}

/* Puts it (taken over) where its key belongs, in place of what is there. */
static void put(struct store *store, struct property *property)
{
	size_t at = store_find(store, property->key);
	struct property **place = &store->properties[at];

	if (at < store->n && strcmp((*place)->key, property->key) == 0) {
		budget_give_back(store, *place);
		free(*place);
	} else {
		memmove(place + 1, place, (store->n - at) * sizeof(struct property *));
		store->n++;
	}
	*place = property;
	budget_take(store, property);
}

/* The property as it is to be, *ret is the caller's. */
static enum store_result make(const struct caller *caller, const struct property_change *change,
	const struct property *before, const struct store_now *now, struct property **ret)
{
	struct property *property = property_new(change->key, change->value_len);
	uint32_t flags = before ? before->flags & ~(uint32_t)PROPERTY_EPHEMERAL : 0;

	if (!property)
		return STORE_NO_MEMORY;
	if (change->value_len > 0)
		memcpy((uint8_t *)property->value, change->value, change->value_len);
	flags = (flags & ~change->flags_said) | (change->flags & change->flags_said);
	flags &= ~(uint32_t)PROPERTY_BY_HOST;
	property->flags = flags | (caller->guest ? 0 : PROPERTY_BY_HOST);
	property->connection = flags & PROPERTY_EPHEMERAL ? caller->connection : NULL;
	memcpy(property->set_by, caller->name, sizeof(property->set_by));
	property->set_ns = now->real_ns;
	if (change->ttl_ms > 0)
		property->expires_ns = now->boottime_ns + change->ttl_ms * NSEC_PER_MSEC;
	*ret = property;
	return STORE_DONE;
}

static enum store_result check(const struct caller *caller, const struct property_change *change,
	const struct property *before)
{
	uint32_t others = caller->guest ? PROPERTY_READ_ONLY_GUEST : PROPERTY_READ_ONLY_HOST;
	enum store_result result;

	if (!store_key_is_good(change->key))
		return STORE_BAD_KEY;
	if (change->value_len > PROPERTY_VALUE_MAX)
		return STORE_LONG_VALUE;
	result = may_change(caller, change->key, before);
	if (result != STORE_DONE)
		return result;
	if (change->flags_said & others)
		return STORE_OTHER_SIDE;
	if (change->has_revision && change->revision != (before ? before->revision : 0))
		return STORE_REVISION;
	return STORE_DONE;
}

enum store_result store_set(struct store *store, const struct caller *caller,
	const struct property_change *change, const struct store_now *now,
	const struct property **ret_property)
{
	struct property **place = place_of(store, change->key);
	const struct property *before = place ? *place : NULL;
	AUTO_FREE struct property *property = NULL;
	enum store_result result = check(caller, change, before);

	if (result == STORE_DONE)
		result = make(caller, change, before, now, &property);
	if (result == STORE_DONE)
		result = budget_allows(store, before, property, now->monotonic_ns);
	if (result == STORE_DONE && !make_room(store))
		result = STORE_NO_MEMORY;
	if (result == STORE_DONE && !store_pay(store, caller, now->monotonic_ns))
		result = STORE_OFTEN;
	if (result != STORE_DONE)
		return result;
	if (before && is_same(before, property)) {
		/* It was said again, and maybe for how long. */
		property->revision = before->revision;
		result = STORE_SAME;
	} else {
		property->revision = ++store->revision;
	}
	*ret_property = property;
	put(store, take_ptr(property));
	return result;
}

enum store_result store_remove(struct store *store, const struct caller *caller, const char *key,
	const uint64_t *revision, const struct store_now *now, struct property **ret_property)
{
	struct property **place = place_of(store, key);
	enum store_result result;

	if (!store_key_is_good(key))
		return STORE_BAD_KEY;
	result = may_change(caller, key, place ? *place : NULL);
	if (result != STORE_DONE)
		return result;
	if (!place)
		return STORE_ABSENT;
	if (revision && *revision != (*place)->revision)
		return STORE_REVISION;
	if (!store_pay(store, caller, now->monotonic_ns))
		return STORE_OFTEN;
	*ret_property = take_out(store, place);
	(*ret_property)->revision = ++store->revision;
	return STORE_DONE;
}

struct property *store_expire(struct store *store, uint64_t boottime_ns)
{
	for (size_t i = 0; i < store->n; i++) {
		struct property **place = &store->properties[i];

		if ((*place)->expires_ns == 0 || (*place)->expires_ns > boottime_ns)
			continue;
		(*place)->revision = ++store->revision;
		return take_out(store, place);
	}
	return NULL;
}

struct property *store_disconnect(struct store *store, const void *connection)
{
	for (size_t i = 0; i < store->n; i++) {
		struct property **place = &store->properties[i];

		if ((*place)->connection != connection)
			continue;
		(*place)->revision = ++store->revision;
		return take_out(store, place);
	}
	return NULL;
}

uint64_t store_next_expiry(const struct store *store)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < store->n; i++)
		if (store->properties[i]->expires_ns != 0 &&
			store->properties[i]->expires_ns < next)
			next = store->properties[i]->expires_ns;
	return next;
}

void store_restore(struct store *store, const char *key, struct property *property)
{
	struct property **place = place_of(store, key);

	if (place)
		free(take_out(store, place));
	if (!property)
		return;
	if (property->revision > store->revision)
		store->revision = property->revision;
	if (budget_allows(store, NULL, property, UINT64_MAX) == STORE_DONE && make_room(store))
		put(store, property);
	else
		free(property);
}

void store_clear(struct store *store)
{
	for (size_t i = 0; i < store->n; i++)
		free(store->properties[i]);
	free(store->properties);
	*store = (struct store){0};
}
