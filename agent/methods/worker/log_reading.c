/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/log_reading.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/frame.h"
#include "proto/limits.h"

#define SEND_AT (64u << 10) /* entries wait for others until so many bytes are together */

/* ---- places ---- */

void log_reading_begin(struct log_reading *reading)
{
	if (reading->kernel.fd >= 0 && reading->journal.journal)
		reading->journal.kernel_from_us = log_kernel_oldest(&reading->kernel);
}

void log_reading_now(struct log_reading *reading, struct log_cursor *ret)
{
	*ret = (struct log_cursor){
		.realtime_us = (int64_t)(clock_ns(CLOCK_REALTIME) / NSEC_PER_USEC),
		.monotonic_us = monotonic_ns() / NSEC_PER_USEC};
	memcpy(ret->boot, reading->filter.boot, LOG_BOOT_SIZE);
	if (reading->kernel.fd >= 0)
		ret->has_kernel = log_kernel_newest(&reading->kernel, &ret->kernel_seq);
}

static int go_to_last(struct log_reading *reading)
{
	size_t kernel = 0, journal = 0, lines = reading->lines;
	int r = 0;

	if (reading->kernel.fd >= 0)
		r = log_kernel_last(&reading->kernel, lines, &kernel);
	if (r == 0 && reading->journal.journal)
		r = log_journal_last(&reading->journal, lines, &journal);
	reading->skip = kernel + journal > lines ? kernel + journal - lines : 0;
	return r;
}

int log_reading_after(struct log_reading *reading)
{
	if (reading->kernel.fd >= 0)
		log_kernel_after(&reading->kernel, &reading->position);
	return reading->journal.journal ? log_journal_after(&reading->journal, &reading->position)
					: 0;
}

void log_reading_done(struct log_reading *reading)
{
	log_kernel_close(&reading->kernel);
	log_journal_close(&reading->journal);
	buffer_clear(&reading->out);
}

/* ---- records ---- */

static int put(struct log_reading *reading, Postern__V1__LogRecord__KindCase kind, void *message)
{
	Postern__V1__LogRecord record = POSTERN__V1__LOG_RECORD__INIT;

	record.kind_case = kind;
	/* All members of the union are pointers to messages. */
	record.entry = message;
	return frame_append(&reading->out, &record.base, LOG_RECORD_MAX);
}

static int put_gap(struct log_reading *reading, Postern__V1__LogSource source, uint64_t missed,
	const char *message)
{
	Postern__V1__LogGap gap = POSTERN__V1__LOG_GAP__INIT;

	gap.has_source = true;
	gap.source = source;
	gap.has_missed = missed > 0;
	gap.missed = missed;
	gap.message = (char *)message;
	return put(reading, POSTERN__V1__LOG_RECORD__KIND_GAP, &gap);
}

static int put_entry(struct log_reading *reading, Postern__V1__LogEntry *entry)
{
	struct log_cursor *position = &reading->position;
	bool of_now = log_entry_is_of_now(&reading->filter, entry);
	const uint8_t *boot = of_now ? reading->filter.boot : entry->boot_id.data;
	char cursor[LOG_CURSOR_MAX];

	/* The kernel counts anew with each boot. */
	if (memcmp(position->boot, boot, LOG_BOOT_SIZE) != 0)
		position->has_kernel = false;
	memcpy(position->boot, boot, LOG_BOOT_SIZE);
	position->realtime_us = entry->realtime_us;
	position->monotonic_us = entry->monotonic_us;
	if (entry == &reading->kernel.entry) {
		position->has_kernel = true;
		position->kernel_seq = reading->kernel.entry_seq;
	} else {
		memcpy(position->journal, reading->journal.cursor, sizeof(position->journal));
	}
	entry->cursor = log_cursor_print(position, cursor);
	entry->has_boot_id = !of_now;
	if (reading->skip > 0) {
		reading->skip--;
		return 0;
	}
	reading->entries++;
	return put(reading, POSTERN__V1__LOG_RECORD__KIND_ENTRY, entry);
}

/* ---- the two as one ---- */

