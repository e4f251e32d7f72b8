/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libcurl's multi interface in our loop: its sockets, and its timer. */
#pragma once

#include <curl/curl.h>

#include "proto/loop.h"

struct curl_loop {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer timer;
	/* A transfer has ended, and was taken out again; others may be started in here. */
	void (*done)(struct curl_loop *curl, CURL *easy, CURLcode code);
};

/* done is set already. 0 or -ENOMEM. */
int curl_loop_open(struct curl_loop *curl, struct loop *loop);

/* No transfer may be under way. Harmless on one that was never opened. */
void curl_loop_close(struct curl_loop *curl);

/* Begins a transfer. 0 or -ENOMEM. */
int curl_loop_start(struct curl_loop *curl, CURL *easy);

/* Gives a transfer up. */
void curl_loop_stop(struct curl_loop *curl, CURL *easy);
