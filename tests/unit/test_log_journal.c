/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The journal, from files that systemd's own program makes. */
/* needs: agent/methods/worker/log_journal.c agent/methods/worker/log_kernel.c */
/* needs: agent/methods/worker/log_filter.c agent/methods/worker/log_reading.c */
/* needs: agent/methods/worker/log_journal_library.c agent/methods/worker/log_journal_match.c */
/* needs: agent/methods/worker/library.c */
#include "tests/unit/journal_files.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

UNIT(entries_of_this_boot_with_what_they_have)
{
	begin();
	assert_int_equal(reopen(false), 0);
	expect("Linux version");
	assert_int_equal(journal.entry.source, POSTERN__V1__LOG_SOURCE__KERNEL);
	assert_int_equal(journal.entry.monotonic_us, 1000000);
	assert_int_equal(journal.entry.realtime_us, (START + 10) * 1000000);
	assert_true(journal.entry.has_facility && log_entry_is_of_now(&filter, &journal.entry));
	expect("bad disk");
	expect("Started web");
	assert_int_equal(journal.entry.source, POSTERN__V1__LOG_SOURCE__JOURNAL);
	assert_int_equal(journal.entry.monotonic_us, 12000000);
	expect("hello");
	/* The command where it has no other name. */
	assert_int_equal(journal.entry.identifier.len, 4);
	assert_memory_equal(journal.entry.identifier.data, "webd", 4);
	assert_int_equal(journal.entry.unit.len, strlen("web.service"));
	assert_int_equal(journal.entry.pid, 42);
	assert_int_equal(journal.entry.facility, 3);
	expect("forged");
	assert_false(journal.entry.has_identifier);
	expect("warn");
	assert_int_equal(journal.entry.pid, 5);
	expect(NULL);
	end();
}

UNIT(boots_before_this_one)
{
	begin();
	request.has_boot = true;
	request.boot = -1;
	assert_int_equal(reopen(false), 0);
	expect("of b");
	assert_false(log_entry_is_of_now(&filter, &journal.entry));
	expect(NULL);
	request.boot = -2;
	assert_int_equal(reopen(false), 0);
	expect("first of all");
	expect("of a");
	expect(NULL);
	request.boot = -3;
	assert_int_equal(reopen(false), -ENOENT);
	assert_false(has_boot);
	request.has_boot = false;
	request.boot = 0;
	request.all_boots = true;
	assert_int_equal(reopen(true), 0);
	expect("first of all");
	expect("Linux version");
	expect("bad disk");
	expect(NULL);
	end();
}

UNIT(a_unit_is_what_its_processes_say_and_systemd_of_it)
{
	char *web[] = {(char *)"web"}, *both[] = {(char *)"web.service", (char *)"other"};

	begin();
	request.n_units = 1;
	request.units = web;
	assert_int_equal(reopen(false), 0);
	expect("Started web");
	expect("hello");
	expect(NULL);
	request.n_units = 2;
	request.units = both;
	assert_int_equal(reopen(false), 0);
	expect("Started web");
	expect("hello");
	expect("warn");
	expect(NULL);
	/* All of them at once: of these units, and so urgent. */
	request.has_priority = true;
	request.priority = 4;
	assert_int_equal(reopen(false), 0);
	expect("warn");
	expect(NULL);
	end();
}

UNIT(identifiers_priorities_and_times)
{
	ProtobufCBinaryData names[] = {
		{.data = (uint8_t *)"one", .len = 3}, {.data = (uint8_t *)"kernel", .len = 6}};

	begin();
	request.n_identifiers = 2;
	request.identifiers = names;
	request.has_priority = true;
	request.priority = 4;
	assert_int_equal(reopen(false), 0);
	expect("bad disk");
	expect("warn");
	expect(NULL);
	postern__v1__logs_read_request__init(&request);
	request.has_since_us = request.has_until_us = true;
	request.since_us = (START + 12) * 1000000;
	request.until_us = (START + 13) * 1000000;
	assert_int_equal(reopen(false), 0);
	expect("Started web");
	expect("hello");
	expect(NULL);
	end();
}

static const struct line later[] = {
	{NULL, 20, "MESSAGE=later\nPRIORITY=6\n_TRANSPORT=syslog\n"},
	{NULL, 21, "MESSAGE=and later\nPRIORITY=6\n_TRANSPORT=syslog\n"},
};

