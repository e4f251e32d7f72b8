/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls of a client: answers in any order and of any kind, time, notifications. */
/* flags: -Wl,--wrap=poll */
#include "tests/unit/fake_agent.h"

#include "proto/clock.h"

static bool poll_fails;

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	if (!poll_fails)
		return __real_poll(fds, n, timeout_ms);
	errno = ENOMEM;
	return -1;
}

static void sleep_until(uint64_t at)
{
	while (ms_until(at) > 0)
		(void)poll(NULL, 0, ms_until(at));
}

UNIT(a_call_and_its_result)
{
	struct fake fake;
	uint64_t id;

	fake_ready(&fake, NULL);
	id = fake_call(&fake, "system.ping", 1234);
	assert_int_equal(fake.said->request->timeout_ms, 1234);
	assert_memory_equal(fake.said->request->params.data, "par", 3);
	fake_result(&fake, id, "pong", false);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(fake.replies, 1);
	assert_string_equal(fake.result, "pong");
	fake_stop(&fake);
}

UNIT(an_empty_result)
{
	struct fake fake;

	fake_ready(&fake, NULL);
	fake_result(&fake, fake_call(&fake, "modules.unload", 0), "", false);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(fake.replies, 1);
	assert_string_equal(fake.result, "");
	fake_stop(&fake);
}

UNIT(no_timeout_is_not_sent)
{
	struct fake fake;

	fake_ready(&fake, NULL);
	(void)fake_call(&fake, "system.ping", 0);
	assert_false(fake.said->request->has_timeout_ms);
	fake_stop(&fake);
}

UNIT(answers_come_in_any_order)
{
	struct fake fake;
	uint64_t first, second;

	fake_ready(&fake, NULL);
	first = fake_call(&fake, "system.info", 0);
	second = fake_call(&fake, "system.ping", 0);
	assert_true(first != 0 && second != 0 && first != second);
	fake_result(&fake, second, "two", false);
	assert_int_equal(fake_pump(&fake), 0);
	assert_string_equal(fake.result, "two");
	fake_result(&fake, first, "one", false);
	assert_int_equal(fake_pump(&fake), 0);
	assert_string_equal(fake.result, "one");
	assert_int_equal(fake.replies, 2);
	fake_stop(&fake);
}

UNIT(an_answer_in_parts)
{
	struct fake fake;
	uint64_t id;

	fake_ready(&fake, NULL);
	id = fake_call(&fake, "mounts.list", 0);
	fake_result(&fake, id, "a", true);
	fake_result(&fake, id, "b", true);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(fake.replies, 2);
	assert_true(fake.more);
	fake_result(&fake, id, "c", false);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(fake.replies, 3);
	assert_false(fake.more);
	assert_string_equal(fake.result, "c");
	fake_stop(&fake);
}

UNIT(an_error_ends_an_answer_in_parts)
{
	Postern__V1__Error error = POSTERN__V1__ERROR__INIT;
	struct fake fake;
	uint64_t id;

	error.has_code = true;
	error.code = POSTERN__V1__CODE__DATA_LOSS;
	fake_ready(&fake, NULL);
	id = fake_call(&fake, "mounts.list", 0);
	fake_result(&fake, id, "a", true);
	fake_error(&fake, id, &error);
	fake_result(&fake, id, "late", false);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(fake.replies, 1);
	assert_int_equal(fake.errors, 1);
	assert_int_equal(fake.answer.code, POSTERN__V1__CODE__DATA_LOSS);
	fake_stop(&fake);
}

UNIT(a_second_answer_reaches_nobody)
{
	struct fake fake;
	uint64_t id;

	fake_ready(&fake, NULL);
	id = fake_call(&fake, "system.ping", 0);
	fake_result(&fake, id, "one", false);
	fake_result(&fake, id, "two", false);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(fake.replies, 1);
	assert_string_equal(fake.result, "one");
	fake_stop(&fake);
}

