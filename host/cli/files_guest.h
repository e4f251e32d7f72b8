/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files of guests, as commands name them: "VM:PATH". */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "host/cli/agent.h"
#include "host/cli/copy_location.h"
#include "proto/cleanup.h"

#define FILES_PIECE (512u << 10) /* of a file in one request: its JSON is larger by a third */

struct files_guest {
	struct cli *cli;
	struct postern_client *client; /* owned */
	struct copy_location location; /* owned */
};

/* Connects to the guest of a word. 0, or the exit code after saying why; the caller closes it
 * either way. */
int files_open(struct cli *cli, const char *word, struct files_guest *guest);

void files_close(struct files_guest *guest);
#define AUTO_FILES AUTO(files_close)

/* One call. params is taken over. 0 with *ret_answer, which the caller owns (NULL: it is of no
 * interest), or the exit code after saying why. */
int files_call(struct files_guest *guest, const char *method, json_t *params, json_t **ret_answer);

/* The same, without saying why; *ret_absent: what is named is not there. */
int files_try(struct files_guest *guest, const char *method, json_t *params, json_t **ret_answer,
	bool *ret_absent);

/* A bytes field: of any bytes, or of text that may be no UTF-8. */
json_t *files_bytes(const void *bytes, size_t len);
json_t *files_text(const char *text);

/* What a bytes field holds; *ret_bytes is the caller's to free. 0 or -errno. */
int files_bytes_of(const json_t *value, uint8_t **ret_bytes, size_t *ret_len);
