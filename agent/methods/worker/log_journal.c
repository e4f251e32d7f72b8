/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/log_journal.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/methods/log_journal_library.h"
#include "agent/methods/log_journal_match.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define LOOK_EVERY 1024 /* entries that do not pass, between two looks at the caller */
#define FIELD_ROOM 256  /* of a field's name and of what stands before a text */

static int open_files(struct log_journal *to, const char *folder)
{
	int r = folder ? journal_lib.open_directory(&to->journal, folder, 0)
		       : journal_lib.open(&to->journal, SD_JOURNAL_LOCAL_ONLY);

	if (r < 0) {
		to->journal = NULL;
		return r;
	}
	if (journal_lib.has_runtime_files(to->journal) <= 0 &&
		journal_lib.has_persistent_files(to->journal) <= 0 && !folder)
		return -ENOENT;
	/* Before anything is read, so that no change is missed. */
	if (to->filter->request->follow)
		r = journal_lib.get_fd(to->journal);
	return r < 0 ? r
		     : journal_lib.set_data_threshold(to->journal, LOG_MESSAGE_MAX + FIELD_ROOM);
}

int log_journal_open(struct log_journal *journal, const char *folder,
	const struct log_filter *filter, bool kernel_only, bool *ret_boot)
{
	int r = journal_load();

	memset(journal, 0, sizeof(*journal));
	journal->filter = filter;
	journal->kernel_from_us = UINT64_MAX;
	*ret_boot = true;
	if (r == 0)
		r = open_files(journal, folder);
	if (r >= 0 && !log_filter_is_of_any_boot(filter))
		r = log_journal_match_boot(journal, ret_boot);
	if (r >= 0)
		r = log_journal_match(journal, kernel_only);
	if (r >= 0)
		r = log_journal_first(journal);
	if (r < 0)
		log_journal_close(journal);
	return r;
}

void log_journal_close(struct log_journal *journal)
{
	if (journal->journal)
		journal_lib.close(journal->journal);
	journal->journal = NULL;
}

/* ---- an entry ---- */

/* Where the value of a field begins, if it is that one. */
static const char *value_of(const char *field, const char *data, size_t len, size_t *ret_len)
{
	size_t name_len = strlen(field);

	if (len <= name_len || data[name_len] != '=' || memcmp(data, field, name_len) != 0)
		return NULL;
	*ret_len = len - name_len - 1;
	return data + name_len + 1;
}

/* A number of at most nine digits. */
static bool number_of(const char *field, const char *data, size_t len, uint32_t *ret)
{
	uint32_t number = 0;
	size_t n;
	const char *value = value_of(field, data, len, &n);

	if (!value || n == 0 || n > 9)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)value[i]))
			return false;
		number = number * 10 + (uint32_t)(value[i] - '0');
	}
	*ret = number;
	return true;
}

/* A text into room of ours, cut where that ends. 1 when it was this field. */
static bool text_of(const char *field, const char *data, size_t len, void *room, size_t size,
	ProtobufCBinaryData *ret)
{
	size_t n;
	const char *value = value_of(field, data, len, &n);

	if (!value)
		return false;
	ret->len = n < size ? n : size;
	ret->data = room;
	memcpy(room, value, ret->len);
	return true;
}

struct extra {
	bool is_kernel;
	uint32_t pid; /* as the program itself says */
	bool has_pid;
	char command[LOG_IDENTIFIER_MAX]; /* where it has no identifier */
	ProtobufCBinaryData command_text;
};

static void take_field(
	struct log_journal *journal, struct extra *extra, const char *data, size_t len)
{
	Postern__V1__LogEntry *entry = &journal->entry;
	size_t n;
	const char *transport = value_of("_TRANSPORT", data, len, &n);

