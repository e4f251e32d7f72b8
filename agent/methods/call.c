/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/call.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "envelope.pb-c.h"
#include "proto/encode.h"
#include "proto/frame.h"
#include "proto/utf8.h"
#include "proto/verify.h"

#define MESSAGE_MAX 1024
#define PART_BYTES  (192u << 10)

Postern__V1__Code code_of_errno(int sys_errno)
{
	switch (sys_errno) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
	case ESRCH:
	case ENOMEDIUM:
		return POSTERN__V1__CODE__NOT_FOUND;
	case EEXIST:
		return POSTERN__V1__CODE__ALREADY_EXISTS;
	case EACCES:
	case EPERM:
	case ENOKEY:
	case EKEYEXPIRED:
	case EKEYREVOKED:
	case EKEYREJECTED:
		return POSTERN__V1__CODE__PERMISSION_DENIED;
	case EINVAL:
	case ENAMETOOLONG:
	case ENOTDIR:
	case EISDIR:
	case ELOOP:
	case ENOTBLK:
	case EXDEV:
	case ERANGE:
	case EDOM:
	case EILSEQ:
		return POSTERN__V1__CODE__INVALID_ARGUMENT;
	case EBUSY:
	case EROFS:
	case ENOTEMPTY:
	case ETXTBSY:
	case EMEDIUMTYPE:
	case ENOEXEC:
		return POSTERN__V1__CODE__FAILED_PRECONDITION;
	case ENOMEM:
	case ENOSPC:
	case EDQUOT:
	case EMFILE:
	case ENFILE:
	case E2BIG:
	case EFBIG:
	case EMSGSIZE:
	case EOVERFLOW:
	case EMLINK:
	case ENOLCK:
		return POSTERN__V1__CODE__RESOURCE_EXHAUSTED;
	case ETIMEDOUT:
		return POSTERN__V1__CODE__DEADLINE_EXCEEDED;
	case ENOSYS:
	case EOPNOTSUPP:
	case EPROTONOSUPPORT:
	case EAFNOSUPPORT:
	case ENOTTY:
		return POSTERN__V1__CODE__UNIMPLEMENTED;
	case ENOTCONN:
	case ECONNREFUSED:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ESTALE:
	case EIO:
	case EAGAIN:
	case ENETDOWN:
	case ENETRESET:
	case ECONNRESET:
	case ECONNABORTED:
	case EPIPE:
	case ESHUTDOWN:
	case EREMOTEIO:
	case ENOLINK:
		return POSTERN__V1__CODE__UNAVAILABLE;
	case EUCLEAN: /* what a file system says of its own damage */
	case EBADMSG: /* and of a checksum that does not fit */
		return POSTERN__V1__CODE__DATA_LOSS;
	default:
		return POSTERN__V1__CODE__INTERNAL;
	}
}

/* A string of a message must be UTF-8; the text may be cut, or made of a path that is not. */
static void make_utf8(char *text)
{
	size_t left = strlen(text), n;
	uint32_t c;

	for (; left > 0; text += n, left -= n) {
		n = utf8_next((const uint8_t *)text, left, &c);
		if (n > 0)
			continue;
		*text = '?';
		n = 1;
	}
}

static int vfail(struct call *call, Postern__V1__Code code, int sys_errno, const char *suffix,
	const char *format, va_list args) __attribute__((format(printf, 5, 0)));

static int vfail(struct call *call, Postern__V1__Code code, int sys_errno, const char *suffix,
	const char *format, va_list args)
{
	static Postern__V1__Error last_resort; /* good until the next one: it is emitted at once */
	static char no_memory[] = "this request has used up its memory";
	Postern__V1__Error *error = arena_alloc(call->arena, sizeof(*error));
	char text[MESSAGE_MAX];

	(void)vsnprintf(text, sizeof(text), format, args);
	make_utf8(text);
	if (!error)
		error = &last_resort;
	postern__v1__error__init(error);
	error->has_code = true;
	error->code = code;
	error->has_sys_errno = sys_errno != 0;
	error->sys_errno = sys_errno;
	error->message = suffix ? arena_printf(call->arena, "%s: %s", text, suffix)
				: arena_strdup(call->arena, text);
	if (!error->message)
		error->message = no_memory;
	call->error = error;
	return sys_errno ? -sys_errno : -EREMOTEIO;
}

int call_fail(struct call *call, Postern__V1__Code code, int sys_errno, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = vfail(call, code, sys_errno, NULL, format, args);
	va_end(args);
	return r;
}

int call_fail_errno(struct call *call, int negative_errno, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = vfail(call, code_of_errno(-negative_errno), -negative_errno, strerror(-negative_errno),
		format, args);
	va_end(args);
	return r;
}

ProtobufCBinaryData call_bytes(struct call *call, const void *data, size_t len)
{
	uint8_t *copy = arena_copy(call->arena, data, len);

	return (ProtobufCBinaryData){.len = copy ? len : 0, .data = copy};
}

ProtobufCBinaryData call_text(struct call *call, const char *text)
{
	return call_bytes(call, text ? text : "", text ? strlen(text) : 0);
}

char *call_string(struct call *call, bool has, const ProtobufCBinaryData *bytes, size_t most,
	const char *field)
{
	if (!has || bytes->len == 0)
		call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "%s: must be given", field);
	else if (bytes->len > most)
		call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, ENAMETOOLONG,
			"%s: longer than %zu bytes", field, most);
	else if (memchr(bytes->data, '\0', bytes->len))
		call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "%s: holds a NUL byte",
			field);
	else
		return arena_copy(call->arena, bytes->data, bytes->len);
	return NULL;
}

