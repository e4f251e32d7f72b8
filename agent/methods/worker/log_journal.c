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

#include <systemd/sd-journal.h>

#include "agent/methods/library.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define LOOK_EVERY 1024 /* entries that do not pass, between two looks at the caller */
#define FIELD_ROOM 256  /* of a field's name and of what stands before a text */

/* The functions of the library that are used; the header gives their types. */
static struct {
	__typeof__(sd_journal_open) *open;
	__typeof__(sd_journal_open_directory) *open_directory;
	__typeof__(sd_journal_close) *close;
	__typeof__(sd_journal_has_runtime_files) *has_runtime_files;
	__typeof__(sd_journal_has_persistent_files) *has_persistent_files;
	__typeof__(sd_journal_set_data_threshold) *set_data_threshold;
	__typeof__(sd_journal_add_match) *add_match;
	__typeof__(sd_journal_add_disjunction) *add_disjunction;
	__typeof__(sd_journal_add_conjunction) *add_conjunction;
	__typeof__(sd_journal_flush_matches) *flush_matches;
	__typeof__(sd_journal_next) *next;
	__typeof__(sd_journal_previous) *previous;
	__typeof__(sd_journal_seek_head) *seek_head;
	__typeof__(sd_journal_seek_tail) *seek_tail;
	__typeof__(sd_journal_seek_realtime_usec) *seek_realtime;
	__typeof__(sd_journal_seek_monotonic_usec) *seek_monotonic;
	__typeof__(sd_journal_seek_cursor) *seek_cursor;
	__typeof__(sd_journal_test_cursor) *test_cursor;
	__typeof__(sd_journal_get_cursor) *get_cursor;
	__typeof__(sd_journal_get_realtime_usec) *get_realtime;
	__typeof__(sd_journal_get_monotonic_usec) *get_monotonic;
	__typeof__(sd_journal_restart_data) *restart_data;
	__typeof__(sd_journal_enumerate_available_data) *next_data;
	__typeof__(sd_journal_get_fd) *get_fd;
	__typeof__(sd_journal_get_events) *get_events;
	__typeof__(sd_journal_get_timeout) *get_timeout;
	__typeof__(sd_journal_process) *process;
} lib;

static int load(void)
{
	static const struct library_symbol symbols[] = {
		{"sd_journal_open", &lib.open},
		{"sd_journal_open_directory", &lib.open_directory},
		{"sd_journal_close", &lib.close},
		{"sd_journal_has_runtime_files", &lib.has_runtime_files},
		{"sd_journal_has_persistent_files", &lib.has_persistent_files},
		{"sd_journal_set_data_threshold", &lib.set_data_threshold},
		{"sd_journal_add_match", &lib.add_match},
		{"sd_journal_add_disjunction", &lib.add_disjunction},
		{"sd_journal_add_conjunction", &lib.add_conjunction},
		{"sd_journal_flush_matches", &lib.flush_matches},
		{"sd_journal_next", &lib.next},
		{"sd_journal_previous", &lib.previous},
		{"sd_journal_seek_head", &lib.seek_head},
		{"sd_journal_seek_tail", &lib.seek_tail},
		{"sd_journal_seek_realtime_usec", &lib.seek_realtime},
		{"sd_journal_seek_monotonic_usec", &lib.seek_monotonic},
		{"sd_journal_seek_cursor", &lib.seek_cursor},
		{"sd_journal_test_cursor", &lib.test_cursor},
		{"sd_journal_get_cursor", &lib.get_cursor},
		{"sd_journal_get_realtime_usec", &lib.get_realtime},
		{"sd_journal_get_monotonic_usec", &lib.get_monotonic},
		{"sd_journal_restart_data", &lib.restart_data},
		{"sd_journal_enumerate_available_data", &lib.next_data},
		{"sd_journal_get_fd", &lib.get_fd},
		{"sd_journal_get_events", &lib.get_events},
		{"sd_journal_get_timeout", &lib.get_timeout},
		{"sd_journal_process", &lib.process},
	};

	return library_load(LIBSYSTEMD, symbols, ARRAY_SIZE(symbols));
}

/* ---- what is asked for ---- */

static int match(sd_journal *journal, const char *field, const void *value, size_t len)
{
	size_t name_len = strlen(field);
	AUTO_FREE char *text = malloc(name_len + len + 1);

	if (!text)
		return -ENOMEM;
	memcpy(text, field, name_len + 1);
	if (len > 0)
		memcpy(text + name_len, value, len);
	return lib.add_match(journal, text, name_len + len);
}

