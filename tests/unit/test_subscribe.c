/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Subscriptions of a client. */
#include "tests/unit/fake_agent.h"

#include "proto/client/subscribe.h"

static const char *const mounts[] = {"notify.mounts.*", "notify.gap"};
static const struct postern_subscribe to_mounts = {.topics = mounts, .n_topics = 2};

/* What one subscription was told. */
struct heard {
	unsigned int events, begun;
	struct postern_notification last;
	char topic[64];
	struct postern_subscription subscription;
	enum postern_failure failure;
};

static void on_event(void *ctx, const struct postern_notification *notification)
{
	struct heard *heard = ctx;

	heard->events++;
	heard->last = *notification;
	(void)snprintf(heard->topic, sizeof(heard->topic), "%s", notification->topic);
	assert_int_equal(notification->payload_len, 2);
	assert_memory_equal(notification->payload, "pl", 2);
}

static void on_begun(void *ctx, const struct postern_error *error,
	const struct postern_subscription *subscription)
{
	struct heard *heard = ctx;

	heard->begun++;
	if (error)
		heard->failure = error->failure;
	else
		heard->subscription = *subscription;
}

/* The agent's answer: the subscription's number, and where it begins. */
static void answer(struct fake *fake, uint64_t call, uint64_t id)
{
	Postern__V1__NotificationsSubscribeReply reply =
		POSTERN__V1__NOTIFICATIONS_SUBSCRIBE_REPLY__INIT;
	Postern__V1__Cursor cursor = POSTERN__V1__CURSOR__INIT;
	char packed[64] = "";

	cursor.has_epoch = cursor.has_seq = reply.has_subscription = true;
	/* No byte of it is 0: fake_result() takes a string. */
	cursor.epoch = UINT64_C(0x0101010101010101);
	cursor.seq = 41;
	reply.cursor = &cursor;
	reply.subscription = id;
	(void)postern__v1__notifications_subscribe_reply__pack(&reply, (uint8_t *)packed);
	fake_result(fake, call, packed, false);
}

static void start(struct fake *fake, const struct postern_subscribe *options, struct heard *heard)
{
	*heard = (struct heard){0};
	assert_int_equal(
		postern_subscribe_start(fake->client, options, on_event, on_begun, heard), 0);
	assert_int_equal(fake_pump(fake), 0);
}

static void begin(struct fake *fake, uint64_t call, uint64_t id, struct heard *heard)
{
	start(fake, &to_mounts, heard);
	answer(fake, call, id);
	assert_int_equal(fake_pump(fake), 0);
	assert_int_equal(heard->begun, 1);
	assert_int_equal(heard->failure, POSTERN_DONE);
	assert_int_equal(heard->subscription.id, id);
}

static const Postern__V1__Request *take_request(struct fake *fake)
{
	const Postern__V1__ToAgent *to;

	do
		to = fake_take(fake);
	while (to->kind_case == POSTERN__V1__TO_AGENT__KIND_HELLO);
	assert_int_equal(to->kind_case, POSTERN__V1__TO_AGENT__KIND_REQUEST);
	return to->request;
}

static Postern__V1__NotificationsSubscribeRequest *take_subscribe(struct fake *fake)
{
	const Postern__V1__Request *request = take_request(fake);

	assert_string_equal(request->method, "notifications.subscribe");
	return postern__v1__notifications_subscribe_request__unpack(
		NULL, request->params.len, request->params.data);
}

UNIT(options_become_fields)
{
	const struct postern_cursor after = {UINT64_MAX, 7};
	const struct postern_subscribe all = {.topics = mounts,
		.n_topics = 2,
		.snapshot = true,
		.interval_ms = 1500,
		.threshold = {.which = POSTERN_IF_LOAD1 | POSTERN_IF_MEMORY |
				       POSTERN_IF_CPU_PRESSURE | POSTERN_IF_MEMORY_PRESSURE |
				       POSTERN_IF_IO_PRESSURE,
			.load1_above = 1,
			.memory_available_below = 2,
			.cpu_pressure_above = 3,
			.memory_pressure_above = 4,
			.io_pressure_above = 5},
		.after = &after};
	Postern__V1__NotificationsSubscribeRequest *request;
	struct heard heard;
	struct fake fake;

	fake_ready(&fake, NULL);
	start(&fake, &all, &heard);
	request = take_subscribe(&fake);
	assert_int_equal(request->n_topics, 2);
	assert_string_equal(request->topics[0], mounts[0]);
	assert_string_equal(request->topics[1], mounts[1]);
	assert_true(request->has_snapshot && request->snapshot);
	assert_int_equal(request->interval_ms, 1500);
	assert_true(request->threshold->load1_above > 0.9 && request->threshold->load1_above < 1.1);
	assert_int_equal(request->threshold->memory_available_below, 2);
	assert_true(request->threshold->cpu_pressure_above > 2.9);
	assert_true(request->threshold->memory_pressure_above > 3.9);
	assert_true(request->threshold->io_pressure_above > 4.9);
	assert_true(request->after->epoch == UINT64_MAX);
	assert_int_equal(request->after->seq, 7);
	postern__v1__notifications_subscribe_request__free_unpacked(request, NULL);
	fake_stop(&fake);
}

