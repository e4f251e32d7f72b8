/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Both logs as one, in the order of time. */
/* needs: agent/methods/worker/log_journal.c agent/methods/worker/log_kernel.c */
/* needs: agent/methods/worker/log_filter.c agent/methods/worker/log_reading.c */
/* needs: agent/methods/worker/log_journal_library.c agent/methods/worker/log_journal_match.c */
/* needs: agent/methods/worker/library.c */
#include "tests/unit/journal_files.h"

#include <sys/socket.h>

#include "proto/arena.h"
#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/verify.h"

static size_t read_records(int fd, char *text, uint64_t *ret_end)
{
	struct frame_reader reader = {.limit = LOG_RECORD_MAX};
	struct arena arena;
	const uint8_t *body;
	const char *why;
	size_t len, n = 0;

	arena_init(&arena, ARENA_REQUEST_MAX);
	text[0] = '\0';
	while (frame_read(&reader, fd) > 0)
		;
	while (frame_next(&reader, &body, &len) > 0) {
		const Postern__V1__LogRecord *record =
			(const Postern__V1__LogRecord *)verify_unpack(
				&postern__v1__log_record__descriptor, body, len,
				&verify_host_limits, &arena, &why);

		assert_non_null(record);
		if (record->kind_case == POSTERN__V1__LOG_RECORD__KIND_END) {
			*ret_end = record->end->entries;
		} else if (record->kind_case == POSTERN__V1__LOG_RECORD__KIND_GAP) {
			(void)sprintf(text + strlen(text), "gap %d|", (int)record->gap->missed);
		} else {
			(void)sprintf(text + strlen(text), "%.*s|", (int)record->entry->message.len,
				record->entry->message.data);
			n++;
		}
	}
	frame_reader_done(&reader);
	arena_done(&arena);
	return n;
}

UNIT(both_in_the_order_of_time)
{
	static const char *const records[] = {
		"6,1,2000000,-;bad disk", "6,2,12500000,-;between", "6,5,90000000,-;at the end"};
	static struct log_reading reading;
	int kmsg[2], channel[2];
	uint64_t entries = 0;
	char text[4096];

	begin();
	reading.filter = filter;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, kmsg), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, channel), 0);
	request.all_boots = true;
	assert_int_equal(
		log_journal_open(&reading.journal, folder, &reading.filter, false, &has_boot), 0);
	log_kernel_init(&reading.kernel, kmsg[0], &reading.filter);
	reading.journal.kernel_from_us = 2000000;
	for (size_t i = 0; i < ARRAY_SIZE(records); i++)
		assert_true(send(kmsg[1], records[i], strlen(records[i]), 0) > 0);
	reading.skip = 1;
	assert_int_equal(log_reading_send(&reading, channel[0]), 0);
	assert_int_equal(read_records(channel[1], text, &entries), 10);
	assert_int_equal(entries, 10);
	assert_string_equal(text,
		"of a|of b|Linux version|bad disk|Started web|between|gap 2|hello|"
		"forged|warn|at the end|");
	log_reading_done(&reading);
	(void)close(kmsg[1]);
	(void)close(channel[0]);
	(void)close(channel[1]);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {RUN(both_in_the_order_of_time)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