/* As when the file at hand is renamed and another begun. */
static void rotate(void)
{
	char from[128], to[128];

	(void)snprintf(from, sizeof(from), "%s/a.journal", folder);
	(void)snprintf(to, sizeof(to), "%s/a@old.journal", folder);
	assert_int_equal(rename(from, to), 0);
	make_file("b.journal", later, ARRAY_SIZE(later));
}

static void wait_for_change(void)
{
	struct pollfd wait = {0};
	uint64_t until;

	wait.fd = log_journal_wait(&journal, &wait.events, &until);
	assert_true(wait.fd >= 0);
	assert_int_equal(poll(&wait, 1, 5000), 1);
	assert_int_equal(log_journal_process(&journal), 0);
}

UNIT(the_last_and_then_what_comes_in_another_file)
{
	size_t n;

	begin();
	request.follow = true;
	for (size_t lines_asked = 0; lines_asked < 3; lines_asked++) {
		assert_int_equal(reopen(false), 0);
		assert_int_equal(log_journal_last(&journal, lines_asked, &n), 0);
		assert_int_equal(n, lines_asked);
		if (lines_asked == 2)
			expect("forged");
		if (lines_asked > 0)
			expect("warn");
		expect(NULL);
	}
	rotate();
	wait_for_change();
	expect("later");
	expect("and later");
	expect(NULL);
	/* More than there are. */
	assert_int_equal(log_journal_last(&journal, 100, &n), 0);
	assert_int_equal(n, 8);
	expect("Linux version");
	end();
}

UNIT(nothing_that_passes_and_then_something)
{
	size_t n;

	begin();
	request.follow = request.has_text = true;
	request.text = (ProtobufCBinaryData){.data = (uint8_t *)"later", .len = 5};
	assert_int_equal(reopen(false), 0);
	assert_int_equal(log_journal_last(&journal, 10, &n), 0);
	assert_int_equal(n, 0);
	expect(NULL);
	rotate();
	wait_for_change();
	expect("later");
	end();
}

UNIT(behind_a_cursor)
{
	struct log_cursor cursor = {0};
	char path[128];

	begin();
	assert_int_equal(reopen(false), 0);
	expect("Linux version");
	expect("bad disk");
	memcpy(cursor.journal, journal.cursor, sizeof(cursor.journal));
	memcpy(cursor.boot, filter.boot, sizeof(cursor.boot));
	/* Of any boot, once there is a cursor. */
	request.cursor = (char *)"x";
	assert_int_equal(reopen(false), 0);
	assert_int_equal(log_journal_after(&journal, &cursor), 0);
	expect("Started web");
	/* The entry and its file are gone: what came next. */
	rotate();
	(void)snprintf(path, sizeof(path), "%s/a@old.journal", folder);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(reopen(false), 0);
	assert_int_equal(log_journal_after(&journal, &cursor), 0);
	expect("later");
	/* None of the journal was told by then. */
	cursor.journal[0] = '\0';
	cursor.monotonic_us = 21000000;
	assert_int_equal(log_journal_after(&journal, &cursor), 0);
	expect("and later");
	expect(NULL);
	/* What only looks like one. */
	memcpy(cursor.journal, "s=zzz", sizeof("s=zzz"));
	assert_true(log_journal_after(&journal, &cursor) < 0);
	end();
}

/* A guest whose journal is gone with its boot, and whose clock was ahead by then. */
UNIT(behind_a_cursor_of_a_boot_that_is_gone)
{
	static const struct line gone = {BOOT_A, 90, "MESSAGE=gone\nPRIORITY=6\n"};
	struct log_cursor cursor = {0};
	char path[128];

	begin();
	make_file("gone.journal", &gone, 1);
	request.all_boots = true;
	assert_int_equal(reopen(false), 0);
	while (log_journal_next(&journal) > 0)
		;
	memcpy(cursor.journal, journal.cursor, sizeof(cursor.journal));
	memcpy(cursor.boot, journal.boot, sizeof(cursor.boot));
	assert_true(cursor.boot[0] == 0xaa);
	/* As long as it is there, nothing is behind it. */
	assert_int_equal(log_journal_after(&journal, &cursor), 0);
	expect(NULL);
	(void)snprintf(path, sizeof(path), "%s/gone.journal", folder);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(reopen(false), 0);
	assert_int_equal(log_journal_after(&journal, &cursor), 0);
	expect("Linux version");
	end();
}

