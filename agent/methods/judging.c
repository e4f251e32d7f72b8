/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/judging.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/judge.h"
#include "proto/openat2.h"

#define CLAUSES_MAX (8u << 20) /* bytes; more than the rules that policy.c reads can make */

/* The clauses are behind the verdicts; the broker has sealed both. */
static int read_clauses(struct call *call, uint8_t **ret, size_t *ret_len)
{
	struct stat st;
	ssize_t n;

	if (fstat(call->verdicts_fd, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)sizeof(struct verdicts) ||
		st.st_size - (off_t)sizeof(struct verdicts) > (off_t)CLAUSES_MAX)
		return -EBADMSG;
	*ret_len = (size_t)st.st_size - sizeof(struct verdicts);
	*ret = arena_alloc(call->arena, *ret_len + 1);
	if (!*ret)
		return -ENOMEM;
	n = pread(call->verdicts_fd, *ret, *ret_len, (off_t)sizeof(struct verdicts));
	return n == (ssize_t)*ret_len ? 0 : -EBADMSG;
}

int judge_request(struct call *call, const ProtobufCMessage *request)
{
	const char *name = method_rows[call->method].name, *rule = "";
	uint8_t allowed = call->verdicts->method[call->method].allowed, *clauses = NULL;
	bool by_path = false;
	size_t len = 0;
	int r;

	path_forbid_links(false);
	if (allowed == ALLOWED_YES)
		return 0;
	r = read_clauses(call, &clauses, &len);
	if (r < 0)
		return r;
	if (allowed == ALLOWED_BY_PARAMETERS &&
		judge_allows(clauses, len, call->method, request, &rule, &by_path)) {
		path_forbid_links(by_path);
		return 0;
	}
	r = call_fail(call, POSTERN__V1__CODE__PERMISSION_DENIED, 0,
		"%s is denied by the policy with these parameters (%s)", name,
		*rule ? rule : "no rule allows them");
	if (call->error)
		call->error->rule = arena_strdup(call->arena, *rule ? rule : "no rule");
	return r < 0 ? r : -EACCES;
}