	if (transport)
		extra->is_kernel = n == 6 && memcmp(transport, "kernel", n) == 0;
	else if (text_of("MESSAGE", data, len, journal->message, sizeof(journal->message),
			 &entry->message))
		entry->cut = entry->has_cut = len - strlen("MESSAGE=") > sizeof(journal->message);
	else if (text_of("SYSLOG_IDENTIFIER", data, len, journal->identifier,
			 sizeof(journal->identifier), &entry->identifier))
		entry->has_identifier = true;
	else if (text_of("_SYSTEMD_UNIT", data, len, journal->unit, sizeof(journal->unit),
			 &entry->unit))
		entry->has_unit = true;
	else if (number_of("PRIORITY", data, len, &entry->priority))
		entry->has_priority = entry->priority <= LOG_PRIORITY_LOWEST;
	else if (number_of("SYSLOG_FACILITY", data, len, &entry->facility))
		entry->has_facility = true;
	else if (number_of("_PID", data, len, &entry->pid))
		entry->has_pid = true;
	else if (number_of("SYSLOG_PID", data, len, &extra->pid))
		extra->has_pid = true;
	else
		(void)text_of("_COMM", data, len, extra->command, sizeof(extra->command),
			&extra->command_text);
}

/* What the fields do not say themselves. */
static void complete(struct log_journal *journal, const struct extra *extra)
{
	Postern__V1__LogEntry *entry = &journal->entry;

	entry->source = extra->is_kernel ? POSTERN__V1__LOG_SOURCE__KERNEL
					 : POSTERN__V1__LOG_SOURCE__JOURNAL;
	if (!entry->has_pid && extra->has_pid) {
		entry->has_pid = true;
		entry->pid = extra->pid;
	}
	if (!entry->has_identifier && extra->command_text.len > 0) {
		entry->has_identifier = true;
		memcpy(journal->identifier, extra->command, extra->command_text.len);
		entry->identifier.data = (uint8_t *)journal->identifier;
		entry->identifier.len = extra->command_text.len;
	}
}

/* The kernel's own clock, where the entry has it; its line in /dev/kmsg has the same. */
static bool kernel_time(const char *data, size_t len, uint64_t *ret)
{
	char text[24] = "";
	size_t n;
	const char *value = value_of("_SOURCE_MONOTONIC_TIMESTAMP", data, len, &n);

	if (!value || n == 0 || n >= sizeof(text))
		return false;
	memcpy(text, value, n);
	*ret = strtoull(text, NULL, 10);
	return true;
}

/* The entry where it stands. 1; 0: it is none that can be read, or not wanted; -errno. */
static int read_entry(struct log_journal *journal)
{
	Postern__V1__LogEntry *entry = &journal->entry;
	struct extra extra = {0};
	uint64_t realtime, said_us = UINT64_MAX;
	const void *data;
	size_t len;

	postern__v1__log_entry__init(entry);
	if (journal_lib.get_realtime(journal->journal, &realtime) < 0 || realtime > INT64_MAX)
		return 0;
	if (log_journal_boot_at(journal, journal->boot) < 0)
		return 0;
	journal_lib.restart_data(journal->journal);
	while (journal_lib.next_data(journal->journal, &data, &len) > 0) {
		take_field(journal, &extra, data, len);
		(void)kernel_time(data, len, &said_us);
	}
	complete(journal, &extra);
	entry->has_source = entry->has_realtime_us = entry->has_boot_id = true;
	entry->realtime_us = (int64_t)realtime;
	entry->boot_id = (ProtobufCBinaryData){.data = journal->boot, .len = LOG_BOOT_SIZE};
	entry->has_message = true;
	entry->has_monotonic_us = extra.is_kernel && said_us != UINT64_MAX;
	entry->monotonic_us = said_us;
	if (entry->has_monotonic_us && said_us >= journal->kernel_from_us &&
		log_entry_is_of_now(journal->filter, entry))
		return 0;
	if (!entry->has_monotonic_us)
		entry->has_monotonic_us = journal_lib.get_monotonic(journal->journal,
						  &entry->monotonic_us, NULL) >= 0;
	return log_filter_passes(journal->filter, entry);
}

