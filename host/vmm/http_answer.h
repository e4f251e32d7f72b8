/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What comes back for a request: collected within its bounds, then judged. */
#pragma once

#include <curl/curl.h>

#include "host/vmm/http.h"
#include "proto/buffer.h"

struct http_answer {
	struct buffer body;
	size_t header_bytes;
	bool too_large;
};

void http_answer_begin(struct http_answer *answer);
void http_answer_done(struct http_answer *answer);

/* CURLOPT_HEADERFUNCTION and CURLOPT_WRITEFUNCTION; ctx is the answer. */
size_t http_answer_header(char *data, size_t size, size_t n, void *ctx);
size_t http_answer_body(char *data, size_t size, size_t n, void *ctx);

/* Judges the end of a transfer: how libcurl saw it, and the answer's status. 0 with *ret_body (a
 * new reference; NULL: none came), or -errno with *error. */
int http_answer_read(const struct http_answer *answer, const struct http_request *asked,
	const char *title, CURLcode code, long status, json_t **ret_body,
	struct postern_error *error);
