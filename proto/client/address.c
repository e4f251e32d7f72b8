/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/client/address.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include <linux/vm_sockets.h>

#include "proto/limits.h"

/* A decimal number that ends the text or stands before end. */
static int parse_u32(const char *text, const char *end, uint32_t *ret)
{
	uint64_t value = 0;

	if (text == end)
		return -EINVAL;
	for (; text < end; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		value = value * 10 + (uint64_t)(*text - '0');
		if (value > UINT32_MAX)
			return -EINVAL;
	}
	*ret = (uint32_t)value;
	return 0;
}

static int parse_vsock(const char *text, struct address *ret, const char **ret_why)
{
	struct sockaddr_vm *vm = (struct sockaddr_vm *)&ret->socket;
	const char *end = text + strlen(text), *colon = strchr(text, ':');
	uint32_t cid;

	*ret_why = "expected vsock:CID or vsock:CID:PORT";
	if (colon && parse_u32(colon + 1, end, &ret->port) < 0)
		return -EINVAL;
	if (parse_u32(text, colon ? colon : end, &cid) < 0)
		return -EINVAL;
	*vm = (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = ret->port};
	ret->len = sizeof(*vm);
	return 0;
}

static int parse_path(const char *text, size_t len, struct address *ret, const char **ret_why)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&ret->socket;

	*ret_why = "expected the path of a socket, of at most 107 bytes";
	if (len == 0 || len >= sizeof(un->sun_path))
		return -EINVAL;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, text, len);
	ret->len = sizeof(*un);
	return 0;
}

int address_parse(const char *text, struct address *ret, const char **ret_why)
{
	const char *colon;

	*ret = (struct address){.port = POSTERN_PORT};
	if (strncmp(text, "vsock:", 6) == 0)
		return parse_vsock(text + 6, ret, ret_why);
	if (strncmp(text, "local:", 6) == 0) {
		const char *path = text[6] ? text + 6 : LOCAL_SOCKET;

		return parse_path(path, strlen(path), ret, ret_why);
	}
	if (strncmp(text, "unix:", 5) == 0) {
		ret->hybrid = true;
		text += 5;
		colon = strrchr(text, ':');
		/* A colon that no number follows belongs to the path. */
		if (colon && parse_u32(colon + 1, text + strlen(text), &ret->port) == 0)
			return parse_path(text, (size_t)(colon - text), ret, ret_why);
		return parse_path(text, strlen(text), ret, ret_why);
	}
	*ret_why = "expected vsock:CID, unix:PATH or local:";
	return -EINVAL;
}
