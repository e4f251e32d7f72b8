/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/methods/lent.h"
#include "agent/methods/prototypes.h"
#include "agent/session/session.h"
#include "proto/cleanup.h"

#define DISKS_MAX   1024
#define SECTOR_SIZE 512 /* of that file, whatever the disk's own */
#define NUMBERS     17  /* behind the name */

/* A line of /proc/diskstats (kernel Documentation/admin-guide/iostats.rst): two numbers, a name,
 * and numbers. Returns how many of those there are. */
static size_t take_fields(
	struct call *call, char *line, Postern__V1__DiskStats *stats, uint64_t numbers[NUMBERS])
{
	size_t n = 0, len;
	char *end;

	stats->major = (uint32_t)strtoul(line, &line, 10);
	stats->minor = (uint32_t)strtoul(line, &line, 10);
	line += strspn(line, " ");
	len = strcspn(line, " ");
	stats->name = call_bytes(call, line, len);
	for (line += len; n < NUMBERS; n++, line = end) {
		numbers[n] = strtoull(line, &end, 10);
		if (end == line)
			break;
	}
	return n;
}

/* False: it is none. Discards are told since Linux 4.18, flushes since 5.5. */
static bool take_line(struct call *call, char *line, Postern__V1__DiskStats *stats)
{
	uint64_t n[NUMBERS] = {0};
	size_t fields = take_fields(call, line, stats, n);

	if (fields < 11 || stats->name.len == 0)
		return false;
	stats->has_name = stats->has_major = stats->has_minor = true;
	stats->has_reads = stats->has_reads_merged = stats->has_read_bytes = stats->has_read_ms =
		stats->has_writes = stats->has_writes_merged = stats->has_written_bytes =
			stats->has_write_ms = stats->has_in_flight = stats->has_busy_ms =
				stats->has_weighted_ms = true;
	stats->reads = n[0];
	stats->reads_merged = n[1];
	stats->read_bytes = n[2] * SECTOR_SIZE;
	stats->read_ms = n[3];
	stats->writes = n[4];
	stats->writes_merged = n[5];
	stats->written_bytes = n[6] * SECTOR_SIZE;
	stats->write_ms = n[7];
	stats->in_flight = n[8];
	stats->busy_ms = n[9];
	stats->weighted_ms = n[10];
	stats->has_discards = stats->has_discards_merged = stats->has_discarded_bytes =
		stats->has_discard_ms = fields >= 15;
	stats->discards = n[11];
	stats->discards_merged = n[12];
	stats->discarded_bytes = n[13] * SECTOR_SIZE;
	stats->discard_ms = n[14];
	stats->has_flushes = stats->has_flush_ms = fields >= 17;
	stats->flushes = n[15];
	stats->flush_ms = n[16];
	return true;
}

int disks_stats(struct call *call, const Postern__V1__DisksStatsRequest *request,
	Postern__V1__DisksStatsReply *reply)
{
	const struct session *session = call->program;
	int fd = session->fds[SESSION_FD_DISKSTATS];
	char *rest = NULL;

	(void)request;
	if (fd < 0)
		return call_fail(call, POSTERN__V1__CODE__UNIMPLEMENTED, ENOENT,
			"this kernel has no /proc/diskstats");
	reply->disks = arena_alloc(call->arena, DISKS_MAX * sizeof(*reply->disks));
	for (char *line = reply->disks ? strtok_r(lent_text(call, fd), "\n", &rest) : NULL;
		line && reply->n_disks < DISKS_MAX; line = strtok_r(NULL, "\n", &rest)) {
		Postern__V1__DiskStats *stats = arena_alloc(call->arena, sizeof(*stats));

		if (!stats)
			return -ENOMEM;
		postern__v1__disk_stats__init(stats);
		if (take_line(call, line, stats))
			reply->disks[reply->n_disks++] = stats;
	}
	return reply->disks ? 0 : -ENOMEM;
}