static int keep_cursor(struct log_journal *journal)
{
	AUTO_FREE char *cursor = NULL;
	int r = journal_lib.get_cursor(journal->journal, &cursor);

	if (r < 0)
		return r;
	if (strlen(cursor) >= sizeof(journal->cursor))
		return -EBADMSG;
	memcpy(journal->cursor, cursor, strlen(cursor) + 1);
	return 1;
}

int log_journal_next(struct log_journal *journal)
{
	const Postern__V1__LogsReadRequest *request = journal->filter->request;

	for (unsigned int n = 1;; n++) {
		int r = 1;

		if (n % LOOK_EVERY == 0 && log_filter_is_over(journal->filter))
			return -ECANCELED;
		if (!journal->at_entry)
			r = journal_lib.next(journal->journal);
		journal->at_entry = false;
		if (r <= 0)
			return r;
		if (read_entry(journal) > 0)
			return keep_cursor(journal);
		if (request->has_until_us && journal->entry.realtime_us > request->until_us)
			return 0;
	}
}

/* ---- places ---- */

int log_journal_first(struct log_journal *journal)
{
	const Postern__V1__LogsReadRequest *request = journal->filter->request;

	journal->at_entry = false;
	if (request->has_since_us && request->since_us > 0)
		return journal_lib.seek_realtime(journal->journal, (uint64_t)request->since_us);
	return journal_lib.seek_head(journal->journal);
}

int log_journal_last(struct log_journal *journal, size_t lines, size_t *ret_n)
{
	const Postern__V1__LogsReadRequest *request = journal->filter->request;
	int r = journal_lib.seek_tail(journal->journal);

	*ret_n = 0;
	for (unsigned int n = 1; r >= 0; n++) {
		if (n % LOOK_EVERY == 0 && log_filter_is_over(journal->filter))
			return -ECANCELED;
		r = journal_lib.previous(journal->journal);
		if (r <= 0 || lines == 0)
			break;
		if (read_entry(journal) > 0 && ++*ret_n == lines) {
			journal->at_entry = true;
			return 0;
		}
		if (request->has_since_us && journal->entry.realtime_us < request->since_us)
			break;
	}
	/* From the end on nothing would come any more. */
	return r == 0 ? journal_lib.seek_head(journal->journal) : r < 0 ? r : 0;
}

int log_journal_after(struct log_journal *journal, const struct log_cursor *cursor)
{
	bool of_now = memcmp(cursor->boot, journal->filter->boot, LOG_BOOT_SIZE) == 0;
	sd_id128_t boot;
	int r;

	if (cursor->journal[0] != '\0') {
		r = journal_lib.seek_cursor(journal->journal, cursor->journal);
		if (r >= 0)
			r = journal_lib.next(journal->journal);
		/* Where it is gone, what came behind it is where we are. */
		if (r > 0)
			journal->at_entry =
				journal_lib.test_cursor(journal->journal, cursor->journal) == 0;
		if (r < 0 || of_now || (r > 0 && !journal->at_entry))
			return r < 0 ? r : 0;
	}
	/* Gone with its boot, or none of the journal's was told by then. By the clock that nobody
	 * sets: a guest that boots again may be in another year. */
	journal->at_entry = false;
	memcpy(boot.bytes, journal->filter->boot, LOG_BOOT_SIZE);
	return journal_lib.seek_monotonic(
		journal->journal, boot, of_now ? cursor->monotonic_us : 0);
}

int log_journal_wait(struct log_journal *journal, short *ret_events, uint64_t *ret_until)
{
	uint64_t until_us = UINT64_MAX;
	int fd = journal_lib.get_fd(journal->journal),
	    events = journal_lib.get_events(journal->journal);

	if (fd < 0 || events < 0)
		return fd < 0 ? fd : events;
	*ret_events = (short)events;
	if (journal_lib.get_timeout(journal->journal, &until_us) < 0 ||
		until_us > UINT64_MAX / NSEC_PER_USEC)
		*ret_until = UINT64_MAX;
	else
		*ret_until = until_us * NSEC_PER_USEC;
	return fd;
}

int log_journal_process(struct log_journal *journal)
{
	int r = journal_lib.process(journal->journal);

	return r < 0 ? r : 0;
}