/* True when one of the path's parts is "." or "..". */
static bool has_dots(const char *path)
{
	while (*path) {
		size_t len;

		path += strspn(path, "/");
		len = strcspn(path, "/");
		if ((len == 1 && path[0] == '.') || (len == 2 && path[0] == '.' && path[1] == '.'))
			return true;
		path += len;
	}
	return false;
}

/* "/a//b/" to "/a/b", in place: one place has one spelling, as in the mount table. */
static void squeeze_slashes(char *path)
{
	char *to = path;

	for (const char *from = path; *from; from++)
		if (*from != '/' || to == path || to[-1] != '/')
			*to++ = *from;
	if (to > path + 1 && to[-1] == '/')
		to--;
	*to = '\0';
}

char *call_path(struct call *call, bool has, const ProtobufCBinaryData *bytes, const char *field)
{
	char *path = call_string(call, has, bytes, PATH_MAX - 1, field);

	if (!path)
		return NULL;
	if (path[0] == '/' && !has_dots(path)) {
		squeeze_slashes(path);
		return path;
	}
	call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
		"%s: expected an absolute path without . and ..", field);
	return NULL;
}

int reply_result(
	struct buffer *out, uint64_t id, const ProtobufCMessage *result, bool more, size_t limit)
{
	Postern__V1__FromAgent from = POSTERN__V1__FROM_AGENT__INIT;
	Postern__V1__Response response = POSTERN__V1__RESPONSE__INIT;

	response.has_id = true;
	response.id = id;
	response.outcome_case = POSTERN__V1__RESPONSE__OUTCOME_RESULT;
	response.result = encode_as_bytes(result);
	response.has_more = more;
	response.more = more;
	from.kind_case = POSTERN__V1__FROM_AGENT__KIND_RESPONSE;
	from.response = &response;
	return frame_append(out, &from.base, limit);
}

int reply_error(struct buffer *out, uint64_t id, Postern__V1__Error *error, size_t limit)
{
	Postern__V1__FromAgent from = POSTERN__V1__FROM_AGENT__INIT;
	Postern__V1__Response response = POSTERN__V1__RESPONSE__INIT;

	response.has_id = true;
	response.id = id;
	response.outcome_case = POSTERN__V1__RESPONSE__OUTCOME_ERROR;
	response.error = error;
	from.kind_case = POSTERN__V1__FROM_AGENT__KIND_RESPONSE;
	from.response = &response;
	return frame_append(out, &from.base, limit);
}

static int emit(struct call *call, const ProtobufCMessage *reply, bool more)
{
	int r = reply_result(call->out, call->id, reply, more, call->max_frame);

	return r == 0 && call->emit ? call->emit(call, !more) : r;
}

int call_more(struct call *call, const ProtobufCMessage *reply)
{
	return emit(call, reply, true);
}

size_t call_part_size(const struct call *call)
{
	return PART_BYTES < call->max_frame / 2 ? PART_BYTES : call->max_frame / 2;
}

int dispatch_error(struct call *call, int negative_errno)
{
	int r;

	if (!call->error)
		(void)call_fail_errno(call, negative_errno, "%s", method_rows[call->method].name);
	if (method_rows[call->method].flags & MUTATING && !call->error->has_outcome) {
		call->error->has_outcome = true;
		call->error->outcome = call->outcome ?: POSTERN__V1__OUTCOME__NOT_DONE;
	}
	r = reply_error(call->out, call->id, call->error, call->max_frame);
	if (r == -EMSGSIZE) {
		/* The caller's frames are too small for the details. */
		call->error->details = NULL;
		r = reply_error(call->out, call->id, call->error, call->max_frame);
	}
	return r == 0 && call->emit ? call->emit(call, true) : r;
}

int dispatch(struct call *call, const uint8_t *params, size_t len)
{
	const struct handler *handler = &handlers[call->method];
	ProtobufCMessage *request, *reply;
	const char *why;
	int r;

	request = verify_unpack(
		handler->request, params, len, &verify_agent_limits, call->arena, &why);
	if (!request) {
		(void)call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "params of %s: %s",
			method_rows[call->method].name, why);
		return dispatch_error(call, -EINVAL);
	}
	reply = arena_alloc(call->arena, handler->reply->sizeof_message);
	if (!reply)
		return dispatch_error(call, -ENOMEM);
	protobuf_c_message_init(handler->reply, reply);
	r = call->judge ? call->judge(call, request) : 0;
	if (r == 0 && call->prepare)
		r = call->prepare(call);
	if (r == 0)
		r = handler->run(call, request, reply);
	if (r == CALL_DEFERRED)
		return r;
	if (r < 0)
		return dispatch_error(call, r);
	r = emit(call, reply, false);
	if (r == -EMSGSIZE) {
		(void)call_fail(call, POSTERN__V1__CODE__RESOURCE_EXHAUSTED, EMSGSIZE,
			"the answer does not fit into a frame of %zu bytes: ask for less, or for "
			"larger frames",
			call->max_frame);
		return dispatch_error(call, r);
	}
	if (call->after)
		call->after(call, call->after_arg);
	return r;
}
