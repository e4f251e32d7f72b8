/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Properties as events, and what ends by itself. */
#include <stdlib.h>
#include <string.h>

#include "agent/watch/watch.h"
#include "proto/clock.h"

struct store_now properties_now(void)
{
	return (struct store_now){
		monotonic_ns(), clock_ns(CLOCK_BOOTTIME), clock_ns(CLOCK_REALTIME)};
}

void property_to_message(const struct property *property, Postern__V1__Property *ret_message)
{
	uint64_t now = clock_ns(CLOCK_BOOTTIME);

	postern__v1__property__init(ret_message);
	ret_message->key = (char *)property->key;
	ret_message->has_value = true;
	ret_message->value = (ProtobufCBinaryData){
		.len = property->value_len, .data = (uint8_t *)property->value};
	ret_message->has_read_only_host = ret_message->has_read_only_guest = true;
	ret_message->has_world_readable = ret_message->has_ephemeral = true;
	ret_message->read_only_host = (property->flags & PROPERTY_READ_ONLY_HOST) != 0;
	ret_message->read_only_guest = (property->flags & PROPERTY_READ_ONLY_GUEST) != 0;
	ret_message->world_readable = (property->flags & PROPERTY_WORLD_READABLE) != 0;
	ret_message->ephemeral = (property->flags & PROPERTY_EPHEMERAL) != 0;
	ret_message->has_revision = ret_message->has_set_ns = true;
	ret_message->revision = property->revision;
	ret_message->set_by = (char *)property->set_by;
	ret_message->set_ns = (int64_t)property->set_ns;
	if (property->expires_ns > 0) {
		ret_message->has_ttl_left_ms = true;
		ret_message->ttl_left_ms = property->expires_ns > now
						   ? (property->expires_ns - now) / NSEC_PER_MSEC
						   : 0;
	}
}

static void to_notification(const struct property *property, Postern__V1__PropertyChange change,
	Postern__V1__Property *message, Postern__V1__NotifyPropertiesChanged *ret)
{
	postern__v1__notify_properties_changed__init(ret);
	ret->has_change = true;
	ret->change = change;
	ret->property = message;
	if (change != POSTERN__V1__PROPERTY_CHANGE__PROPERTY_SET) {
		postern__v1__property__init(message);
		message->key = (char *)property->key;
		message->has_revision = true;
		message->revision = property->revision;
		return;
	}
	property_to_message(property, message);
	message->has_value = property->value_len <= PROPERTY_TOLD_MAX;
	ret->has_value_bytes = true;
	ret->value_bytes = property->value_len;
}

void properties_changed(struct watch *watch, const struct property *property,
	Postern__V1__PropertyChange change, const char *by)
{
	Postern__V1__NotifyPropertiesChanged notify;
	Postern__V1__Property message;

	to_notification(property, change, &message, &notify);
	notify.by = (char *)by;
	ring_add_private(watch, TOPIC_properties_changed, &notify.base,
		property->flags & PROPERTY_WORLD_READABLE ? EVERYBODY : property->owner);
}

/* It went by itself. */
static void gone(struct watch *watch, struct property *property, Postern__V1__PropertyChange change)
{
	property_log_remove(&watch->log, &watch->store, property);
	properties_changed(watch, property, change, NULL);
	free(property);
}

void properties_expire(struct watch *watch)
{
	uint64_t now = clock_ns(CLOCK_BOOTTIME), next;
	struct property *property;

	while ((property = store_expire(&watch->store, now)))
		gone(watch, property, POSTERN__V1__PROPERTY_CHANGE__PROPERTY_EXPIRED);
	next = store_next_expiry(&watch->store);
	if (next == UINT64_MAX)
		loop_timer_del(&watch->expiry);
	else
		loop_timer_set(&watch->loop, &watch->expiry, monotonic_ns() + (next - now));
}

static void on_expiry(struct loop_timer *timer)
{
	properties_expire(container_of(timer, struct watch, expiry));
}

void properties_disconnect(struct watch *watch, const void *connection)
{
	struct property *property;

	while ((property = store_disconnect(&watch->store, connection)))
		gone(watch, property, POSTERN__V1__PROPERTY_CHANGE__PROPERTY_DISCONNECTED);
}

void properties_snapshot(
	struct watch *watch, const struct caller *caller, struct snapshot *snapshot)
{
	properties_expire(watch);
	for (size_t i = 0; i < watch->store.n; i++) {
		const struct property *property = watch->store.properties[i];
		Postern__V1__NotifyPropertiesChanged notify;
		Postern__V1__Property message;

		if (!store_may_see(caller, property))
			continue;
		to_notification(
			property, POSTERN__V1__PROPERTY_CHANGE__PROPERTY_SET, &message, &notify);
		notify.by = (char *)property->set_by;
		snapshot_add(snapshot, TOPIC_properties_changed, &notify.base);
	}
}

void properties_start(struct watch *watch)
{
	watch->expiry.fn = on_expiry;
	property_log_open(
		&watch->log, watch->fds[WATCH_FD_PROPERTIES], watch->facts.boot_id, &watch->store);
	properties_expire(watch);
}
