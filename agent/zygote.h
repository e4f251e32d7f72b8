/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A zygote: a program that is loaded, linked and confined, has read nothing, and is forked for each
 * process that the broker wants of it. A fork takes a tenth of the time of a start, and has of its
 * own only the memory that it writes to.
 */
#pragma once

/*
 * Forks this process for each INNER_NEW that comes through INNER_FD. The forks' parent is our own,
 * not this process: where that is the broker, it hears how they end. Returns in each of them, with
 * the broker told who it is, its end of the pair at INNER_FD and no other descriptor of it: 0 or
 * -errno; and in the zygote, -ESHUTDOWN, when no more are wanted.
 */
int zygote_serve(void);

/* Tells the broker, which did not start us itself, who we are. 0 or -errno. */
int zygote_tell_here(void);
