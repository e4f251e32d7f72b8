/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records of /dev/kmsg, and what of them passes. A packet of a socket stands for a record: a read
 * has one, and never a part. */
/* needs: agent/methods/worker/log_kernel.c agent/methods/worker/log_filter.c */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "agent/methods/log_kernel.h"
#include "proto/cleanup.h"

static int parse(const char *text, struct kmsg *ret)
{
	static char record[LOG_KERNEL_RECORD + 1];

	(void)strcpy(record, text);
	return kmsg_parse(record, strlen(record), ret);
}

#define assert_text(at, len, text)                                                                 \
	do {                                                                                       \
		assert_int_equal(len, strlen(text));                                               \
		assert_memory_equal(at, text, len);                                                \
	} while (0)

UNIT(a_record_is_taken_apart)
{
	struct kmsg kmsg;

	assert_int_equal(
		parse("30,1234,567890,-,caller=T1;hello: you\n SUBSYSTEM=pci\n", &kmsg), 0);
	assert_int_equal(kmsg.priority, 6);
	assert_int_equal(kmsg.facility, 3);
	assert_int_equal(kmsg.seq, 1234);
	assert_int_equal(kmsg.time_us, 567890);
	assert_text(kmsg.identifier, kmsg.identifier_len, "hello");
	assert_text(kmsg.message, kmsg.message_len, "you");
	/* What the kernel says itself is no program's, whatever it looks like. */
	assert_int_equal(parse("6,1,2,-;e1000: link[1]: up", &kmsg), 0);
	assert_text(kmsg.identifier, kmsg.identifier_len, "kernel");
	assert_text(kmsg.message, kmsg.message_len, "e1000: link[1]: up");
	assert_int_equal(kmsg.pid, 0);
}

