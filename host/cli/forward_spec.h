/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a person asks to be forwarded: "8080:80", "tcp:8080=unix:/run/app.sock". */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/forward/end.h"

#define FORWARD_SPEC_TEXT 160

struct forward_spec {
	bool guest_listens;
	struct forward_end host, guest;
	char *guest_path; /* owned; of a UNIX socket of the guest, which it may not fit in here */
	uint32_t index;   /* among those that the guest listens at, or connects to */
	uint64_t connections, failed, open; /* so far */
	uint64_t to_guest, from_guest;      /* bytes of connections that have ended */
};

/* Parses one word. 0; -1 with *ret_why: what was expected. The caller frees with
 * forward_spec_done(). A name is looked up on the host, which may take a while. */
int forward_spec_parse(const char *word, struct forward_spec *ret, const char **ret_why);

void forward_spec_done(struct forward_spec *spec);

/* The guest's side as forward.open takes it. A new reference. */
json_t *forward_spec_guest(const struct forward_spec *spec);

/* "tcp:127.0.0.1:8080" of the side where is listened, or that is connected to; with "VM " before it
 * where that is the guest. */
void forward_spec_print(const struct forward_spec *spec, const char *vm, bool listener,
	char text[FORWARD_SPEC_TEXT]);