UNIT(what_is_not_asked_for_is_not_sent)
{
	static const struct postern_subscribe one = {
		.topics = mounts, .n_topics = 1, .threshold = {.which = POSTERN_IF_CPU_PRESSURE}};
	Postern__V1__NotificationsSubscribeRequest *request;
	struct heard heard;
	struct fake fake;

	fake_ready(&fake, NULL);
	start(&fake, &to_mounts, &heard);
	request = take_subscribe(&fake);
	assert_false(request->has_snapshot || request->has_interval_ms);
	assert_null(request->threshold);
	assert_null(request->after);
	postern__v1__notifications_subscribe_request__free_unpacked(request, NULL);
	start(&fake, &one, &heard);
	request = take_subscribe(&fake);
	assert_int_equal(request->n_topics, 1);
	assert_true(request->threshold->has_cpu_pressure_above);
	assert_false(request->threshold->has_load1_above ||
		     request->threshold->has_memory_available_below ||
		     request->threshold->has_memory_pressure_above ||
		     request->threshold->has_io_pressure_above);
	postern__v1__notifications_subscribe_request__free_unpacked(request, NULL);
	fake_stop(&fake);
}

UNIT(events_reach_their_own_subscription)
{
	struct heard one, two;
	struct fake fake;

	fake_ready(&fake, NULL);
	begin(&fake, 1, 3, &one);
	begin(&fake, 2, 4, &two);
	assert_true(one.subscription.cursor.epoch == UINT64_C(0x0101010101010101));
	assert_int_equal(one.subscription.cursor.seq, 41);
	fake_notify_of(&fake, 3, (char *)"notify.mounts.mount");
	fake_notify_of(&fake, 4, (char *)"notify.mounts.unmount");
	fake_notify_of(&fake, 4, (char *)"notify.gap");
	fake_notify_of(&fake, 5, (char *)"notify.gap");
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(one.events, 1);
	assert_string_equal(one.topic, "notify.mounts.mount");
	assert_int_equal(one.last.subscription, 3);
	assert_int_equal(one.last.seq, 17);
	assert_int_equal(two.events, 2);
	assert_string_equal(two.topic, "notify.gap");
	fake_stop(&fake);
}

UNIT(nothing_is_told_before_the_answer_and_after_the_end)
{
	Postern__V1__NotificationsUnsubscribeRequest *end;
	const Postern__V1__Request *request;
	struct heard heard;
	struct fake fake;

	fake_ready(&fake, NULL);
	start(&fake, &to_mounts, &heard);
	fake_notify_of(&fake, 0, (char *)"notify.gap");
	fake_notify_of(&fake, 3, (char *)"notify.gap");
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(heard.events, 0);
	answer(&fake, 1, 3);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(postern_unsubscribe(fake.client, 4), -ENOENT);
	assert_int_equal(postern_unsubscribe(fake.client, 3), 0);
	assert_int_equal(postern_unsubscribe(fake.client, 3), -ENOENT);
	fake_notify_of(&fake, 3, (char *)"notify.gap");
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(heard.events, 0);
	(void)take_request(&fake);
	request = take_request(&fake);
	assert_string_equal(request->method, "notifications.unsubscribe");
	end = postern__v1__notifications_unsubscribe_request__unpack(
		NULL, request->params.len, request->params.data);
	assert_int_equal(end->subscription, 3);
	postern__v1__notifications_unsubscribe_request__free_unpacked(end, NULL);
	fake_result(&fake, 2, "", false);
	assert_int_equal(fake_pump(&fake), 0);
	fake_stop(&fake);
}

/* Ends its own subscription with the first event. */
static void on_event_end(void *ctx, const struct postern_notification *notification)
{
	struct fake *fake = ctx;

	fake->notifications++;
	assert_int_equal(postern_unsubscribe(fake->client, notification->subscription), 0);
}

