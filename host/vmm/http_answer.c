/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vmm/http_answer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "proto/cleanup.h"
#include "proto/client/text.h"

#define REASON_MAX 384

void http_answer_begin(struct http_answer *answer)
{
	buffer_clear(&answer->body);
	answer->header_bytes = 0;
	answer->too_large = false;
}

void http_answer_done(struct http_answer *answer)
{
	buffer_clear(&answer->body);
}

/* Also what answers go on before the last ("100 Continue") and behind a body: all count. */
size_t http_answer_header(char *data, size_t size, size_t n, void *ctx)
{
	struct http_answer *answer = ctx;

	(void)data;
	answer->header_bytes += size * n;
	answer->too_large |= answer->header_bytes > HTTP_HEADERS_MAX;
	return answer->too_large ? 0 : size * n;
}

size_t http_answer_body(char *data, size_t size, size_t n, void *ctx)
{
	struct http_answer *answer = ctx;

	answer->too_large |= buffer_len(&answer->body) + size * n > HTTP_BODY_MAX;
	if (answer->too_large || buffer_append(&answer->body, data, size * n) < 0)
		return 0;
	return size * n;
}

static int transfer_failed(const struct http_answer *answer, const struct http_request *asked,
	const char *title, CURLcode code, struct postern_error *error)
{
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		return fail(error, POSTERN_ABSENT, ECONNREFUSED,
			"%s does not take requests (%s %s)", title, asked->method, asked->path);
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		return fail(error, POSTERN_ABSENT, ECONNRESET,
			"%s closed the connection before it had answered %s %s", title,
			asked->method, asked->path);
	default:
		return fail(error, POSTERN_PROTOCOL, EBADMSG,
			"%s broke its protocol with its answer to %s %s (%s)", title, asked->method,
			asked->path,
			answer->too_large ? "it is too large" : curl_easy_strerror(code));
	}
}

/* Appends to reason[0..REASON_MAX), escaped, with a colon in between. */
static void append_reason(char reason[REASON_MAX], const char *text, size_t text_len)
{
	size_t len = strlen(reason);

	if (len > 0 && len + 3 < REASON_MAX)
		len += (size_t)snprintf(reason + len, REASON_MAX - len, ": ");
	(void)postern_escape(text, text_len, reason + len, REASON_MAX - len);
}

/* Firecracker: {"fault_message": "..."}; Cloud Hypervisor: an array of sentences, the cause of each
 * behind it, and before that plain text. */
static void read_reason(const struct http_answer *answer, char reason[REASON_MAX])
{
	size_t len = buffer_len(&answer->body), i;
	AUTO_FREE char *text = len > 0 ? strndup((char *)buffer_front(&answer->body), len) : NULL;
	AUTO_JSON json_t *body = text ? json_text_parse(text, strlen(text)) : NULL;
	const char *message = json_field_string(body, "fault_message", NULL);
	const json_t *item;

	reason[0] = '\0';
	if (message)
		append_reason(reason, message, strlen(message));
	json_array_foreach(body, i, item) if (json_is_string(item))
		append_reason(reason, json_string_value(item), json_string_length(item));
	if (!body && len > 0)
		append_reason(reason, (char *)buffer_front(&answer->body), len);
	if (!reason[0])
		(void)snprintf(reason, REASON_MAX, "no reason given");
}

static int refused(const struct http_answer *answer, const struct http_request *asked,
	const char *title, long status, struct postern_error *error)
{
	static const struct {
		long status;
		int number;
	} known[] = {{400, EINVAL}, {404, ENOENT}, {405, EPERM}, {409, EEXIST}, {429, EAGAIN}};
	char reason[REASON_MAX];
	int number = EIO;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].status == status)
			number = known[i].number;
	read_reason(answer, reason);
	return fail(error, POSTERN_ANSWERED, number, "%s refused %s %s (%ld): %s", title,
		asked->method, asked->path, status, reason);
}

int http_answer_read(const struct http_answer *answer, const struct http_request *asked,
	const char *title, CURLcode code, long status, json_t **ret_body,
	struct postern_error *error)
{
	AUTO_FREE char *text = NULL;
	size_t len = buffer_len(&answer->body);

	if (code != CURLE_OK)
		return transfer_failed(answer, asked, title, code, error);
	if (status >= 400 && status <= 599)
		return refused(answer, asked, title, status, error);
	if (status == 204 && !asked->answer)
		return 0;
	if (status != 200)
		return fail(error, POSTERN_PROTOCOL, EBADMSG,
			"%s answered %s %s with the status %ld, which means nothing there", title,
			asked->method, asked->path, status);
	text = len > 0 ? strndup((char *)buffer_front(&answer->body), len) : NULL;
	*ret_body = text ? json_text_parse(text, strlen(text)) : NULL;
	if (json_is_object(*ret_body))
		return 0;
	json_decref(*ret_body);
	*ret_body = NULL;
	return fail(error, POSTERN_PROTOCOL, EBADMSG, "%s answered %s %s with what is no JSON",
		title, asked->method, asked->path);
}
