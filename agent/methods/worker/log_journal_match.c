/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/log_journal_match.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/methods/log_journal_library.h"
#include "proto/cleanup.h"

static int match(sd_journal *journal, const char *field, const void *value, size_t len)
{
	size_t name_len = strlen(field);
	AUTO_FREE char *text = malloc(name_len + len + 1);

	if (!text)
		return -ENOMEM;
	memcpy(text, field, name_len + 1);
	if (len > 0)
		memcpy(text + name_len, value, len);
	return journal_lib.add_match(journal, text, name_len + len);
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
	int r = journal_lib.get_monotonic(journal, &monotonic, &id);

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
		r = journal_lib.seek_head(journal);
	if (r >= 0)
		r = journal_lib.next(journal);
	if (r > 0)
		r = journal_lib.get_cursor(journal, &first);
	journal_lib.flush_matches(journal);
	if (r >= 0 && first)
		r = journal_lib.seek_cursor(journal, first);
	else
		r = r < 0 ? r : journal_lib.seek_tail(journal);
	/* Onto that first one, and before it. */
	if (r >= 0 && first)
		r = journal_lib.next(journal);
	if (r >= 0)
		r = journal_lib.previous(journal);
	return r > 0 ? boot_at(journal, boot) < 0 ? -EBADMSG : 1 : r;
}

int log_journal_match_boot(struct log_journal *journal, bool *ret_boot)
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

int log_journal_boot_at(const struct log_journal *journal, uint8_t boot[LOG_BOOT_SIZE])
{
	return boot_at(journal->journal, boot);
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
	r = r < 0 ? r : journal_lib.add_disjunction(journal);
	r = r < 0 ? r : match(journal, "UNIT=", name, len);
	r = r < 0 ? r : match(journal, "_PID=", "1", 1);
	r = r < 0 ? r : journal_lib.add_disjunction(journal);
	r = r < 0 ? r : match(journal, "COREDUMP_UNIT=", name, len);
	r = r < 0 ? r : match(journal, "_UID=", "0", 1);
	return r < 0 ? r : journal_lib.add_disjunction(journal);
}

int log_journal_match(struct log_journal *to, bool kernel_only)
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
		r = journal_lib.add_conjunction(journal);
	for (size_t i = 0; r >= 0 && i < request->n_units; i++)
		r = match_unit(journal, request->units[i]);
	return r < 0 ? r : 0;
}
