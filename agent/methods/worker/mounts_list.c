/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "agent/methods/mount_entry.h"
#include "agent/methods/probe.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define PART_BYTES (192u << 10) /* of one response, so that any caller's frames hold it */

static bool is_wanted(const Postern__V1__MountsListRequest *request, struct libmnt_fs *fs)
{
	const char *type = mnt_fs_get_fstype(fs), *target = mnt_fs_get_target(fs);

	if (request->has_target &&
		(!target || strlen(target) != request->target.len ||
			memcmp(target, request->target.data, request->target.len) != 0))
		return false;
	if (request->n_types == 0)
		return true;
	for (size_t i = 0; i < request->n_types; i++)
		if (type && strcmp(request->types[i], type) == 0)
			return true;
	return false;
}

static int collect(struct call *call, const Postern__V1__MountsListRequest *request,
	struct libmnt_table *table, Postern__V1__MountEntry ***ret, size_t *ret_n)
{
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;
	int r = 0;

	*ret_n = 0;
	*ret = arena_alloc(call->arena, ((size_t)mnt_table_get_nents(table) + 1) * sizeof(**ret));
	while (iter && *ret && r == 0 && mnt_table_next_fs(table, iter, &fs) == 0) {
		Postern__V1__MountEntry *entry;

		if (!is_wanted(request, fs))
			continue;
		entry = mount_entry_new(call->arena, fs);
		if (!entry) {
			r = -ENOMEM;
			break;
		}
		if (worker_is_quarantined(call, makedev(entry->major, entry->minor)))
			entry->state = POSTERN__V1__MOUNT_STATE__NOT_RESPONDING;
		(*ret)[(*ret_n)++] = entry;
	}
	if (!iter || !*ret)
		r = -ENOMEM;
	mnt_free_iter(iter);
	return r;
}

/* Sends all but the last part; what is left is the reply's. */
static int send_parts(struct call *call, Postern__V1__MountEntry **entries, size_t n,
	Postern__V1__MountsListReply *reply)
{
	size_t bytes = 0,
	       limit = PART_BYTES < call->max_frame / 2 ? PART_BYTES : call->max_frame / 2;

	reply->mounts = entries;
	for (size_t i = 0; i < n; i++) {
		size_t len = protobuf_c_message_get_packed_size(&entries[i]->base) + 8;

		if (reply->n_mounts > 0 && bytes + len > limit) {
			int r = call_more(call, &reply->base);

			if (r < 0)
				return r;
			reply->mounts = &entries[i];
			reply->n_mounts = 0;
			bytes = 0;
		}
		reply->n_mounts++;
		bytes += len;
	}
	return 0;
}

int mounts_list(struct call *call, const Postern__V1__MountsListRequest *request,
	Postern__V1__MountsListReply *reply)
{
	AUTO_CLOSE int mountinfo = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	Postern__V1__MountEntry **entries;
	struct libmnt_table *table;
	size_t n;
	int r;

	if (mountinfo < 0)
		return call_fail_errno(call, -errno, "the mount table");
	r = mount_table_read(mountinfo, &table);
	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	r = collect(call, request, table, &entries, &n);
	mnt_unref_table(table);
	if (r == 0 && request->usage)
		r = probe_usage(call, entries, n);
	return r < 0 ? r : send_parts(call, entries, n, reply);
}