UNIT(an_answer_to_a_request_never_made_ends)
{
	static const uint64_t ids[] = {0, 2, 1000, UINT64_MAX};

	for (size_t i = 0; i < 4; i++) {
		struct fake fake;

		fake_ready(&fake, NULL);
		assert_int_equal(fake_call(&fake, "system.ping", 0), 1);
		fake_result(&fake, ids[i], "x", false);
		ENDED(&fake, POSTERN_PROTOCOL);
		assert_int_equal(fake.replies, 0);
		assert_int_equal(fake.errors, 1);
		assert_int_equal(fake.answer.failure, POSTERN_PROTOCOL);
		fake_stop(&fake);
	}
}

UNIT(an_answer_without_content_ends)
{
	struct fake fake;

	fake_ready(&fake, NULL);
	(void)fake_call(&fake, "system.ping", 0);
	FAKE_RAW(&fake, "\x04\x12\x02\x08\x01");
	ENDED(&fake, POSTERN_PROTOCOL);
	fake_stop(&fake);
}

UNIT(errors_are_told_apart)
{
	static const struct {
		Postern__V1__Code code;
		const char *rule;
		enum postern_failure failure;
	} cases[] = {
		{POSTERN__V1__CODE__NOT_FOUND, NULL, POSTERN_ANSWERED},
		{POSTERN__V1__CODE__PERMISSION_DENIED, NULL, POSTERN_ANSWERED},
		{POSTERN__V1__CODE__PERMISSION_DENIED, "no rule", POSTERN_REFUSED},
		{POSTERN__V1__CODE__UNAUTHENTICATED, NULL, POSTERN_REFUSED},
		{POSTERN__V1__CODE__DEADLINE_EXCEEDED, NULL, POSTERN_TIMED_OUT},
		{POSTERN__V1__CODE__CODE_UNSPECIFIED, NULL, POSTERN_ANSWERED},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		Postern__V1__Error error = POSTERN__V1__ERROR__INIT;
		struct fake fake;

		error.has_code = true;
		error.code = cases[i].code;
		error.rule = (char *)cases[i].rule;
		fake_ready(&fake, NULL);
		fake_error(&fake, fake_call(&fake, "mounts.mount", 0), &error);
		assert_int_equal(fake_pump(&fake), 0);
		assert_int_equal(fake.answer.failure, cases[i].failure);
		assert_int_equal(fake.answer.code, cases[i].code);
		fake_stop(&fake);
	}
}

UNIT(texts_of_errors_are_escaped_and_cut)
{
	Postern__V1__Error error = POSTERN__V1__ERROR__INIT;
	char message[4001];
	struct fake fake;

	memset(message, '\x1b', sizeof(message) - 1);
	message[4000] = '\0';
	error.message = message;
	error.rule = (char *)"x\ny";
	error.has_sys_errno = error.has_outcome = true;
	error.sys_errno = EBUSY;
	error.outcome = POSTERN__V1__OUTCOME__DONE;
	fake_ready(&fake, NULL);
	fake_error(&fake, fake_call(&fake, "mounts.mount", 0), &error);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(strncmp(fake.answer.message, "\\x1b\\x1b", 8), 0);
	assert_int_equal(strlen(fake.answer.message), 508);
	assert_string_equal(fake.answer.rule, "x\\ny");
	assert_int_equal(fake.answer.sys_errno, EBUSY);
	assert_int_equal(fake.answer.outcome, POSTERN_IN_EFFECT);
	fake_stop(&fake);
}

UNIT(an_outcome_from_the_future_is_unknown)
{
	Postern__V1__Error error = POSTERN__V1__ERROR__INIT;
	struct fake fake;

	error.has_outcome = true;
	error.outcome = (Postern__V1__Outcome)55;
	fake_ready(&fake, NULL);
	fake_error(&fake, fake_call(&fake, "mounts.mount", 0), &error);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(fake.answer.outcome, POSTERN_UNKNOWN);
	error.outcome = (Postern__V1__Outcome)-1;
	fake_error(&fake, fake_call(&fake, "mounts.mount", 0), &error);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(fake.answer.outcome, POSTERN_UNKNOWN);
	fake_stop(&fake);
}

