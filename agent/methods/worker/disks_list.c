/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "agent/methods/disk_table.h"
#include "agent/methods/mount_entry.h"
#include "agent/methods/prototypes.h"
#include "proto/cleanup.h"

#define DISKSTATS   "/proc/diskstats"
#define SECTOR_SIZE 512 /* of that file, whatever the disk's own */

int disks_list_disks(struct call *call, const Postern__V1__DisksListDisksRequest *request,
	Postern__V1__DisksListDisksReply *reply)
{
	struct libmnt_table *mounts = NULL;
	int r = mount_table_own(&mounts);

	(void)request;
	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	r = disk_table_read(call, mounts, &reply->disks, &reply->n_disks);
	mnt_unref_table(mounts);
	return r;
}

/* A line; false: it is none. Discards are told since Linux 4.18, flushes since 5.5. */
static bool take_line(struct call *call, const char *line, Postern__V1__DiskStats *stats)
{
	uint64_t n[17] = {0};
	char name[64];
	int fields = sscanf(line,
		"%u %u %63s %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		" %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		" %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
		&stats->major, &stats->minor, name, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6],
		&n[7], &n[8], &n[9], &n[10], &n[11], &n[12], &n[13], &n[14], &n[15], &n[16]);

	if (fields < 14)
		return false;
	stats->has_name = stats->has_major = stats->has_minor = true;
	stats->name = call_text(call, name);
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
		stats->has_discard_ms = fields >= 18;
	stats->discards = n[11];
	stats->discards_merged = n[12];
	stats->discarded_bytes = n[13] * SECTOR_SIZE;
	stats->discard_ms = n[14];
	stats->has_flushes = stats->has_flush_ms = fields >= 20;
	stats->flushes = n[15];
	stats->flush_ms = n[16];
	return true;
}

int disks_stats(struct call *call, const Postern__V1__DisksStatsRequest *request,
	Postern__V1__DisksStatsReply *reply)
{
	AUTO_FILE FILE *file = fopen(DISKSTATS, "re");
	char line[512];

	(void)request;
	if (!file)
		return call_fail_errno(call, -errno, DISKSTATS);
	reply->disks = arena_alloc(call->arena, DISKS_MAX * sizeof(*reply->disks));
	while (reply->disks && reply->n_disks < DISKS_MAX && fgets(line, sizeof(line), file)) {
		Postern__V1__DiskStats *stats = arena_alloc(call->arena, sizeof(*stats));

		if (!stats)
			return -ENOMEM;
		postern__v1__disk_stats__init(stats);
		if (take_line(call, line, stats))
			reply->disks[reply->n_disks++] = stats;
	}
	return reply->disks ? 0 : -ENOMEM;
}
