/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vmm/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/vmm/curl_loop.h"
#include "host/vmm/http_answer.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define RETRY_MS     10 /* to the next try to reach a VMM that has just been started, doubled up to */
#define RETRY_MAX_MS 200

struct request {
	struct request *next;
	struct http_request asked;
	char *body;        /* as it is sent; NULL: none */
	uint64_t deadline; /* UINT64_MAX: it is late, and has no owner any more */
};

struct http {
	struct loop *loop;
	struct http_peer peer;
	char *socket_path;
	struct curl_loop curl;
	CURL *easy;
	struct curl_slist *headers;
	struct request *first; /* the one that is being done; the others wait behind it */
	bool busy;             /* the first one is on its way */
	struct http_answer answer;
	struct loop_timer deadline, retry, kick;
	uint32_t retry_ms;
	bool answered; /* the VMM has, once */
	bool silent;
};

static void start(struct http *http);

static void follow_deadlines(struct http *http)
{
	uint64_t earliest = UINT64_MAX;

	for (const struct request *request = http->first; request; request = request->next)
		if (request->deadline < earliest)
			earliest = request->deadline;
	if (earliest == UINT64_MAX)
		loop_timer_del(&http->deadline);
	else
		loop_timer_set(http->loop, &http->deadline, earliest);
}

static void forget(struct request *request)
{
	free(request->body);
	free(request);
}

static void tell(
	const struct http_request *asked, const struct postern_error *error, const json_t *body)
{
	if (asked->answer)
		asked->answer(asked->ctx, error, body);
	else
		asked->done(asked->ctx, error);
}

/* Takes the request out of the queue and tells its owner, who may make others. */
static void finish(struct http *http, struct request *request, const struct postern_error *error,
	const json_t *body)
{
	struct request **link = &http->first;

	while (*link != request)
		link = &(*link)->next;
	*link = request->next;
	if (request->deadline != UINT64_MAX)
		tell(&request->asked, error, body);
	forget(request);
}

static void set_silent(struct http *http, bool silent)
{
	if (http->silent == silent)
		return;
	http->silent = silent;
	if (http->peer.on_silence)
		http->peer.on_silence(http->peer.ctx, silent);
}

static void on_retry(struct loop_timer *timer)
{
	start(container_of(timer, struct http, retry));
}

static void on_kick(struct loop_timer *timer)
{
	start(container_of(timer, struct http, kick));
}

/* A VMM that has just been started makes its socket in its own time. */
static bool try_again(struct http *http, CURLcode code)
{
	if (code != CURLE_COULDNT_CONNECT || http->answered || http->first->deadline == UINT64_MAX)
		return false;
	loop_timer_set(http->loop, &http->retry, monotonic_ns() + http->retry_ms * NSEC_PER_MSEC);
	http->retry_ms = http->retry_ms < RETRY_MAX_MS / 2 ? http->retry_ms * 2 : RETRY_MAX_MS;
	return true;
}

static void on_transferred(struct curl_loop *curl, CURL *easy, CURLcode code)
{
	struct http *http = container_of(curl, struct http, curl);
	const struct http_request *asked = &http->first->asked;
	struct postern_error error = {0};
	AUTO_JSON json_t *body = NULL;
	long status = 0;
	int r;

	(void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	http->busy = false;
	if (try_again(http, code))
		return;
	r = http_answer_read(&http->answer, asked, http->peer.title, code, status, &body, &error);
	if (code == CURLE_OK) {
		http->answered = true;
		set_silent(http, false);
	}
	finish(http, http->first, r < 0 ? &error : NULL, body);
	start(http);
}

static int prepare(struct http *http, const struct request *request)
{
	AUTO_FREE char *url = NULL;
	CURL *easy = http->easy;
	CURLcode r;

	if (asprintf(&url, "http://localhost%s%s", http->peer.base, request->asked.path) < 0)
		return -ENOMEM;
	curl_easy_reset(easy);
	http_answer_begin(&http->answer);
	r = curl_easy_setopt(easy, CURLOPT_URL, url);
	r |= curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, http->socket_path);
	r |= curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->asked.method);
	r |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, http->headers);
	/* A body of zero bytes is none, which Cloud Hypervisor makes a difference of. */
	if (request->body) {
		r |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)strlen(request->body));
		r |= curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
	}
	/* What the environment says of proxies is not for us; nor are signals, or second tries. */
	r |= curl_easy_setopt(easy, CURLOPT_PROXY, "");
	r |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	r |= curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	r |= curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	r |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
	r |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	r |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, http_answer_header);
	r |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, &http->answer);
	r |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, http_answer_body);
	r |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, &http->answer);
	return r == CURLE_OK ? 0 : -ENOMEM;
}

