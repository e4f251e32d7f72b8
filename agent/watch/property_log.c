/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/watch/property_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/log.h"

#define HEAD_MAGIC   UINT64_C(0x3253504f52505350)
#define RECORD_MAGIC 0x50525031u
#define BLOCK        4096u /* the head has one to itself, so that holes can begin behind it */
#define SLACK        (256u << 10)        /* bytes out of date that are nobody's concern */
#define REMOVED      (UINT32_C(1) << 31) /* among the flags */

struct head {
	uint64_t magic;
	uint8_t boot_id[16];
	uint64_t start;
	uint64_t revision; /* that is behind all that was ever given, also to what is gone */
};

struct record {
	uint32_t magic;
	uint32_t flags;
	uint32_t key_len;
	uint32_t value_len;
	uint64_t revision, set_ns, expires_ns;
	char set_by[24];
};

static bool write_head(const struct property_log *log, const struct store *store)
{
	struct head head = {.magic = HEAD_MAGIC, .start = log->start, .revision = store->revision};

	memcpy(head.boot_id, log->boot_id, sizeof(head.boot_id));
	return pwrite(log->fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head);
}

/* One record at the place, for which the file has that of all before it. */
static bool write_record(
	const struct property_log *log, uint64_t *at, const struct property *property, bool removed)
{
	struct record record = {.magic = RECORD_MAGIC,
		.flags = removed ? REMOVED : property->flags,
		.key_len = (uint32_t)strlen(property->key),
		.value_len = removed ? 0 : (uint32_t)property->value_len,
		.revision = property->revision,
		.set_ns = property->set_ns,
		.expires_ns = property->expires_ns};
	struct iovec iov[] = {{&record, sizeof(record)}, {(void *)property->key, record.key_len},
		{(void *)property->value, record.value_len}};
	size_t size = sizeof(record) + record.key_len + record.value_len;

	memcpy(record.set_by, property->set_by, sizeof(record.set_by));
	if (pwritev(log->fd, iov, ARRAY_SIZE(iov), (off_t)*at) != (ssize_t)size)
		return false;
	*at += size;
	return true;
}

/* What is out of date must not come back, nor what was written in part: rather nothing is kept,
 * until there is room for all. */
static void set_back(struct property_log *log)
{
	if (!log->empty)
		log_warning("properties would not outlive the agent: %s", strerror(errno));
	log->empty = true;
	if (ftruncate(log->fd, 0) < 0)
		log_warning("the file of properties cannot be emptied: %s", strerror(errno));
}

/* Writes all that is there behind what was written, which is given back then. */
static void write_anew(struct property_log *log, const struct store *store)
{
	uint64_t start = log->empty ? BLOCK : (log->end + BLOCK - 1) / BLOCK * BLOCK, at = start;
	const off_t behind_head = BLOCK;

	for (size_t i = 0; i < store->n; i++) {
		const struct property *property = store->properties[i];

		if (!(property->flags & PROPERTY_EPHEMERAL) &&
			!write_record(log, &at, property, false)) {
			set_back(log);
			return;
		}
	}
	log->start = start;
	log->end = at;
	if (!write_head(log, store)) {
		set_back(log);
		return;
	}
	log->empty = false;
	if (start > BLOCK && fallocate(log->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     behind_head, (off_t)start - behind_head) < 0)
		log_debug("the file of properties keeps what is out of date: %s", strerror(errno));
}

static void add(struct property_log *log, const struct store *store,
	const struct property *property, bool removed)
{
	uint64_t live = 0;

	if (log->fd < 0)
		return;
	if (log->empty) {
		write_anew(log, store);
		return;
	}
	if (!write_record(log, &log->end, property, removed)) {
		set_back(log);
		return;
	}
	for (size_t i = ACCOUNT_HOST; i <= ACCOUNT_USERS; i++)
		live += store->accounts[i].bytes;
	if (log->end - log->start > 2 * live + SLACK)
		write_anew(log, store);
}

void property_log_set(
	struct property_log *log, const struct store *store, const struct property *property)
{
	add(log, store, property, (property->flags & PROPERTY_EPHEMERAL) != 0);
}

void property_log_remove(
	struct property_log *log, const struct store *store, const struct property *property)
{
	add(log, store, property, true);
}

/* Takes one record at *at. False: there is none any more. */
static bool read_record(const struct property_log *log, uint64_t *at, struct store *store)
{
	struct record record;
	char key[PROPERTY_KEY_MAX + 1] = "";
	off_t from = (off_t)*at + (off_t)sizeof(record);
	struct property *property = NULL;
	bool removed;

	if (pread(log->fd, &record, sizeof(record), (off_t)*at) != (ssize_t)sizeof(record) ||
		record.magic != RECORD_MAGIC || record.key_len > PROPERTY_KEY_MAX ||
		record.value_len > PROPERTY_VALUE_MAX ||
		pread(log->fd, key, record.key_len, from) != (ssize_t)record.key_len ||
		!store_key_is_good(key))
		return false;
	removed = (record.flags & REMOVED) != 0;
	if (!removed) {
		property = property_new(key, record.value_len);
		if (!property ||
			pread(log->fd, (uint8_t *)property->value, record.value_len,
				from + (off_t)record.key_len) != (ssize_t)record.value_len) {
			free(property);
			return false;
		}
		property->flags = record.flags;
		property->set_ns = record.set_ns;
		property->expires_ns = record.expires_ns;
		memcpy(property->set_by, record.set_by, sizeof(property->set_by) - 1);
		property->revision = record.revision;
	}
	if (record.revision > store->revision)
		store->revision = record.revision;
	store_restore(store, key, property);
	*at += sizeof(record) + record.key_len + record.value_len;
	return true;
}

void property_log_open(
	struct property_log *log, int fd, const uint8_t boot_id[16], struct store *store)
{
	struct head head = {0};

	*log = (struct property_log){.fd = fd, .start = BLOCK, .end = BLOCK};
	memcpy(log->boot_id, boot_id, sizeof(log->boot_id));
	if (fd < 0)
		return;
	if (pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
		head.magic == HEAD_MAGIC && head.start >= BLOCK && head.start < INT64_MAX / 2 &&
		memcmp(head.boot_id, boot_id, sizeof(head.boot_id)) == 0) {
		log->start = log->end = head.start;
		store->revision = head.revision;
		while (read_record(log, &log->end, store))
			;
	} else {
		log->empty = true;
	}
	/* Behind the last whole record. */
	if (ftruncate(fd, log->empty ? 0 : (off_t)log->end) < 0)
		set_back(log);
}