UNIT(a_late_call_is_given_up_and_its_answer_dropped)
{
	const struct postern_options options = {.call_grace_ms = 10};
	struct fake fake;
	uint64_t id;

	fake_ready(&fake, &options);
	id = fake_call(&fake, "system.ping", 10);
	assert_in_range(ms_until(postern_client_deadline(fake.client)), 0, 20);
	sleep_until(postern_client_deadline(fake.client));
	assert_int_equal(postern_client_dispatch(fake.client, &fake.error), 0);
	assert_int_equal(fake.errors, 1);
	assert_int_equal(fake.answer.failure, POSTERN_TIMED_OUT);
	assert_true(postern_client_deadline(fake.client) == UINT64_MAX);
	fake_result(&fake, id, "late", false);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(fake.replies, 0);
	/* The connection is as good as before. */
	fake_result(&fake, fake_call(&fake, "system.ping", 0), "ok", false);
	assert_int_equal(fake_pump(&fake), 0);
	assert_string_equal(fake.result, "ok");
	fake_stop(&fake);
}

UNIT(cancel_is_sent_and_the_answer_still_comes)
{
	struct fake fake;
	uint64_t id;

	fake_ready(&fake, NULL);
	id = fake_call(&fake, "mounts.mount", 0);
	assert_int_equal(postern_call_cancel(fake.client, id), 0);
	assert_int_equal(fake_pump(&fake), 0);
	assert_int_equal(fake_take(&fake)->kind_case, POSTERN__V1__TO_AGENT__KIND_CANCEL);
	assert_int_equal(fake.said->cancel->id, id);
	fake_result(&fake, id, "done anyway", false);
	assert_int_equal(fake_pump(&fake), 0);
	assert_string_equal(fake.result, "done anyway");
	fake_stop(&fake);
}

UNIT(calls_need_a_hello)
{
	struct fake fake;
	uint64_t id = 0;

	fake_start(&fake, NULL);
	assert_int_equal(postern_call_start(
				 fake.client, "system.ping", NULL, 0, 0, fake_on_reply, &fake, &id),
		-ENOTCONN);
	assert_int_equal(postern_call_cancel(fake.client, 1), -ENOTCONN);
	fake_stop(&fake);
}

UNIT(requests_keep_the_agents_limit)
{
	static uint8_t params[5000];
	struct fake fake;
	uint64_t id;

	fake_ready(&fake, NULL); /* 4096 */
	assert_int_equal(postern_call_start(fake.client, "system.ping", params, sizeof(params), 0,
				 fake_on_reply, &fake, &id),
		-EMSGSIZE);
	assert_int_equal(postern_call_start(fake.client, "system.ping", params, 4000, 0,
				 fake_on_reply, &fake, &id),
		0);
	assert_int_equal(fake_pump(&fake), 0);
	fake_stop(&fake);
}

UNIT(bad_topics_end)
{
	static const char *const topics[] = {"", "Notify", "a b", "a\x1b", "a/b", "a-b", "\xc3\xa4",
		"0123456789012345678901234567890123456789012345678901234567890123"};

	for (size_t i = 0; i <= sizeof(topics) / sizeof(topics[0]); i++) {
		struct fake fake;

		fake_ready(&fake, NULL);
		fake_notify(&fake, i < 8 ? (char *)topics[i] : NULL);
		ENDED(&fake, POSTERN_PROTOCOL);
		fake_stop(&fake);
	}
}