/* Sends the next request that waits, if none is on its way. */
static void start(struct http *http)
{
	struct postern_error error = {0};

	while (http->first && !http->busy && !http->retry.loop) {
		struct request *request = http->first;

		http->busy = prepare(http, request) == 0 &&
			     curl_loop_start(&http->curl, http->easy) == 0;
		if (http->busy)
			break;
		(void)fail_errno(&error, POSTERN_ANSWERED, ENOMEM, "%s: %s", http->peer.title,
			request->asked.path);
		finish(http, request, &error, NULL);
	}
	follow_deadlines(http);
}

/* Tells the owner of a request that the VMM has not answered. What was sent stays open without an
 * owner: its answer may come yet. */
static void finish_late(struct http *http, struct request *request)
{
	struct postern_error error = {0};
	bool sent = http->busy && request == http->first && http->answered;

	(void)fail(&error, POSTERN_TIMED_OUT, ETIMEDOUT, "%s has not answered %s %s in time%s",
		http->peer.title, request->asked.method, request->asked.path,
		sent ? ", and may do it yet: try again once `postern list` no longer says that "
		       "the VMM does not answer, or end the VM with `postern stop -f`"
		     : "");
	if (sent) {
		struct http_request asked = request->asked;

		request->deadline = UINT64_MAX;
		tell(&asked, &error, NULL);
		return;
	}
	if (request == http->first) {
		if (http->busy)
			curl_loop_stop(&http->curl, http->easy);
		http->busy = false;
		loop_timer_del(&http->retry);
	}
	finish(http, request, &error, NULL);
}

static void on_deadline(struct loop_timer *timer)
{
	struct http *http = container_of(timer, struct http, deadline);
	struct request *request = http->first;
	uint64_t now = monotonic_ns();

	while (request) {
		if (request->deadline > now) {
			request = request->next;
			continue;
		}
		set_silent(http, true);
		finish_late(http, request);
		request = http->first; /* its owner may have made others */
	}
	start(http);
}

static int add(struct http *http, const struct http_request *asked)
{
	struct request **link = &http->first, *request;
	unsigned n = 0;

	for (; *link; link = &(*link)->next)
		if (++n == HTTP_OPEN_MAX)
			return -EBUSY;
	request = calloc(1, sizeof(*request));
	if (!request)
		return -ENOMEM;
	request->asked = *asked;
	request->asked.body = NULL;
	request->deadline = monotonic_ns() + asked->timeout_ms * NSEC_PER_MSEC;
	if (asked->body) {
		request->body = json_dumps(asked->body, JSON_COMPACT);
		if (!request->body) {
			free(request);
			return -ENOMEM;
		}
	}
	*link = request;
	return 0;
}

void http_call(struct http *http, const struct http_request *asked)
{
	struct postern_error error = {0};
	int r = add(http, asked);

	json_decref(asked->body);
	if (r == 0) {
		/* Not from inside another one's end: that starts the next one itself. */
		loop_timer_set(http->loop, &http->kick, monotonic_ns());
		follow_deadlines(http);
		return;
	}
	(void)fail_errno(&error, r == -EBUSY ? POSTERN_TIMED_OUT : POSTERN_ANSWERED, -r,
		"%s: %s %s", http->peer.title, asked->method, asked->path);
	tell(asked, &error, NULL);
}

int http_open(struct loop *loop, const char *socket_path, const struct http_peer *peer,
	struct http **ret_http)
{
	struct http *http;

	if (strlen(socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return -ENAMETOOLONG;
	http = calloc(1, sizeof(*http));
	if (!http || curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK) {
		free(http);
		return -ENOMEM;
	}
	http->loop = loop;
	http->peer = *peer;
	http->retry_ms = RETRY_MS;
	http->curl.done = on_transferred;
	http->deadline.fn = on_deadline;
	http->retry.fn = on_retry;
	http->kick.fn = on_kick;
	http->socket_path = strdup(socket_path);
	http->easy = curl_easy_init();
	http->headers = curl_slist_append(NULL, "Content-Type: application/json");
	if (!http->socket_path || !http->easy || !http->headers ||
		!curl_slist_append(http->headers, "Accept: application/json") ||
		!curl_slist_append(http->headers, "Expect:") ||
		curl_loop_open(&http->curl, loop) < 0) {
		http_close(http);
		return -ENOMEM;
	}
	*ret_http = http;
	return 0;
}

void http_close(struct http *http)
{
	if (!http)
		return;
	if (http->busy)
		curl_loop_stop(&http->curl, http->easy);
	curl_easy_cleanup(http->easy);
	curl_loop_close(&http->curl);
	curl_slist_free_all(http->headers);
	loop_timer_del(&http->deadline);
	loop_timer_del(&http->retry);
	loop_timer_del(&http->kick);
	while (http->first) {
		struct request *request = http->first;

		http->first = request->next;
		forget(request);
	}
	http_answer_done(&http->answer);
	free(http->socket_path);
	free(http);
	curl_global_cleanup();
}
