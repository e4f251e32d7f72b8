/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "notifications.pb-c.h"
#include "proto/cleanup.h"
#include "proto/client/client_state.h"
#include "proto/client/error.h"
#include "proto/encode.h"
#include "proto/limits.h"
#include "proto/verify.h"

struct subscription {
	struct list_node node;
	struct postern_client *client;
	bool stands; /* the agent has given it its id */
	uint64_t id;
	postern_notify_fn fn;
	void *ctx;
	postern_subscribed_fn begun;
	void *begun_ctx;
};

static void drop(struct subscription *subscription)
{
	list_remove(&subscription->node);
	free(subscription);
}

void client_drop_subscriptions(struct postern_client *client)
{
	LIST_EACH(&client->subscriptions, node)
	drop(container_of(node, struct subscription, node));
}

static struct subscription *find(struct postern_client *client, uint64_t id)
{
	LIST_EACH(&client->subscriptions, node)
	{
		struct subscription *subscription = container_of(node, struct subscription, node);

		if (subscription->stands && subscription->id == id)
			return subscription;
	}
	return NULL;
}

void client_notify(struct postern_client *client, const struct postern_notification *notification)
{
	struct subscription *subscription = find(client, notification->subscription);

	/* One that was ended may still have been told something. */
	if (subscription)
		subscription->fn(subscription->ctx, notification);
}

static void refuse(struct subscription *subscription, const struct postern_error *error)
{
	postern_subscribed_fn begun = subscription->begun;
	void *ctx = subscription->begun_ctx;

	drop(subscription);
	if (begun)
		begun(ctx, error, NULL);
}

static void on_reply(
	void *ctx, const struct postern_error *error, const uint8_t *result, size_t len, bool more)
{
	struct subscription *subscription = ctx;
	struct postern_client *client = subscription->client;
	const Postern__V1__NotificationsSubscribeReply *reply;
	struct postern_subscription told;
	struct postern_error bad = {0};
	const char *why = "";

	(void)more;
	if (error) {
		refuse(subscription, error);
		return;
	}
	reply = (const Postern__V1__NotificationsSubscribeReply *)verify_unpack(
		&postern__v1__notifications_subscribe_reply__descriptor, result, len,
		&verify_host_limits, &client->arena, &why);
	if (!reply || find(client, reply->subscription)) {
		error_set(&bad, POSTERN_PROTOCOL, 0, "the answer to a subscription is none: %s",
			reply ? "another one has that id" : why);
		refuse(subscription, &bad);
		return;
	}
	subscription->stands = true;
	subscription->id = reply->subscription;
	told = (struct postern_subscription){.id = reply->subscription};
	if (reply->cursor)
		told.cursor = (struct postern_cursor){reply->cursor->epoch, reply->cursor->seq};
	if (subscription->begun)
		subscription->begun(subscription->begun_ctx, NULL, &told);
}

static void fill_threshold(
	Postern__V1__LoadThreshold *to, const struct postern_threshold *threshold)
{
	to->has_load1_above = (threshold->which & POSTERN_IF_LOAD1) != 0;
	to->load1_above = threshold->load1_above;
	to->has_memory_available_below = (threshold->which & POSTERN_IF_MEMORY) != 0;
	to->memory_available_below = threshold->memory_available_below;
	to->has_cpu_pressure_above = (threshold->which & POSTERN_IF_CPU_PRESSURE) != 0;
	to->cpu_pressure_above = threshold->cpu_pressure_above;
	to->has_memory_pressure_above = (threshold->which & POSTERN_IF_MEMORY_PRESSURE) != 0;
	to->memory_pressure_above = threshold->memory_pressure_above;
	to->has_io_pressure_above = (threshold->which & POSTERN_IF_IO_PRESSURE) != 0;
	to->io_pressure_above = threshold->io_pressure_above;
}

