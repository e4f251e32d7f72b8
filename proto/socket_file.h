/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files of UNIX sockets, of which several may want the same name. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

/*
 * Locks the folder of a path against others who do the same there: a socket that is bound and does
 * not listen yet looks as if its owner were gone, so nobody may look in between. It is a courtesy:
 * one who holds the folder's lock for something else is waited for for a second, and then no more.
 * Returns a descriptor that the caller closes, which ends it, or -errno of opening the folder.
 * Blocks for that second at most.
 */
int folder_lock(const char *path);

/* A socket's file: its number may be another's once it is gone, but not with the same time. */
struct socket_file {
	ino_t number;
	struct timespec changed;
};

/* What is at the path now; zero where there is nothing. */
struct socket_file socket_file_at(const char *path);

/* Takes the file away unless it is another's by now, the folder locked meanwhile. */
void socket_file_remove(const char *path, const struct socket_file *ours);
