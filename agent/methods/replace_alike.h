/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small text files that are replaced whole, and stay whose and what they were. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "agent/methods/call.h"

/* Reads a plain file of dir (borrowed), of most bytes at most, into the call's arena, with a NUL
 * byte behind it. No link is followed, and no FIFO waited for. 0 with *ret_text (NULL: there is
 * none), or -errno: -ELOOP a link, -EINVAL no plain file, -EFBIG too long, -EBADMSG a NUL byte is
 * in it. */
int alike_read(struct call *call, int dir, const char *name, size_t most, char **ret_text);

#define ALIKE_PREFIX    ".postern-"
#define ALIKE_NAME_SIZE 96

/* A name that nobody could have guessed: at most 64 bytes of prefix, and 16 digits. 0 or -errno. */
int alike_fresh_name(const char *prefix, char ret[ALIKE_NAME_SIZE]);

/*
 * Puts it there, old or new and never half. Owner, group, mode and SELinux label are those of the
 * file that was there (who may not give it to that group leaves the group no right to it); of a new
 * one mode is, its owner is this process, and its label the one that the policy has for the path. 0
 * or -errno: -ENOTSUP, something that is neither a file nor a link is there.
 */
int alike_replace(int dir, const char *name, mode_t mode, const void *data, size_t len);
