/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/log_show.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host/cli/command.h"
#include "host/cli/style.h"
#include "host/common/json_line.h"
#include "proto/cleanup.h"
#include "proto/client/json.h"
#include "proto/client/text.h"

#define USEC_PER_SEC 1000000

static void print_escaped(const void *text, size_t len)
{
	AUTO_FREE char *escaped = postern_escape_dup(text, len);

	(void)fputs(escaped ? escaped : "(out of memory)", stdout);
}

/* Rounded down also before 1970. */
static void print_time(enum log_form form, int64_t realtime_us)
{
	time_t s = (time_t)(realtime_us / USEC_PER_SEC - (realtime_us % USEC_PER_SEC < 0));
	char text[64] = "?";
	struct tm tm;

	if (localtime_r(&s, &tm))
		(void)strftime(text, sizeof(text),
			form == LOG_ISO ? "%Y-%m-%dT%H:%M:%S%z" : "%b %d %H:%M:%S", &tm);
	(void)fputs(text, stdout);
}

static enum style style_of(const Postern__V1__LogEntry *entry)
{
	if (!entry->has_priority)
		return STYLE_PLAIN;
	if (entry->priority <= 3)
		return STYLE_RED;
	if (entry->priority == 4)
		return STYLE_YELLOW;
	if (entry->priority == 5)
		return STYLE_BOLD;
	return entry->priority == 7 ? STYLE_DIM : STYLE_PLAIN;
}

/* The head of a line, which further lines of the message have too: who looks for a program finds
 * all of what it said. */
static void print_head(const struct log_show *show, const Postern__V1__LogEntry *entry)
{
	print_time(show->form, entry->realtime_us);
	(void)printf(" %s ", show->host);
	if (entry->has_identifier)
		print_escaped(entry->identifier.data, entry->identifier.len);
	else
		(void)fputs("unknown", stdout);
	if (entry->has_pid)
		(void)printf("[%" PRIu32 "]", entry->pid);
	(void)fputs(": ", stdout);
}

static void print_lines(const struct log_show *show, const Postern__V1__LogEntry *entry)
{
	const char *at = (const char *)entry->message.data;
	enum style how = style_of(entry);
	size_t left = entry->message.len;

	do {
		const char *end = left > 0 ? memchr(at, '\n', left) : NULL;
		size_t len = end ? (size_t)(end - at) : left, past = end ? len + 1 : len;

		print_head(show, entry);
		if (how != STYLE_PLAIN)
			(void)fputs(style(stdout, how), stdout);
		print_escaped(at, len);
		left -= past;
		if (left == 0 && entry->cut)
			(void)fputs(" [cut]", stdout);
		if (how != STYLE_PLAIN)
			(void)fputs(style(stdout, STYLE_PLAIN), stdout);
		(void)putchar('\n');
		at += past;
	} while (left > 0);
}

/* One record's only field of this name as a line of JSON, in an object of that name or not. */
static void print_json(const struct log_record *record, const char *field, bool named)
{
	AUTO_JSON json_t *json = NULL;
	const char *why;

	if (json_from_message(&postern__v1__log_record__descriptor, record->body, record->len,
		    &json, &why) == 0)
		(void)cli_json(json_incref(named ? json : json_object_get(json, field)));
}

void log_show_entry(struct log_show *show, const struct log_record *record, const uint8_t *boot)
{
	const Postern__V1__LogEntry *entry = record->record->entry;
	const uint8_t *its = entry->boot_id.len == sizeof(show->boot) ? entry->boot_id.data : boot;

	if (show->form == LOG_JSON) {
		print_json(record, "entry", false);
		return;
	}
	if (show->any && memcmp(show->boot, its, sizeof(show->boot)) != 0) {
		(void)fputs("-- Boot ", stdout);
		for (size_t i = 0; i < sizeof(show->boot); i++)
			(void)printf("%02x", its[i]);
		(void)puts(" --");
	}
	show->any = true;
	memcpy(show->boot, its, sizeof(show->boot));
	print_lines(show, entry);
}

void log_show_gap(const struct log_show *show, const struct log_record *record)
{
	const Postern__V1__LogGap *gap = record->record->gap;
	AUTO_FREE char *why = postern_escape_dup(
		gap->message ? gap->message : "", gap->message ? strlen(gap->message) : 0);

	if (show->form == LOG_JSON) {
		print_json(record, "gap", true);
		return;
	}
	(void)fflush(stdout);
	if (gap->has_missed)
		(void)fprintf(
			stderr, "postern: %" PRIu64 " missed: %s\n", gap->missed, why ? why : "");
	else
		(void)fprintf(stderr, "postern: %s\n", why ? why : "");
}
