/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls to a guest's agent, for commands that show what it says. */
#pragma once

#include "host/cli/command.h"

/* Connects to the agent of the command's first word (a VM's name or an address). 0 with
 * *ret_client, or the exit code after saying why. */
int agent_connect(struct cli *cli, struct postern_client **ret_client);

/* The same for a name or address that stands elsewhere. */
int agent_connect_to(struct cli *cli, const char *vm, struct postern_client **ret_client);

/* One call to that agent. params is taken over (NULL: none). 0 with *ret_answer, which the caller
 * owns, or the exit code after saying why. timeout_ms 0: the method's own. */
int agent_call(struct cli *cli, const char *method, json_t *params, uint32_t timeout_ms,
	json_t **ret_answer);

/* A whole command: one such call, and then its answer with --json, else what show prints of it
 * (NULL: nothing; it is done). params NULL: none. The exit code. */
int agent_run(struct cli *cli, const char *method, json_t *params, uint32_t timeout_ms,
	void (*show)(const struct cli *cli, const json_t *answer));

/* The text of a field that may be absent, or hold bytes that are no text ("base64:..."). Borrowed;
 * valid until the next four calls. It is the guest's: table_cell() and show_line() escape it. */
const char *agent_text(const json_t *object, const char *key);

/* The value of an enum in words: SHARE_NOT_RESPONDING with the prefix "SHARE_" is "not responding";
 * the same rules. */
const char *agent_words(const json_t *object, const char *key, const char *prefix);

/* An array's texts joined with commas; the same rules. */
const char *agent_joined(const json_t *object, const char *key);

/* "1.5 GiB", "12 KiB", "0"; the same rules. */
const char *human_bytes(double bytes);