UNIT(who_wrote_there_is_named)
{
	static const struct {
		const char *text, *identifier, *message;
		uint32_t pid;
	} rows[] = {
		{"systemd[1]: Started.", "systemd", "Started.", 1},
		{"udevd: x", "udevd", "x", 0},
		{"a[123456789]: x", "a", "x", 123456789},
		{"a[1234567890]: x", "kernel", "a[1234567890]: x", 0},
		{"a[]: x", "kernel", "a[]: x", 0},
		{"a[1]:x", "kernel", "a[1]:x", 0},
		{"a[1", "kernel", "a[1", 0},
		{"a[1]", "kernel", "a[1]", 0},
		{"two words: x", "kernel", "two words: x", 0},
		{": x", "kernel", ": x", 0},
		{"[1]: x", "kernel", "[1]: x", 0},
		{"a: ", "a", "", 0},
		{"", "kernel", "", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[256];
		struct kmsg kmsg;

		(void)snprintf(text, sizeof(text), "14,5,6,-;%s", rows[i].text);
		assert_int_equal(parse(text, &kmsg), 0);
		assert_text(kmsg.identifier, kmsg.identifier_len, rows[i].identifier);
		assert_text(kmsg.message, kmsg.message_len, rows[i].message);
		assert_int_equal(kmsg.pid, rows[i].pid);
	}
}

UNIT(escapes_become_bytes)
{
	struct kmsg kmsg;

	assert_int_equal(parse("6,1,2,-;a\\x0ab\\x5cc\\x1B\\xc3\\xa9\\xzz\\x4", &kmsg), 0);
	assert_text(kmsg.message, kmsg.message_len, "a\nb\\c\x1b\xc3\xa9\\xzz\\x4");
}

UNIT(what_is_no_record_is_refused)
{
	static const char *const rows[] = {"", ";", "6,1,2,-", "x,1,2,-;t", "6,1;t", "6,1,x,-;t",
		"6 1 2;t", "-6,1,2,-;t", "6,1,2x;t", ";6,1,2,-;t"};
	struct kmsg kmsg;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (parse(rows[i], &kmsg) != -EBADMSG)
			fail_msg("%s", rows[i]);
	assert_int_equal(parse("6,1,2;t", &kmsg), 0);
}

UNIT(nothing_outside_of_a_record_is_touched)
{
	struct dice dice = dice_new("records");
	struct guarded guarded = guarded_new(512);
	static const char letters[] = "0123456789,;-[]: \\x\nabAB=";

	for (int i = 0; i < 20000; i++) {
		char text[256];
		size_t len = dice_below(&dice, sizeof(text)), head = 0;
		struct kmsg kmsg;
		char *at;

		if (dice_below(&dice, 2))
			head = (size_t)sprintf(
				text, "%u,1,2,-;", (unsigned int)dice_below(&dice, 256));
		for (size_t j = head; j < len; j++)
			text[j] = letters[dice_below(&dice, sizeof(letters) - 1)];
		len = len > head ? len : head;
		at = (char *)guarded_copy(&guarded, text, len);
		if (kmsg_parse(at, len, &kmsg) < 0)
			continue;
		assert_true(kmsg.message >= at && kmsg.message + kmsg.message_len <= at + len);
		assert_true(kmsg.identifier_len <= 64);
	}
	guarded_free(&guarded);
}

/* ---- a source ---- */

static Postern__V1__LogsReadRequest request;
static struct log_filter filter;
static struct log_kernel kernel;
static int writer;

static void begin(void)
{
	int pair[2];

	postern__v1__logs_read_request__init(&request);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	writer = pair[1];
	assert_int_equal(log_filter_init(&filter, &request), 0);
	log_kernel_init(&kernel, pair[0], &filter);
}

static void end(void)
{
	log_kernel_close(&kernel);
	(void)close(writer);
}

static void say(const char *record)
{
	assert_int_equal(send(writer, record, strlen(record), 0), strlen(record));
}

static void expect(const char *message)
{
	assert_int_equal(log_kernel_next(&kernel), 1);
	assert_text(kernel.entry.message.data, kernel.entry.message.len, message);
}

UNIT(records_come_one_by_one_and_wait_for_more)
{
	begin();
	assert_int_equal(log_kernel_next(&kernel), 0);
	say("6,7,1000,-;one");
	say("not a record");
	say("3,8,2000,-;two");
	expect("one");
	assert_int_equal(kernel.entry.monotonic_us, 1000);
	assert_int_equal(kernel.entry.priority, 6);
	expect("two");
	assert_int_equal(kernel.entry_seq, 8);
	assert_int_equal(log_kernel_next(&kernel), 0);
	assert_int_equal(kernel.missed, 0);
	end();
}

UNIT(what_was_overwritten_is_counted)
{
	begin();
	say("6,7,1,-;one");
	say("6,12,2,-;two");
	say("6,13,3,-;three");
	expect("one");
	expect("two");
	assert_int_equal(kernel.missed, 4);
	expect("three");
	assert_int_equal(kernel.missed, 4);
	end();
}

UNIT(it_goes_on_behind_a_record_of_this_boot)
{
	struct log_cursor cursor = {.has_kernel = true, .kernel_seq = 7, .monotonic_us = 50};

	begin();
	memcpy(cursor.boot, filter.boot, sizeof(cursor.boot));
	log_kernel_after(&kernel, &cursor);
	say("6,6,40,-;six");
	say("6,7,50,-;seven");
	say("6,8,50,-;eight");
	expect("eight");
	end();

	/* It was not the kernel's, but of that time. */
	begin();
	cursor.has_kernel = false;
	log_kernel_after(&kernel, &cursor);
	say("6,7,50,-;seven");
	say("6,8,51,-;eight");
	expect("eight");
	end();

	/* Of another boot: all of this one's came after it. */
	begin();
	cursor.boot[0] ^= 1;
	log_kernel_after(&kernel, &cursor);
	say("6,1,1,-;one");
	expect("one");
	assert_int_equal(kernel.missed, 0);
	end();
}

UNIT(a_cut_before_the_next_is_a_gap_too)
{
	struct log_cursor cursor = {.has_kernel = true, .kernel_seq = 7};

	begin();
	memcpy(cursor.boot, filter.boot, sizeof(cursor.boot));
	log_kernel_after(&kernel, &cursor);
	say("6,10,60,-;ten");
	expect("ten");
	assert_int_equal(kernel.missed, 2);
	end();
}

static void say_all(void)
{
	say("6,1,1000000,-;Linux version 6");
	say("3,2,2000000,-;bad disk");
	say("30,3,3000000,-;udevd[7]: ready");
	say("12,4,4000000,-;BAD thing");
}

UNIT(only_what_passes_comes)
{
	ProtobufCBinaryData udevd = {.data = (uint8_t *)"udevd", .len = 5};

	begin();
	request.has_priority = true;
	request.priority = 4;
	say_all();
	expect("bad disk");
	expect("BAD thing");
	assert_int_equal(log_kernel_next(&kernel), 0);
	end();

	begin();
	request.n_identifiers = 1;
	request.identifiers = &udevd;
	say_all();
	expect("ready");
	assert_int_equal(kernel.entry.pid, 7);
	assert_int_equal(log_kernel_next(&kernel), 0);
	end();
}

/* The filter knows the text's case when it is made. */
static void grep(const char *text)
{
	end();
	begin();
	request.has_text = true;
	request.text = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
	assert_int_equal(log_filter_init(&filter, &request), 0);
	say_all();
}

UNIT(text_is_found_in_either_case_but_for_upper)
{
	begin();
	grep("bad");
	expect("bad disk");
	expect("BAD thing");
	grep("BAD");
	expect("BAD thing");
	grep("disk");
	expect("bad disk");
	assert_int_equal(log_kernel_next(&kernel), 0);
	grep("bad disk and more");
	assert_int_equal(log_kernel_next(&kernel), 0);
	end();
}

UNIT(times_bound_it)
{
	begin();
	say("6,1,1,-;long ago");
	expect("long ago");
	request.has_since_us = true;
	request.since_us = kernel.entry.realtime_us + 1000000;
	say("6,2,2,-;as long");
	say("6,3,5000000,-;later");
	expect("later");
	request.has_until_us = true;
	request.until_us = kernel.entry.realtime_us + 1000000;
	say("6,4,5500000,-;still");
	say("6,5,9000000,-;too late");
	expect("still");
	assert_int_equal(log_kernel_next(&kernel), 0);
	end();
}

/* ---- cursors ---- */

UNIT(a_cursor_comes_back)
{
	struct log_cursor cursor = {.boot = {0xab, 1}, .realtime_us = -5, .monotonic_us = 77}, got;
	char text[LOG_CURSOR_MAX];

	for (int i = 0; i < 4; i++) {
		cursor.has_kernel = i & 1;
		cursor.kernel_seq = i & 1 ? 99 : 0;
		(void)strcpy(cursor.journal, i & 2 ? "s=1;i=2;t:=" : "");
		assert_int_equal(log_cursor_parse(log_cursor_print(&cursor, text), &got), 0);
		assert_memory_equal(&got, &cursor, sizeof(got));
	}
	memset(cursor.journal, 'x', sizeof(cursor.journal) - 1);
	assert_int_equal(log_cursor_parse(log_cursor_print(&cursor, text), &got), 0);
	assert_memory_equal(&got, &cursor, sizeof(got));
}

UNIT(what_is_no_cursor_is_refused)
{
	static const char boot[] = "00112233445566778899aabbccddeeff";
	static const char *const rows[] = {"", ":", ":1", ":1:2", ":1:2:", ":1:2:3",
		":x:2:3:", ":1:x:3:", ":1:2:x:", "g:1:2:3:", "::::"};
	struct log_cursor got;
	char text[2048];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		(void)snprintf(text, sizeof(text), "%s%s", boot, rows[i]);
		if (log_cursor_parse(text, &got) != -EINVAL)
			fail_msg("%s", text);
	}
	assert_int_equal(log_cursor_parse("0011:1:2:3:", &got), -EINVAL);
	(void)snprintf(text, sizeof(text), "%s:1:2:3:%0*d", boot, LOG_JOURNAL_CURSOR, 0);
	assert_int_equal(log_cursor_parse(text, &got), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(a_record_is_taken_apart),
		RUN(who_wrote_there_is_named),
		RUN(escapes_become_bytes),
		RUN(what_is_no_record_is_refused),
		RUN(nothing_outside_of_a_record_is_touched),
		RUN(records_come_one_by_one_and_wait_for_more),
		RUN(what_was_overwritten_is_counted),
		RUN(it_goes_on_behind_a_record_of_this_boot),
		RUN(a_cut_before_the_next_is_a_gap_too),
		RUN(only_what_passes_comes),
		RUN(text_is_found_in_either_case_but_for_upper),
		RUN(times_bound_it),
		RUN(a_cursor_comes_back),
		RUN(what_is_no_cursor_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