static int match_boot(sd_journal *journal, const uint8_t boot[LOG_BOOT_SIZE])
{
	char text[2 * LOG_BOOT_SIZE + 1];

	for (size_t i = 0; i < LOG_BOOT_SIZE; i++)
		(void)sprintf(text + 2 * i, "%02x", boot[i]);
	return match(journal, "_BOOT_ID=", text, strlen(text));
}

/* The boot of the entry where the journal stands. */
static int boot_at(sd_journal *journal, uint8_t boot[LOG_BOOT_SIZE])
{
	sd_id128_t id;
	uint64_t monotonic;
	int r = lib.get_monotonic(journal, &monotonic, &id);

	if (r >= 0)
		memcpy(boot, id.bytes, LOG_BOOT_SIZE);
	return r;
}

/* From a boot to the one whose entries end before the first of its own. 1, 0 for none, or -errno.
 */
static int boot_before(sd_journal *journal, uint8_t boot[LOG_BOOT_SIZE])
{
	AUTO_FREE char *first = NULL;
	int r = match_boot(journal, boot);

	if (r >= 0)
		r = lib.seek_head(journal);
	if (r >= 0)
		r = lib.next(journal);
	if (r > 0)
		r = lib.get_cursor(journal, &first);
	lib.flush_matches(journal);
	if (r >= 0 && first)
		r = lib.seek_cursor(journal, first);
	else
		r = r < 0 ? r : lib.seek_tail(journal);
	/* Onto that first one, and before it. */
	if (r >= 0 && first)
		r = lib.next(journal);
	if (r >= 0)
		r = lib.previous(journal);
	return r > 0 ? boot_at(journal, boot) < 0 ? -EBADMSG : 1 : r;
}

/* 0; -ENOENT: there is no such boot; -errno. */
static int choose_boot(struct log_journal *journal, bool *ret_boot)
{
	const Postern__V1__LogsReadRequest *request = journal->filter->request;
	uint8_t boot[LOG_BOOT_SIZE];
	int r = 1;

	memcpy(boot, journal->filter->boot, sizeof(boot));
	for (int64_t back = request->boot; back < 0 && r > 0; back++)
		r = boot_before(journal->journal, boot);
	*ret_boot = r != 0;
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	return match_boot(journal->journal, boot);
}

/* What the unit's processes say, and what systemd and the kernel's dumps say of it. */
static int match_unit(sd_journal *journal, const char *unit)
{
	AUTO_FREE char *name = NULL;
	size_t len;
	int r;

	if (asprintf(&name, "%s%s", unit, strchr(unit, '.') ? "" : ".service") < 0) {
		name = NULL;
		return -ENOMEM;
	}
	len = strlen(name);
	r = match(journal, "_SYSTEMD_UNIT=", name, len);
	r = r < 0 ? r : lib.add_disjunction(journal);
	r = r < 0 ? r : match(journal, "UNIT=", name, len);
	r = r < 0 ? r : match(journal, "_PID=", "1", 1);
	r = r < 0 ? r : lib.add_disjunction(journal);
	r = r < 0 ? r : match(journal, "COREDUMP_UNIT=", name, len);
	r = r < 0 ? r : match(journal, "_UID=", "0", 1);
	return r < 0 ? r : lib.add_disjunction(journal);
}

/* What the library has an index for; log_filter_passes() has the last word. */
static int add_matches(struct log_journal *to, bool kernel_only)
{
	const Postern__V1__LogsReadRequest *request = to->filter->request;
	sd_journal *journal = to->journal;
	int r = kernel_only ? match(journal, "_TRANSPORT=", "kernel", strlen("kernel")) : 0;

	for (uint32_t i = 0; r >= 0 && request->has_priority && i <= request->priority; i++)
		r = match(journal, "PRIORITY=", &"0123456789"[i], 1);
	for (size_t i = 0; r >= 0 && i < request->n_identifiers; i++)
		r = match(journal, "SYSLOG_IDENTIFIER=", request->identifiers[i].data,
			request->identifiers[i].len);
	if (r >= 0 && request->n_units > 0)
		r = lib.add_conjunction(journal);
	for (size_t i = 0; r >= 0 && i < request->n_units; i++)
		r = match_unit(journal, request->units[i]);
	return r < 0 ? r : 0;
}