static int start(struct subscription *subscription, const struct postern_subscribe *options)
{
	Postern__V1__NotificationsSubscribeRequest request =
		POSTERN__V1__NOTIFICATIONS_SUBSCRIBE_REQUEST__INIT;
	Postern__V1__LoadThreshold threshold = POSTERN__V1__LOAD_THRESHOLD__INIT;
	Postern__V1__Cursor after = POSTERN__V1__CURSOR__INIT;
	AUTO_FREE uint8_t *params = NULL;
	uint64_t id;
	size_t len;

	request.n_topics = options->n_topics;
	request.topics = (char **)options->topics;
	request.has_snapshot = request.snapshot = options->snapshot;
	request.has_interval_ms = options->interval_ms != 0;
	request.interval_ms = options->interval_ms;
	if (options->threshold.which) {
		fill_threshold(&threshold, &options->threshold);
		request.threshold = &threshold;
	}
	if (options->after) {
		after.has_epoch = after.has_seq = true;
		after.epoch = options->after->epoch;
		after.seq = options->after->seq;
		request.after = &after;
	}
	params = encode_new(&request.base, &len);
	if (!params)
		return -ENOMEM;
	return postern_call_start(subscription->client, "notifications.subscribe", params, len, 0,
		on_reply, subscription, &id);
}

static int begin(struct postern_client *client, const struct postern_subscribe *options,
	postern_notify_fn fn, void *ctx, postern_subscribed_fn begun, void *begun_ctx)
{
	struct subscription *subscription = calloc(1, sizeof(*subscription));
	int r;

	if (!subscription)
		return -ENOMEM;
	*subscription = (struct subscription){
		.client = client, .fn = fn, .ctx = ctx, .begun = begun, .begun_ctx = begun_ctx};
	list_append(&client->subscriptions, &subscription->node);
	r = start(subscription, options);
	if (r < 0)
		drop(subscription);
	return r;
}

int postern_subscribe_start(struct postern_client *client, const struct postern_subscribe *options,
	postern_notify_fn fn, postern_subscribed_fn begun, void *ctx)
{
	return begin(client, options, fn, ctx, begun, ctx);
}

struct blocking_subscribe {
	struct postern_subscription *ret;
	struct postern_error *error;
	bool done;
	int r;
};

static void on_begun(void *ctx, const struct postern_error *error,
	const struct postern_subscription *subscription)
{
	struct blocking_subscribe *call = ctx;

	call->done = true;
	if (error) {
		error_copy(call->error, error);
		call->r = error->packed ? -EREMOTEIO : -EPROTO;
	} else if (call->ret) {
		*call->ret = *subscription;
	}
}

int postern_subscribe(struct postern_client *client, const struct postern_subscribe *options,
	postern_notify_fn fn, void *ctx, struct postern_subscription *ret_subscription,
	struct postern_error *error)
{
	struct blocking_subscribe call = {.ret = ret_subscription, .error = error};
	int r = begin(client, options, fn, ctx, on_begun, &call);

	if (r < 0)
		return client_fail_start(error, "notifications.subscribe", r);
	r = client_run_until(client, &call.done, error);
	return r < 0 ? r : call.r;
}

static void on_unsubscribed(
	void *ctx, const struct postern_error *error, const uint8_t *result, size_t len, bool more)
{
	(void)ctx;
	(void)error;
	(void)result;
	(void)len;
	(void)more;
}

int postern_unsubscribe(struct postern_client *client, uint64_t id)
{
	Postern__V1__NotificationsUnsubscribeRequest request =
		POSTERN__V1__NOTIFICATIONS_UNSUBSCRIBE_REQUEST__INIT;
	struct subscription *subscription = find(client, id);
	uint8_t params[16 + ENCODE_SLACK], *end = params + sizeof(params);
	uint64_t call;
	size_t len;

	if (!subscription)
		return -ENOENT;
	drop(subscription);
	request.has_subscription = true;
	request.subscription = id;
	len = encode_before(params, end, &request.base);
	return postern_call_start(client, "notifications.unsubscribe", end - len, len, 0,
		on_unsubscribed, NULL, &call);
}
