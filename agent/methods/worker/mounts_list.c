/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "agent/methods/mount_memo.h"
#include "agent/methods/probe.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"

#define ADDED_BYTES 128 /* its tag, and what state and usage add at most */

static bool equals(const ProtobufCBinaryData *bytes, const void *data, size_t len)
{
	return bytes->len == len && memcmp(bytes->data, data, len) == 0;
}

static bool is_wanted(
	const Postern__V1__MountsListRequest *request, const Postern__V1__MountEntry *entry)
{
	if (request->has_target &&
		(!entry->has_target ||
			!equals(&entry->target, request->target.data, request->target.len)))
		return false;
	if (request->n_types == 0)
		return true;
	for (size_t i = 0; i < request->n_types; i++)
		if (entry->has_type &&
			equals(&entry->type, request->types[i], strlen(request->types[i])))
			return true;
	return false;
}

static Postern__V1__MountEntry *copy_of(struct call *call, const Postern__V1__MountEntry *entry)
{
	Postern__V1__MountEntry *copy = arena_copy(call->arena, entry, sizeof(*entry));

	if (copy && worker_is_quarantined(call, makedev(entry->major, entry->minor), TOUCH_WRITE))
		copy->state = POSTERN__V1__MOUNT_STATE__NOT_RESPONDING;
	return copy;
}

/* The wanted entries. They are copies, which this request may write into, only where it must. */
static int collect(struct call *call, const Postern__V1__MountsListRequest *request,
	struct mount_memo *memo, Postern__V1__MountEntry ***ret, size_t **ret_lens, size_t *ret_n)
{
	*ret_n = 0;
	*ret = arena_alloc(call->arena, (memo->n + 1) * sizeof(**ret));
	*ret_lens = arena_alloc(call->arena, (memo->n + 1) * sizeof(**ret_lens));
	if (!*ret || !*ret_lens)
		return -ENOMEM;
	for (size_t i = 0; i < memo->n; i++) {
		struct mount_memo_row *row = &memo->rows[i];
		Postern__V1__MountEntry *entry =
			(Postern__V1__MountEntry *)(void *)&row->encoded.base;

		if (!is_wanted(request, row->entry))
			continue;
		if (request->usage || worker_has_quarantine(call))
			entry = copy_of(call, row->entry);
		if (!entry)
			return -ENOMEM;
		(*ret_lens)[*ret_n] = row->encoded.len + ADDED_BYTES;
		(*ret)[(*ret_n)++] = entry;
	}
	return 0;
}

/* Sends all but the last part; what is left is the reply's. */
static int send_parts(struct call *call, Postern__V1__MountEntry **entries, const size_t *lens,
	size_t n, Postern__V1__MountsListReply *reply)
{
	size_t bytes = 0, limit = call_part_size(call);

	reply->mounts = entries;
	for (size_t i = 0; i < n; i++) {
		if (reply->n_mounts > 0 && bytes + lens[i] > limit) {
			int r = call_more(call, &reply->base);

			if (r < 0)
				return r;
			reply->mounts = &entries[i];
			reply->n_mounts = 0;
			bytes = 0;
		}
		reply->n_mounts++;
		bytes += lens[i];
	}
	return 0;
}

int mounts_list(struct call *call, const Postern__V1__MountsListRequest *request,
	Postern__V1__MountsListReply *reply)
{
	static struct mount_memo memo;
	static int mountinfo = -EBADF; /* its namespace is this process's for good */
	Postern__V1__MountEntry **entries;
	size_t n, *lens;
	int r;

	if (mountinfo < 0)
		mountinfo = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (mountinfo < 0)
		return call_fail_errno(call, -errno, "the mount table");
	r = mount_memo_read(&memo, mountinfo);
	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	r = collect(call, request, &memo, &entries, &lens, &n);
	if (r == 0 && request->usage)
		r = probe_usage(call, entries, n);
	return r < 0 ? r : send_parts(call, entries, lens, n, reply);
}