/* The next entry of each that has one. 0, or -errno of the records. */
static int look(struct log_reading *reading)
{
	int r = 0, told = 0;

	if (!reading->has_kernel && reading->kernel.fd >= 0) {
		r = log_kernel_next(&reading->kernel);
		reading->has_kernel = r > 0;
		if (r < 0) {
			told = put_gap(reading, POSTERN__V1__LOG_SOURCE__KERNEL, 0,
				"the kernel's log cannot be read any further");
			log_kernel_close(&reading->kernel);
		}
	}
	if (told == 0 && reading->kernel.missed > 0) {
		told = put_gap(reading, POSTERN__V1__LOG_SOURCE__KERNEL, reading->kernel.missed,
			"lines of the kernel were overwritten before they could be read");
		reading->kernel.missed = 0;
	}
	if (told == 0 && !reading->has_journal && reading->journal.journal) {
		r = log_journal_next(&reading->journal);
		reading->has_journal = r > 0;
		if (r < 0) {
			told = put_gap(reading, POSTERN__V1__LOG_SOURCE__JOURNAL, 0,
				"the journal cannot be read any further");
			log_journal_close(&reading->journal);
		}
	}
	return told;
}

/* Of the entries that are here, the earlier one; what is of another boot came before all of this.
 */
static Postern__V1__LogEntry *choose(struct log_reading *reading)
{
	Postern__V1__LogEntry *kernel = &reading->kernel.entry, *journal = &reading->journal.entry;
	bool kernel_first = reading->has_kernel;

	if (reading->has_kernel && reading->has_journal)
		kernel_first = log_entry_is_of_now(&reading->filter, journal) &&
			       kernel->monotonic_us <= journal->monotonic_us;
	if (kernel_first) {
		reading->has_kernel = false;
		return kernel;
	}
	if (!reading->has_journal)
		return NULL;
	reading->has_journal = false;
	return journal;
}

/* ---- the socket ---- */

static int flush(struct log_reading *reading, int socket)
{
	while (buffer_len(&reading->out) > 0) {
		struct pollfd wait = {.fd = socket, .events = POLLOUT};
		size_t sent = 0;
		int r = buffer_send(&reading->out, socket, &sent);

		reading->bytes += sent;
		if (reading->count)
			reading->count(reading->ctx, reading->bytes);
		if (r < 0)
			return r;
		if (buffer_len(&reading->out) > 0 && poll(&wait, 1, -1) < 0 && errno != EINTR)
			return -errno;
	}
	return 0;
}

/* All that there is now. */
static int send_all(struct log_reading *reading, int socket)
{
	Postern__V1__LogEntry *entry;
	int r;

	do {
		r = look(reading);
		entry = r == 0 ? choose(reading) : NULL;
		if (entry)
			r = put_entry(reading, entry);
		if (r == 0 && buffer_len(&reading->out) >= SEND_AT)
			r = flush(reading, socket);
	} while (r == 0 && entry);
	return r < 0 ? r : flush(reading, socket);
}

/* Until more has come. 1; 0: the other side has closed the socket, or says something; -errno. */
static int wait_for_more(struct log_reading *reading, int socket)
{
	struct pollfd fds[] = {{.fd = socket, .events = POLLIN},
		{.fd = reading->kernel.fd, .events = POLLIN}, {.fd = -1}};
	uint64_t until = UINT64_MAX;
	int r;

	if (reading->journal.journal)
		fds[2].fd = log_journal_wait(&reading->journal, &fds[2].events, &until);
	r = poll(fds, ARRAY_SIZE(fds), until == UINT64_MAX ? -1 : ms_until(until));
	if (r < 0)
		return errno == EINTR ? 1 : -errno;
	if (fds[0].revents)
		return 0;
	if (reading->journal.journal && log_journal_process(&reading->journal) < 0)
		log_journal_close(&reading->journal);
	return 1;
}

int log_reading_send(struct log_reading *reading, int socket)
{
	Postern__V1__LogEnd end = POSTERN__V1__LOG_END__INIT;
	int r;

	reading->filter.caller = socket;
	r = reading->from_end ? go_to_last(reading) : 0;
	if (r < 0)
		return r;
	do {
		r = send_all(reading, socket);
		if (r == 0 && reading->filter.request->follow)
			r = wait_for_more(reading, socket);
	} while (r > 0);
	if (r < 0 || reading->filter.request->follow)
		return r;
	end.has_entries = true;
	end.entries = reading->entries;
	r = put(reading, POSTERN__V1__LOG_RECORD__KIND_END, &end);
	return r < 0 ? r : flush(reading, socket);
}