static int open_files(struct log_journal *to, const char *folder)
{
	int r = folder ? lib.open_directory(&to->journal, folder, 0)
		       : lib.open(&to->journal, SD_JOURNAL_LOCAL_ONLY);

	if (r < 0) {
		to->journal = NULL;
		return r;
	}
	if (lib.has_runtime_files(to->journal) <= 0 && lib.has_persistent_files(to->journal) <= 0 &&
		!folder)
		return -ENOENT;
	/* Before anything is read, so that no change is missed. */
	if (to->filter->request->follow)
		r = lib.get_fd(to->journal);
	return r < 0 ? r : lib.set_data_threshold(to->journal, LOG_MESSAGE_MAX + FIELD_ROOM);
}

int log_journal_open(struct log_journal *journal, const char *folder,
	const struct log_filter *filter, bool kernel_only, bool *ret_boot)
{
	int r = load();

	memset(journal, 0, sizeof(*journal));
	journal->filter = filter;
	journal->kernel_from_us = UINT64_MAX;
	*ret_boot = true;
	if (r == 0)
		r = open_files(journal, folder);
	if (r >= 0 && !log_filter_is_of_any_boot(filter))
		r = choose_boot(journal, ret_boot);
	if (r >= 0)
		r = add_matches(journal, kernel_only);
	if (r >= 0)
		r = log_journal_first(journal);
	if (r < 0)
		log_journal_close(journal);
	return r;
}

void log_journal_close(struct log_journal *journal)
{
	if (journal->journal)
		lib.close(journal->journal);
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
	if (lib.get_realtime(journal->journal, &realtime) < 0 || realtime > INT64_MAX)
		return 0;
	if (boot_at(journal->journal, journal->boot) < 0)
		return 0;
	lib.restart_data(journal->journal);
	while (lib.next_data(journal->journal, &data, &len) > 0) {
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
		entry->has_monotonic_us =
			lib.get_monotonic(journal->journal, &entry->monotonic_us, NULL) >= 0;
	return log_filter_passes(journal->filter, entry);
}

static int keep_cursor(struct log_journal *journal)
{
	AUTO_FREE char *cursor = NULL;
	int r = lib.get_cursor(journal->journal, &cursor);

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
			r = lib.next(journal->journal);
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
		return lib.seek_realtime(journal->journal, (uint64_t)request->since_us);
	return lib.seek_head(journal->journal);
}

int log_journal_last(struct log_journal *journal, size_t lines, size_t *ret_n)
{
	const Postern__V1__LogsReadRequest *request = journal->filter->request;
	int r = lib.seek_tail(journal->journal);

	*ret_n = 0;
	for (unsigned int n = 1; r >= 0; n++) {
		if (n % LOOK_EVERY == 0 && log_filter_is_over(journal->filter))
			return -ECANCELED;
		r = lib.previous(journal->journal);
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
	return r == 0 ? lib.seek_head(journal->journal) : r < 0 ? r : 0;
}

int log_journal_after(struct log_journal *journal, const struct log_cursor *cursor)
{
	bool of_now = memcmp(cursor->boot, journal->filter->boot, LOG_BOOT_SIZE) == 0;
	sd_id128_t boot;
	int r;

	if (cursor->journal[0] != '\0') {
		r = lib.seek_cursor(journal->journal, cursor->journal);
		if (r >= 0)
			r = lib.next(journal->journal);
		/* Where it is gone, what came behind it is where we are. */
		if (r > 0)
			journal->at_entry = lib.test_cursor(journal->journal, cursor->journal) == 0;
		if (r < 0 || of_now || (r > 0 && !journal->at_entry))
			return r < 0 ? r : 0;
	}
	/* Gone with its boot, or none of the journal's was told by then. By the clock that nobody
	 * sets: a guest that boots again may be in another year. */
	journal->at_entry = false;
	memcpy(boot.bytes, journal->filter->boot, LOG_BOOT_SIZE);
	return lib.seek_monotonic(journal->journal, boot, of_now ? cursor->monotonic_us : 0);
}

int log_journal_wait(struct log_journal *journal, short *ret_events, uint64_t *ret_until)
{
	uint64_t until_us = UINT64_MAX;
	int fd = lib.get_fd(journal->journal), events = lib.get_events(journal->journal);

	if (fd < 0 || events < 0)
		return fd < 0 ? fd : events;
	*ret_events = (short)events;
	if (lib.get_timeout(journal->journal, &until_us) < 0 ||
		until_us > UINT64_MAX / NSEC_PER_USEC)
		*ret_until = UINT64_MAX;
	else
		*ret_until = until_us * NSEC_PER_USEC;
	return fd;
}

int log_journal_process(struct log_journal *journal)
{
	int r = lib.process(journal->journal);

	return r < 0 ? r : 0;
}
