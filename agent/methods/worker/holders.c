/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/holders.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/holder_search.h"
#include "agent/methods/mount_entry.h"
#include "proto/encode.h"

#define HOLDERS_MAX  256
#define USES_MAX     64
#define BYTES_MAX    (512u << 10)   /* of all of them in the answer; paths may be long */
#define REST_BYTES   ((size_t)4096) /* room in the same frame for all else */
#define HOLDER_BYTES 128            /* of one, at most, without its uses */
#define HEAD_BYTES   5u             /* of a message in another: tag and length, and more_uses */

/* What the message takes in the answer. */
static size_t measure(const ProtobufCMessage *message)
{
	uint8_t room[PATH_MAX + 128];
	size_t len = encode_before(room, room + sizeof(room), message);

	return len == ENCODE_NO_ROOM ? sizeof(room) : len;
}

static size_t room_for_holders(const struct call *call)
{
	size_t room = call->max_frame > 2 * REST_BYTES ? call->max_frame - REST_BYTES
						       : call->max_frame / 2;

	return room < BYTES_MAX ? room : BYTES_MAX;
}

/* The holder of the process, made with its first use. NULL: none fits any more. */
static Postern__V1__Holder *holder_of(struct search *search, const struct process *process)
{
	struct holders *found = search->found;
	Postern__V1__Holder *holder;
	char user[64];

	if (found->n > 0 && found->list[found->n - 1]->pid == (process ? process->pid : 0))
		return found->list[found->n - 1];
	if (found->n == HOLDERS_MAX || search->bytes + HOLDER_BYTES > search->most_bytes) {
		/* Counted once, however many uses it has. */
		found->more += process && process->pid != search->left_out;
		search->left_out = process ? process->pid : 0;
		return NULL;
	}
	holder = arena_alloc(search->call->arena, sizeof(*holder));
	if (holder)
		holder->uses = arena_alloc(search->call->arena, USES_MAX * sizeof(*holder->uses));
	if (!holder || !holder->uses) {
		search->failed = true;
		return NULL;
	}
	Postern__V1__Use **uses = holder->uses;
	postern__v1__holder__init(holder);
	holder->uses = uses;
	holder->has_pid = true;
	if (process) {
		user_name(process->uid, user, sizeof(user));
		holder->pid = process->pid;
		holder->has_command = holder->has_uid = true;
		holder->command = call_text(search->call, process->command);
		holder->uid = process->uid;
		holder->has_user = user[0] != '\0';
		holder->user = call_text(search->call, user);
	}
	found->list[found->n++] = holder;
	search->bytes += measure(&holder->base) + HEAD_BYTES + HEAD_BYTES;
	return holder;
}

void search_add(struct search *search, const struct process *process, Postern__V1__UseKind kind,
	const char *path, int fd)
{
	Postern__V1__Holder *holder = holder_of(search, process);
	Postern__V1__Use use = POSTERN__V1__USE__INIT, *kept;
	size_t bytes;

	if (!holder)
		return;
	use.has_kind = true;
	use.kind = kind;
	use.has_path = path[0] != '\0';
	use.path = (ProtobufCBinaryData){.len = strlen(path), .data = (uint8_t *)path};
	use.has_fd = fd >= 0;
	use.fd = fd;
	bytes = measure(&use.base) + HEAD_BYTES;
	if (holder->n_uses == USES_MAX || search->bytes + bytes > search->most_bytes) {
		holder->has_more_uses = true;
		holder->more_uses++;
		return;
	}
	use.path = call_text(search->call, path);
	kept = arena_copy(search->call->arena, &use, sizeof(use));
	if (!kept) {
		search->failed = true;
		return;
	}
	holder->uses[holder->n_uses++] = kept;
	search->bytes += bytes;
}

static void look_at(void *ctx, const struct process *process)
{
	search_process(ctx, process);
}

int holders_find(struct call *call, const Postern__V1__MountEntry *mount, struct holders *ret)
{
	struct libmnt_table *table = NULL;
	struct search search = {.call = call,
		.found = ret,
		.target = (const char *)mount->target.data,
		.target_len = mount->target.len,
		.mount_id = (int)mount->id,
		.most_bytes = room_for_holders(call),
		.major = mount->major,
		.minor = mount->minor};
	struct stat st;
	int r;

	*ret = (struct holders){.list = arena_alloc(call->arena, HOLDERS_MAX * sizeof(*ret->list))};
	if (!ret->list)
		return -ENOMEM;
	if (stat("/proc/self/ns/mnt", &st) < 0)
		return -errno;
	search.own_namespace = st.st_ino;
	r = mount_table_own(&table);
	if (r < 0)
		return r;
	search_nested(&search, table);
	mnt_unref_table(table);
	search_loop_devices(&search);
	search_swap(&search);
	r = process_each(look_at, &search);
	free(search.namespaces);
	return search.failed ? -ENOMEM : r;
}

static const char *in_words(Postern__V1__UseKind kind)
{
	switch (kind) {
	case POSTERN__V1__USE_KIND__OPEN_FILE:
		return "has open";
	case POSTERN__V1__USE_KIND__CURRENT_DIRECTORY:
		return "works in";
	case POSTERN__V1__USE_KIND__ROOT_DIRECTORY:
		return "has as its root";
	case POSTERN__V1__USE_KIND__EXECUTABLE:
		return "runs";
	case POSTERN__V1__USE_KIND__MAPPING:
		return "has mapped";
	case POSTERN__V1__USE_KIND__NESTED_MOUNT:
		return "has mounted";
	case POSTERN__V1__USE_KIND__LOOP_DEVICE:
		return "has a loop device on";
	case POSTERN__V1__USE_KIND__SWAP:
		return "swaps to";
	case POSTERN__V1__USE_KIND__MOUNT_NAMESPACE:
		return "has in its mount namespace";
	default:
		return "uses";
	}
}

void holders_in_words(const struct holders *holders, char *text, size_t size)
{
	const Postern__V1__Holder *first = holders->n > 0 ? holders->list[0] : NULL;
	const Postern__V1__Use *use = first && first->n_uses > 0 ? first->uses[0] : NULL;
	char who[64] = "the kernel";
	size_t others = holders->n + holders->more;
	int len;

	if (!use) {
		(void)snprintf(text, size, "no holder was found");
		return;
	}
	if (first->pid > 0)
		(void)snprintf(who, sizeof(who), "%.20s (pid %d)",
			(const char *)first->command.data, first->pid);
	len = snprintf(
		text, size, "%s %s %.300s", who, in_words(use->kind), (const char *)use->path.data);
	if (others > 1 && len > 0 && (size_t)len < size)
		(void)snprintf(text + len, size - (size_t)len, ", and %zu more", others - 1);
}
