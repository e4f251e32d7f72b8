/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams that end when somebody wants us to end: what is under way is put in order as if the other
 * side were gone. */
#pragma once

/* From now on SIGINT, SIGTERM and SIGHUP, where they would end us, shut these sockets (borrowed;
 * -EBADF: none) down in both directions; the second of them ends us. */
void cut_begin(int fd, int other);

/* Puts them back. The number of the signal that came, or 0. */
int cut_end(void);
