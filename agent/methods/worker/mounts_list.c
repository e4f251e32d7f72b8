/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "agent/methods/mount_memo.h"
#include "agent/methods/probe.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"

#define PART_BYTES (192u << 10) /* of one response, so that any caller's frames hold it */

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

/* The wanted entries, as copies that this request may write into. */
static int collect(struct call *call, const Postern__V1__MountsListRequest *request,
	const struct mount_memo *memo, Postern__V1__MountEntry ***ret, size_t *ret_n)
{
	*ret_n = 0;
	*ret = arena_alloc(call->arena, (memo->n + 1) * sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	for (size_t i = 0; i < memo->n; i++) {
		Postern__V1__MountEntry *entry;

		if (!is_wanted(request, memo->entries[i]))
			continue;
		entry = arena_copy(call->arena, memo->entries[i], sizeof(*entry));
		if (!entry)
			return -ENOMEM;
		if (worker_is_quarantined(call, makedev(entry->major, entry->minor)))
			entry->state = POSTERN__V1__MOUNT_STATE__NOT_RESPONDING;
		(*ret)[(*ret_n)++] = entry;
	}
	return 0;
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
	static struct mount_memo memo;
	static int mountinfo = -EBADF; /* its namespace is this process's for good */
	Postern__V1__MountEntry **entries;
	size_t n;
	int r;

	if (mountinfo < 0)
		mountinfo = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (mountinfo < 0)
		return call_fail_errno(call, -errno, "the mount table");
	r = mount_memo_read(&memo, mountinfo);
	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	r = collect(call, request, &memo, &entries, &n);
	if (r == 0 && request->usage)
		r = probe_usage(call, entries, n);
	return r < 0 ? r : send_parts(call, entries, n, reply);
}
