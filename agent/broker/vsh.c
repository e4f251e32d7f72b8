/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/vsh.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/broker/call.h"
#include "proto/log.h"

const char *vsh_start(struct broker *broker, int socket, const struct identity *identity)
{
	const struct rule *rule;
	int r;

	switch (policy_decide(
		&broker->policy, identity, method_rows[METHOD_exec_start].name, &rule)) {
	case ALLOWED_NO:
		return "the guest's policy does not allow exec.start";
	case ALLOWED_BY_PARAMETERS:
		return "the guest's policy allows exec.start with some parameters only, and vsh "
		       "has others";
	case ALLOWED_YES:
		break;
	}
	r = call_start_vsh(broker, socket, identity);
	if (r == -EUSERS)
		return "too many programs run for callers already, or hang";
	if (r < 0) {
		log_warning("a client of vsh was refused: %s", strerror(-r));
		return "the agent has no process for a program now";
	}
	return NULL;
}

/* A SetupConnectionResponse, FAILED, with a description: by hand, since all else of the protocol is
 * the business of others. */
void vsh_refuse(int socket, const char *why)
{
	size_t len = strlen(why);
	uint8_t head[] = {(uint8_t)(len + 4), 0, 0, 0, 1 << 3, 3, 2 << 3 | 2, (uint8_t)len};
	struct iovec parts[] = {{head, sizeof(head)}, {(void *)why, len}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	(void)sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)shutdown(socket, SHUT_WR);
}
