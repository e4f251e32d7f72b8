/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a person types at a guest, and what is meant for us: a tilde that begins a line, as ssh and
 * cu have it.
 *
 *   ~.   leave          ~?   help          ~~   one tilde
 *
 * Any other key after it sends both. A line begins after a carriage return or a newline, and where
 * typing begins.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum escape_wish {
	ESCAPE_NONE,
	ESCAPE_HELP,
	ESCAPE_LEAVE,
};

/* All zero: nothing was typed yet. */
struct escape {
	enum { ESCAPE_LINE_BEGINS, ESCAPE_IN_LINE, ESCAPE_TILDE } state;
};

#define ESCAPE_HELP_TEXT                                                                           \
	"Supported escape sequences:\r\n"                                                          \
	"  ~.  - leave, and let the guest go on\r\n"                                               \
	"  ~?  - this message\r\n"                                                                 \
	"  ~~  - send the tilde\r\n"                                                               \
	"(They are seen at the beginning of a line only.)\r\n"

/*
 * Takes len bytes that were typed. out, which has room for len + 1, gets those that are the
 * guest's, *ret_len of them: a tilde is held back until the key behind it is known. Behind
 * ESCAPE_LEAVE the rest is dropped; ESCAPE_HELP was somewhere among them.
 */
enum escape_wish escape_take(
	struct escape *escape, const uint8_t *typed, size_t len, uint8_t *out, size_t *ret_len);
