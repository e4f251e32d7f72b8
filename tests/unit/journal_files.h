/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Journal files that systemd's own program makes, and a journal that reads them. */
#pragma once

#include "tests/unit/unit.h"

#include <sys/wait.h>

#include "agent/methods/log_reading.h"
#include "proto/cleanup.h"

#define MAKER  "/lib/systemd/systemd-journal-remote"
#define BOOT_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define BOOT_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define START  INT64_C(1700000000) /* seconds since 1970 of second 0 below */

static char folder[64], now[33];
static Postern__V1__LogsReadRequest request;
static struct log_filter filter;
static struct log_journal journal;
static bool has_boot;

/* ---- files ---- */

struct line {
	const char *boot; /* NULL: this one */
	int second;
	const char *fields; /* each with an end of line */
};

static inline void write_line(FILE *out, const struct line *line)
{
	(void)fprintf(out,
		"__REALTIME_TIMESTAMP=%lld000000\n__MONOTONIC_TIMESTAMP=%d000000\n_BOOT_ID=%s\n%"
		"s\n",
		(long long)START + line->second, line->second, line->boot ? line->boot : now,
		line->fields);
}

static inline void make_file(const char *name, const struct line *lines, size_t n)
{
	char source[128], target[128];
	int status;
	pid_t pid;

	(void)snprintf(source, sizeof(source), "%s/export", folder);
	(void)snprintf(target, sizeof(target), "%s/%s", folder, name);
	FILE *out = fopen(source, "we");
	assert_non_null(out);
	for (size_t i = 0; i < n; i++)
		write_line(out, &lines[i]);
	(void)fclose(out);
	pid = fork();
	if (pid == 0) {
		(void)!freopen("/dev/null", "w", stderr);
		(void)execl(MAKER, MAKER, "-o", target, source, (char *)NULL);
		_exit(127);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void)unlink(source);
}

static const struct line lines[] = {
	{BOOT_A, 1,
		"MESSAGE=first of "
		"all\n_TRANSPORT=kernel\nPRIORITY=6\n_SOURCE_MONOTONIC_TIMESTAMP=900000\n"
		"SYSLOG_IDENTIFIER=kernel\n"},
	{BOOT_A, 2,
		"MESSAGE=of a\n_TRANSPORT=syslog\nPRIORITY=6\nSYSLOG_IDENTIFIER=one\n_PID=11\n"},
	{BOOT_B, 3,
		"MESSAGE=of b\n_TRANSPORT=syslog\nPRIORITY=6\nSYSLOG_IDENTIFIER=one\n_PID=12\n"},
	{NULL, 10,
		"MESSAGE=Linux version\n_TRANSPORT=kernel\nPRIORITY=5\nSYSLOG_FACILITY=0\n"
		"_SOURCE_MONOTONIC_TIMESTAMP=1000000\nSYSLOG_IDENTIFIER=kernel\n"},
	{NULL, 11,
		"MESSAGE=bad disk\n_TRANSPORT=kernel\nPRIORITY=3\nSYSLOG_FACILITY=0\n"
		"_SOURCE_MONOTONIC_TIMESTAMP=2000000\nSYSLOG_IDENTIFIER=kernel\n"},
	{NULL, 12,
		"MESSAGE=Started "
		"web\nPRIORITY=6\nSYSLOG_IDENTIFIER=systemd\n_PID=1\nUNIT=web.service\n"
		"_SYSTEMD_UNIT=init.scope\n_TRANSPORT=journal\n"},
	{NULL, 13,
		"MESSAGE=hello\nPRIORITY=6\n_COMM=webd\n_PID=42\n_SYSTEMD_UNIT=web.service\n"
		"_TRANSPORT=stdout\nSYSLOG_FACILITY=3\n"},
	{NULL, 14,
		"MESSAGE=forged\nPRIORITY=6\n_PID=77\nUNIT=web.service\n_SYSTEMD_UNIT=evil."
		"service\n"},
	{NULL, 15,
		"MESSAGE=warn\nPRIORITY=4\nSYSLOG_IDENTIFIER=one\nSYSLOG_PID=5\n_SYSTEMD_UNIT="
		"other.service\n"},
};

static inline void begin(void)
{
	(void)strcpy(folder, "/tmp/postern-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	postern__v1__logs_read_request__init(&request);
	assert_int_equal(log_filter_init(&filter, &request), 0);
	for (size_t i = 0; i < LOG_BOOT_SIZE; i++)
		(void)sprintf(now + 2 * i, "%02x", filter.boot[i]);
	make_file("a.journal", lines, ARRAY_SIZE(lines));
}

static inline void end(void)
{
	char command[128];

	log_journal_close(&journal);
	(void)snprintf(command, sizeof(command), "rm -r %s", folder);
	assert_int_equal(system(command), 0);
}

/* Opens it for the request as it is now. */
static inline int reopen(bool kernel_only)
{
	log_journal_close(&journal);
	assert_int_equal(log_filter_init(&filter, &request), 0);
	return log_journal_open(&journal, folder, &filter, kernel_only, &has_boot);
}

static inline void expect(const char *message)
{
	int r = log_journal_next(&journal);

	if (!message) {
		assert_int_equal(r, 0);
		return;
	}
	assert_int_equal(r, 1);
	assert_int_equal(journal.entry.message.len, strlen(message));
	assert_memory_equal(journal.entry.message.data, message, strlen(message));
}
