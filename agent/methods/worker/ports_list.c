/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/methods/process.h"
#include "agent/methods/prototypes.h"
#include "agent/methods/vsock_diag.h"
#include "proto/cleanup.h"

#define SOCKETS_MAX 4096

struct listing {
	struct call *call;
	Postern__V1__PortsListReply *reply;
	bool listening; /* only these */
	bool failed;
};

static const char *type_name(uint8_t type)
{
	switch (type) {
	case 1:
		return "stream";
	case 2:
		return "dgram";
	case 5:
		return "seqpacket";
	default:
		return "other";
	}
}

/* vsock borrows TCP's states (include/net/tcp_states.h). */
static const char *state_name(uint8_t state)
{
	switch (state) {
	case 1:
		return "ESTABLISHED";
	case 2:
		return "SYN_SENT";
	case 7:
		return "CLOSE";
	case 10:
		return "LISTEN";
	case 11:
		return "CLOSING";
	default:
		return "OTHER";
	}
}

static void take_socket(void *ctx, const struct vsock_diag_msg *from)
{
	struct listing *listing = ctx;
	Postern__V1__PortsListReply *reply = listing->reply;
	Postern__V1__VsockSocket *to;

	if ((listing->listening && from->vdiag_state != 10) || reply->n_sockets == SOCKETS_MAX)
		return;
	to = arena_alloc(listing->call->arena, sizeof(*to));
	if (!to) {
		listing->failed = true;
		return;
	}
	postern__v1__vsock_socket__init(to);
	to->type = (char *)type_name(from->vdiag_type);
	to->state = (char *)state_name(from->vdiag_state);
	to->has_local_cid = to->has_local_port = to->has_inode = true;
	to->local_cid = from->vdiag_src_cid;
	to->local_port = from->vdiag_src_port;
	to->inode = from->vdiag_ino;
	to->has_remote_cid = to->has_remote_port = from->vdiag_state != 10;
	to->remote_cid = from->vdiag_dst_cid;
	to->remote_port = from->vdiag_dst_port;
	reply->sockets[reply->n_sockets++] = to;
}

/* The inode of a "socket:[123]" link, 0 for anything else. */
static uint64_t socket_inode(int fd_dir, const char *name)
{
	char link[64] = "";
	ssize_t n = readlinkat(fd_dir, name, link, sizeof(link) - 1);

	return n > 8 && strncmp(link, "socket:[", 8) == 0 ? strtoull(link + 8, NULL, 10) : 0;
}

static void match_process(void *ctx, const struct process *process)
{
	struct listing *listing = ctx;
	int fd = openat(process->dir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		(void)fd_close(fd);
		return;
	}
	for (struct dirent *entry; (entry = readdir(dir));) {
		uint64_t inode = socket_inode(dirfd(dir), entry->d_name);

		for (size_t i = 0; inode != 0 && i < listing->reply->n_sockets; i++) {
			Postern__V1__VsockSocket *socket = listing->reply->sockets[i];

			if (socket->inode != inode || socket->has_pid)
				continue;
			socket->has_pid = socket->has_command = socket->has_uid = true;
			socket->pid = process->pid;
			socket->uid = process->uid;
			socket->command = call_text(listing->call, process->command);
		}
	}
	(void)closedir(dir);
}

int ports_list(struct call *call, const Postern__V1__PortsListRequest *request,
	Postern__V1__PortsListReply *reply)
{
	struct listing listing = {.call = call, .reply = reply, .listening = request->listening};
	int r;

	reply->sockets = arena_alloc(call->arena, SOCKETS_MAX * sizeof(*reply->sockets));
	if (!reply->sockets)
		return -ENOMEM;
	r = vsock_diag_dump(take_socket, &listing);
	if (r == -ENOENT)
		return call_fail(call, POSTERN__V1__CODE__UNIMPLEMENTED, ENOENT,
			"the kernel does not diagnose vsock sockets: load the module vsock_diag");
	if (r < 0)
		return call_fail_errno(call, r, "socket diagnosis");
	if (listing.failed)
		return -ENOMEM;
	if (reply->n_sockets == 0)
		return 0;
	return process_each(match_process, &listing);
}
