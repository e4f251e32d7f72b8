/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each change is an event, and there is room for 4096 of them for all topics. So changes have a
 * price in time: an owner is ahead of what he has paid for by so much at most.
 */
#include "agent/watch/budget.h"

#include "proto/cleanup.h"
#include "proto/clock.h"

/* At most so many changes a second, and so many at once after a pause. */
struct rate {
	uint32_t per_s, burst;
};

static const struct rate rates[] = {
	[ACCOUNT_HOST] = {256, 1024},
	[ACCOUNT_ROOT] = {64, 512},
	[ACCOUNT_USERS] = {64, 256},
	[ACCOUNT_USER_FIRST] = {16, 64},
};

static const struct rate *rate_of(const struct store *store, const struct account *account)
{
	size_t i = (size_t)(account - store->accounts);

	return &rates[i < ACCOUNT_USER_FIRST ? i : ACCOUNT_USER_FIRST];
}

static bool is_unused(const struct account *account, uint64_t now_ns)
{
	return account->n == 0 && account->free_ns <= now_ns;
}

/* That of a user who is not root; NULL: there are too many. */
static struct account *user_account(struct store *store, uint32_t uid, uint64_t now_ns)
{
	struct account *unused = NULL;

	for (size_t i = ACCOUNT_USER_FIRST; i < ARRAY_SIZE(store->accounts); i++) {
		struct account *account = &store->accounts[i];

		if (account->uid == uid)
			return account;
		if (!unused && is_unused(account, now_ns))
			unused = account;
	}
	if (unused)
		*unused = (struct account){.uid = uid};
	return unused;
}

static struct account *account_of(struct store *store, bool guest, uint32_t uid, uint64_t now_ns)
{
	if (!guest)
		return &store->accounts[ACCOUNT_HOST];
	if (uid == 0)
		return &store->accounts[ACCOUNT_ROOT];
	return user_account(store, uid, now_ns);
}

static struct account *account_of_property(
	struct store *store, const struct property *property, uint64_t now_ns)
{
	return account_of(store, !(property->flags & PROPERTY_BY_HOST), property->owner, now_ns);
}

static bool is_user(const struct store *store, const struct account *account)
{
	return account >= &store->accounts[ACCOUNT_USER_FIRST];
}

static bool may_now(const struct store *store, const struct account *account, uint64_t now_ns)
{
	const struct rate *rate = rate_of(store, account);
	uint64_t price = NSEC_PER_SEC / rate->per_s;

	return account->free_ns <= now_ns || account->free_ns - now_ns <= (rate->burst - 1) * price;
}

static void pay(const struct store *store, struct account *account, uint64_t now_ns)
{
	if (account->free_ns < now_ns)
		account->free_ns = now_ns;
	account->free_ns += NSEC_PER_SEC / rate_of(store, account)->per_s;
}

/* n_most and bytes_most: with the new property, less what goes for it. */
static bool has_room(const struct account *account, const struct property *gone, size_t size,
	uint32_t n_most, size_t bytes_most)
{
	uint32_t n = account->n + 1 - (gone ? 1 : 0);
	size_t bytes = account->bytes + size - (gone ? property_size(gone) : 0);

	return n <= n_most && bytes <= bytes_most;
}

enum store_result budget_allows(struct store *store, const struct property *before,
	const struct property *property, uint64_t now_ns)
{
	struct account *account = account_of_property(store, property, now_ns);
	struct account *users = &store->accounts[ACCOUNT_USERS];
	const struct account *account_before =
		before ? account_of_property(store, before, now_ns) : NULL;
	size_t size = property_size(property);
	bool user = account && is_user(store, account);

	if (!account)
		return STORE_MANY;
	if (!has_room(account, account_before == account ? before : NULL, size,
		    user ? PROPERTIES_USER_MAX : PROPERTIES_MAX,
		    user ? PROPERTIES_USER_SIZE : PROPERTIES_BYTES))
		return STORE_MANY;
	if (user && !has_room(users, account_before == account ? before : NULL, size,
			    PROPERTIES_MAX, PROPERTIES_BYTES))
		return STORE_MANY;
	return STORE_DONE;
}

bool store_pay(struct store *store, const struct caller *caller, uint64_t monotonic_ns)
{
	struct account *account = account_of(store, caller->guest, caller->uid, monotonic_ns);
	struct account *users = &store->accounts[ACCOUNT_USERS];

	if (!account || !may_now(store, account, monotonic_ns))
		return false;
	if (is_user(store, account)) {
		if (!may_now(store, users, monotonic_ns))
			return false;
		pay(store, users, monotonic_ns);
	}
	pay(store, account, monotonic_ns);
	return true;
}

static void count(struct store *store, const struct property *property, int sign)
{
	/* Of one that is there, or was just let in: it has an account. */
	struct account *account = account_of_property(store, property, 0);
	size_t size = property_size(property);

	for (; account;
		account = is_user(store, account) ? &store->accounts[ACCOUNT_USERS] : NULL) {
		account->n += (uint32_t)sign;
		account->bytes += sign > 0 ? size : -size;
	}
}

void budget_take(struct store *store, const struct property *property)
{
	count(store, property, 1);
}

void budget_give_back(struct store *store, const struct property *property)
{
	count(store, property, -1);
}