/* Much that does not pass is not read to its end for nobody. */
UNIT(who_is_gone_is_not_read_for)
{
	static struct line many[3000];
	int pair[2];
	size_t n;

	begin();
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct line){NULL, 100 + (int)i, "MESSAGE=chatter\nPRIORITY=6\n"};
	make_file("many.journal", many, ARRAY_SIZE(many));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	request.has_text = true;
	request.text = (ProtobufCBinaryData){.data = (uint8_t *)"nowhere", .len = 7};
	assert_int_equal(reopen(false), 0);
	filter.caller = pair[0];
	expect(NULL);
	/* Who has only said its last word may still listen. */
	assert_int_equal(shutdown(pair[1], SHUT_WR), 0);
	assert_int_equal(log_journal_last(&journal, 10, &n), 0);
	(void)close(pair[1]);
	assert_int_equal(log_journal_last(&journal, 10, &n), -ECANCELED);
	assert_int_equal(log_journal_first(&journal), 0);
	assert_int_equal(log_journal_next(&journal), -ECANCELED);
	(void)close(pair[0]);
	end();
}

UNIT(what_the_kernel_still_has_is_left_out)
{
	begin();
	request.all_boots = true;
	assert_int_equal(reopen(true), 0);
	journal.kernel_from_us = 2000000;
	/* That of another boot is not its own. */
	expect("first of all");
	expect("Linux version");
	expect(NULL);
	end();
}

UNIT(long_and_binary_messages)
{
	static char fields[80000];
	struct line line = {NULL, 1, fields};
	size_t n;

	begin();
	n = (size_t)sprintf(fields, "PRIORITY=6\nMESSAGE=");
	memset(fields + n, 'x', 70000);
	(void)strcpy(fields + n + 70000, "\n");
	make_file("long.journal", &line, 1);
	request.has_until_us = true;
	request.until_us = (START + 2) * 1000000;
	assert_int_equal(reopen(false), 0);
	assert_int_equal(log_journal_next(&journal), 1);
	assert_true(journal.entry.cut);
	assert_int_equal(journal.entry.message.len, LOG_MESSAGE_MAX);
	end();
}

UNIT(no_journal)
{
	begin();
	log_journal_close(&journal);
	assert_int_equal(
		log_journal_open(&journal, "/nowhere", &filter, false, &has_boot), -ENOENT);
	assert_true(has_boot);
	end();
}

/* Files that somebody has written into: read to the end or given up, in bounded time. */
UNIT(broken_files)
{
	struct dice dice = dice_new("journal");
	char path[128];
	AUTO_FREE uint8_t *whole = NULL;
	struct stat st;
	int fd;

	begin();
	(void)snprintf(path, sizeof(path), "%s/a.journal", folder);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	whole = malloc((size_t)st.st_size);
	assert_non_null(whole);
	assert_int_equal(pread(fd, whole, (size_t)st.st_size, 0), st.st_size);
	request.all_boots = true;
	for (int i = 0; i < 300; i++) {
		size_t n;
		int r;

		assert_int_equal(pwrite(fd, whole, (size_t)st.st_size, 0), st.st_size);
		/* The entries stand at its beginning. */
		for (size_t j = dice_below(&dice, 30); j > 0; j--) {
			uint8_t byte = (uint8_t)dice_roll(&dice);
			size_t at =
				dice_below(&dice, dice_below(&dice, 2) ? 400 : (size_t)st.st_size);

			assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
		}
		r = reopen(false);
		if (r < 0)
			continue;
		for (int j = 0; j < 1000 && log_journal_next(&journal) > 0; j++)
			;
		(void)log_journal_last(&journal, 5, &n);
		(void)log_journal_next(&journal);
	}
	(void)close(fd);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(entries_of_this_boot_with_what_they_have),
		RUN(boots_before_this_one),
		RUN(a_unit_is_what_its_processes_say_and_systemd_of_it),
		RUN(identifiers_priorities_and_times),
		RUN(the_last_and_then_what_comes_in_another_file),
		RUN(nothing_that_passes_and_then_something),
		RUN(behind_a_cursor),
		RUN(behind_a_cursor_of_a_boot_that_is_gone),
		RUN(who_is_gone_is_not_read_for),
		RUN(what_the_kernel_still_has_is_left_out),
		RUN(long_and_binary_messages),
		RUN(no_journal),
		RUN(broken_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
