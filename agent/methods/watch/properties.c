/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/methods/prototypes.h"
#include "agent/watch/watch.h"

/* Why not, for a person. */
static int refuse(struct call *call, enum store_result result, const char *key)
{
	static const struct {
		Postern__V1__Code code;
		const char *why;
	} reasons[] = {
		[STORE_BAD_KEY] = {POSTERN__V1__CODE__INVALID_ARGUMENT,
			"expected 1 to 255 bytes: words of a-z, A-Z, 0-9 and \"._:@+-\", not . nor "
			".., "
			"with / between"},
		[STORE_LONG_VALUE] = {POSTERN__V1__CODE__INVALID_ARGUMENT,
			"a value has at most 32768 bytes"},
		[STORE_ABSENT] = {POSTERN__V1__CODE__NOT_FOUND, "there is no such property"},
		[STORE_NOT_YOURS] = {POSTERN__V1__CODE__PERMISSION_DENIED,
			"a user of the guest changes what begins with user/ and his number, as in "
			"user/1000/name"},
		[STORE_READ_ONLY] = {POSTERN__V1__CODE__PERMISSION_DENIED,
			"it is read-only for this side; the other one has said so"},
		[STORE_OTHER_SIDE] = {POSTERN__V1__CODE__PERMISSION_DENIED,
			"read_only_guest is for the host to say, read_only_host for the guest"},
		[STORE_REVISION] = {POSTERN__V1__CODE__FAILED_PRECONDITION,
			"it has another revision: somebody else has changed it"},
		[STORE_MANY] = {POSTERN__V1__CODE__RESOURCE_EXHAUSTED,
			"its owner would have too many properties, or too many bytes in them"},
		[STORE_OFTEN] = {POSTERN__V1__CODE__RESOURCE_EXHAUSTED,
			"too many changes in a short time; try again in a second"},
		[STORE_NO_MEMORY] = {POSTERN__V1__CODE__RESOURCE_EXHAUSTED, "no memory"},
	};

	return call_fail(call, reasons[result].code, 0, "%.64s: %s", key, reasons[result].why);
}

/* The words of a request, of which one that is absent is empty. */
static const char *text(const char *field)
{
	return field ? field : "";
}

int properties_get(struct call *call, const Postern__V1__PropertiesGetRequest *request,
	Postern__V1__PropertiesGetReply *reply)
{
	struct subscriber *subscriber = call->program;
	const char *key = text(request->key);
	const struct property *property;

	if (!store_key_is_good(key))
		return refuse(call, STORE_BAD_KEY, key);
	properties_expire(subscriber->watch);
	property = store_get(&subscriber->watch->store, &subscriber->caller, key);
	if (!property)
		return refuse(call, STORE_ABSENT, key);
	reply->property = arena_alloc(call->arena, sizeof(*reply->property));
	if (!reply->property)
		return -ENOMEM;
	property_to_message(property, reply->property);
	return 0;
}

/* What one takes of an answer, rather too much. */
static size_t size_in_answer(const struct property *property, bool keys_only)
{
	return 128 + strlen(property->key) + (keys_only ? 0 : property->value_len);
}

int properties_list(struct call *call, const Postern__V1__PropertiesListRequest *request,
	Postern__V1__PropertiesListReply *reply)
{
	struct subscriber *subscriber = call->program;
	struct store *store = &subscriber->watch->store;
	const char *prefix = text(request->prefix), *after = text(request->after);
	size_t left = call_part_size(call);

	properties_expire(subscriber->watch);
	reply->properties = arena_alloc(call->arena, store->n * sizeof(*reply->properties));
	if (!reply->properties)
		return -ENOMEM;
	for (size_t i = store_find(store, strcmp(prefix, after) > 0 ? prefix : after); i < store->n;
		i++) {
		const struct property *property = store->properties[i];
		size_t size = size_in_answer(property, request->keys_only);
		Postern__V1__Property *message;

		if (strncmp(property->key, prefix, strlen(prefix)) != 0)
			break;
		if (strcmp(property->key, after) == 0 ||
			!store_may_see(&subscriber->caller, property))
			continue;
		/* One at least: a caller whose frames do not hold it is told so. */
		reply->has_more = reply->more = reply->n_properties > 0 && size > left;
		if (reply->more)
			break;
		left -= size < left ? size : left;
		message = arena_alloc(call->arena, sizeof(*message));
		if (!message)
			return -ENOMEM;
		property_to_message(property, message);
		message->has_value = !request->keys_only;
		reply->properties[reply->n_properties++] = message;
	}
	return 0;
}

static void say(struct property_change *change, bool said, bool value, uint32_t flag)
{
	if (said)
		change->flags_said |= flag;
	if (said && value)
		change->flags |= flag;
}

int properties_set(struct call *call, const Postern__V1__PropertiesSetRequest *request,
	Postern__V1__PropertiesSetReply *reply)
{
	struct subscriber *subscriber = call->program;
	struct watch *watch = subscriber->watch;
	struct property_change change = {.key = text(request->key),
		.value = request->value.data,
		.value_len = request->value.len,
		.ttl_ms = request->ttl_ms,
		.has_revision = request->has_if_revision,
		.revision = request->if_revision};
	struct store_now now = properties_now();
	const struct property *property = NULL;
	enum store_result result;

	if (request->has_ttl_ms && (request->ttl_ms == 0 || request->ttl_ms > PROPERTY_TTL_MS))
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"ttl_ms: expected 1 to 31536000000");
	say(&change, request->has_read_only_host, request->read_only_host, PROPERTY_READ_ONLY_HOST);
	say(&change, request->has_read_only_guest, request->read_only_guest,
		PROPERTY_READ_ONLY_GUEST);
	say(&change, request->has_world_readable, request->world_readable, PROPERTY_WORLD_READABLE);
	say(&change, true, request->ephemeral, PROPERTY_EPHEMERAL);
	properties_expire(watch);
	result = store_set(&watch->store, &subscriber->caller, &change, &now, &property);
	if (!property)
		return refuse(call, result, change.key);
	property_log_set(&watch->log, &watch->store, property);
	if (result == STORE_DONE)
		properties_changed(watch, property, POSTERN__V1__PROPERTY_CHANGE__PROPERTY_SET,
			subscriber->caller.name);
	reply->has_revision = true;
	reply->revision = property->revision;
	properties_expire(watch);
	return 0;
}

int properties_remove(struct call *call, const Postern__V1__PropertiesRemoveRequest *request,
	Postern__V1__PropertiesRemoveReply *reply)
{
	struct subscriber *subscriber = call->program;
	struct watch *watch = subscriber->watch;
	struct store_now now = properties_now();
	struct property *property = NULL;
	enum store_result result;

	(void)reply;
	properties_expire(watch);
	result = store_remove(&watch->store, &subscriber->caller, text(request->key),
		request->has_if_revision ? &request->if_revision : NULL, &now, &property);
	if (!property)
		return refuse(call, result, text(request->key));
	property_log_remove(&watch->log, &watch->store, property);
	properties_changed(watch, property, POSTERN__V1__PROPERTY_CHANGE__PROPERTY_REMOVED,
		subscriber->caller.name);
	free(property);
	return 0;
}