UNIT(blocking_calls_time_out)
{
	const struct postern_options options = {.call_grace_ms = 5};
	struct fake fake;

	fake_ready(&fake, &options);
	assert_int_equal(postern_call(fake.client, "system.ping", NULL, 0, 5, fake_on_reply, &fake,
				 &fake.error),
		-ETIMEDOUT);
	assert_int_equal(fake.error.failure, POSTERN_TIMED_OUT);
	assert_int_equal(fake.replies + fake.errors, 0);
	fake_stop(&fake);
}

UNIT(blocking_calls_tell_of_the_end)
{
	struct fake fake;

	fake_ready(&fake, NULL);
	fake_hang_up(&fake);
	assert_true(
		postern_call(fake.client, "system.ping", NULL, 0, 0, NULL, NULL, &fake.error) < 0);
	assert_int_equal(fake.error.failure, POSTERN_ABSENT);
	assert_int_equal(
		postern_call(fake.client, "system.ping", NULL, 0, 0, NULL, NULL, &fake.error),
		-ENOTCONN);
	assert_int_equal(fake.error.failure, POSTERN_ABSENT);
	fake_stop(&fake);
}

/* The answer stands in the socket before the call: the client numbers its calls from 1. */
UNIT(blocking_calls_return_errors_whole)
{
	Postern__V1__Error error = POSTERN__V1__ERROR__INIT;
	struct fake fake;

	error.has_code = true;
	error.code = POSTERN__V1__CODE__NOT_FOUND;
	error.message = (char *)"nothing there";
	fake_ready(&fake, NULL);
	fake_error(&fake, 1, &error);
	assert_int_equal(
		postern_call(fake.client, "mounts.unmount", NULL, 0, 0, NULL, NULL, &fake.error),
		-EREMOTEIO);
	assert_int_equal(fake.error.failure, POSTERN_ANSWERED);
	assert_string_equal(fake.error.message, "nothing there");
	assert_non_null(fake.error.packed);
	fake_stop(&fake);
}

/* What a blocking call waits with is on its stack: nothing of it may be left behind. */
UNIT(blocking_calls_that_cannot_wait_leave_nothing_behind)
{
	struct postern_subscribe options = {0};
	struct postern_subscription subscription;
	struct fake fake;

	for (int i = 0; i < 2; i++) {
		fake_ready(&fake, NULL);
		poll_fails = true;
		if (i == 0)
			assert_int_equal(postern_call(fake.client, "system.ping", NULL, 0, 0, NULL,
						 NULL, &fake.error),
				-ENOMEM);
		else
			assert_int_equal(postern_subscribe(fake.client, &options, NULL, NULL,
						 &subscription, &fake.error),
				-ENOMEM);
		poll_fails = false;
		assert_true(list_empty(&fake.client->calls));
		assert_int_equal(fake.error.failure, POSTERN_ABSENT);
		assert_int_equal(postern_client_dispatch(fake.client, NULL), -ENOTCONN);
		fake_stop(&fake);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(a_call_and_its_result),
		RUN(an_empty_result),
		RUN(no_timeout_is_not_sent),
		RUN(answers_come_in_any_order),
		RUN(an_answer_in_parts),
		RUN(an_error_ends_an_answer_in_parts),
		RUN(a_second_answer_reaches_nobody),
		RUN(an_answer_to_a_request_never_made_ends),
		RUN(an_answer_without_content_ends),
		RUN(errors_are_told_apart),
		RUN(texts_of_errors_are_escaped_and_cut),
		RUN(an_outcome_from_the_future_is_unknown),
		RUN(a_late_call_is_given_up_and_its_answer_dropped),
		RUN(cancel_is_sent_and_the_answer_still_comes),
		RUN(calls_need_a_hello),
		RUN(requests_keep_the_agents_limit),
		RUN(bad_topics_end),
		RUN(blocking_calls_time_out),
		RUN(blocking_calls_tell_of_the_end),
		RUN(blocking_calls_that_cannot_wait_leave_nothing_behind),
		RUN(blocking_calls_return_errors_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