UNIT(a_subscription_may_be_ended_by_its_event)
{
	struct fake fake;

	fake_ready(&fake, NULL);
	assert_int_equal(
		postern_subscribe_start(fake.client, &to_mounts, on_event_end, NULL, &fake), 0);
	answer(&fake, 1, 3);
	fake_notify(&fake, (char *)"notify.gap");
	fake_notify(&fake, (char *)"notify.gap");
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(fake.notifications, 1);
	fake_stop(&fake);
}

UNIT(a_refusal_ends_it)
{
	Postern__V1__Error error = POSTERN__V1__ERROR__INIT;
	struct heard heard;
	struct fake fake;

	fake_ready(&fake, NULL);
	start(&fake, &to_mounts, &heard);
	error.has_code = true;
	error.code = POSTERN__V1__CODE__PERMISSION_DENIED;
	error.rule = (char *)"a.policy:1";
	fake_error(&fake, 1, &error);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(heard.begun, 1);
	assert_int_equal(heard.failure, POSTERN_REFUSED);
	fake_notify_of(&fake, 0, (char *)"notify.gap");
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(heard.events, 0);
	fake_stop(&fake);
}

UNIT(an_answer_that_is_none_ends_it)
{
	struct heard one, two;
	struct fake fake;

	fake_ready(&fake, NULL);
	start(&fake, &to_mounts, &one);
	fake_result(&fake, 1, "\x0b\x0c", false);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(one.failure, POSTERN_PROTOCOL);
	/* Two subscriptions of one number cannot be told apart. */
	begin(&fake, 2, 3, &one);
	start(&fake, &to_mounts, &two);
	answer(&fake, 3, 3);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(two.failure, POSTERN_PROTOCOL);
	fake_notify(&fake, (char *)"notify.gap");
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(one.events, 1);
	assert_int_equal(two.events, 0);
	fake_stop(&fake);
}

UNIT(the_end_of_the_connection_is_told)
{
	struct heard heard;
	struct fake fake;

	fake_ready(&fake, NULL);
	start(&fake, &to_mounts, &heard);
	fake_hang_up(&fake);
	ENDED(&fake, POSTERN_ABSENT);
	assert_int_equal(heard.begun, 1);
	assert_int_equal(heard.failure, POSTERN_ABSENT);
	fake_stop(&fake);
}

UNIT(it_needs_a_hello_and_memory_is_given_back)
{
	struct heard heard = {0};
	struct fake fake;

	fake_start(&fake, NULL);
	assert_int_equal(
		postern_subscribe_start(fake.client, &to_mounts, on_event, on_begun, &heard),
		-ENOTCONN);
	assert_int_equal(
		postern_subscribe(fake.client, &to_mounts, on_event, &heard, NULL, &fake.error),
		-ENOTCONN);
	assert_int_equal(heard.begun, 0);
	fake_stop(&fake);
	/* Closed under way, and while it stands. */
	fake_ready(&fake, NULL);
	begin(&fake, 1, 3, &heard);
	start(&fake, &to_mounts, &heard);
	fake_stop(&fake);
	assert_int_equal(heard.begun, 0);
}

UNIT(the_blocking_form)
{
	struct postern_subscription subscription;
	Postern__V1__Error error = POSTERN__V1__ERROR__INIT;
	struct heard heard = {0};
	struct fake fake;

	fake_ready(&fake, NULL);
	answer(&fake, 1, 9);
	fake_notify_of(&fake, 9, (char *)"notify.gap");
	assert_int_equal(postern_subscribe(fake.client, &to_mounts, on_event, &heard, &subscription,
				 &fake.error),
		0);
	assert_int_equal(subscription.id, 9);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(heard.events, 1);
	error.has_code = true;
	error.code = POSTERN__V1__CODE__INVALID_ARGUMENT;
	error.message = (char *)"no such topic";
	fake_error(&fake, 2, &error);
	assert_int_equal(
		postern_subscribe(fake.client, &to_mounts, on_event, &heard, NULL, &fake.error),
		-EREMOTEIO);
	assert_int_equal(fake.error.failure, POSTERN_ANSWERED);
	assert_string_equal(fake.error.message, "no such topic");
	fake_stop(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(options_become_fields),
		RUN(what_is_not_asked_for_is_not_sent),
		RUN(events_reach_their_own_subscription),
		RUN(nothing_is_told_before_the_answer_and_after_the_end),
		RUN(a_subscription_may_be_ended_by_its_event),
		RUN(a_refusal_ends_it),
		RUN(an_answer_that_is_none_ends_it),
		RUN(the_end_of_the_connection_is_told),
		RUN(it_needs_a_hello_and_memory_is_given_back),
		RUN(the_blocking_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
