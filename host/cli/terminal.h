/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The terminal that a person types at, raw while a guest's console or shell has it, and as it was
 * whatever happens then: exit(), a signal that ends the program, a stop (SIGTSTP, SIGSTOP) and what
 * follows it. Only SIGKILL leaves it raw; "stty sane" helps there.
 *
 * One terminal for a process, used by one thread. What it changes of the process: signals that end
 * or stop it, where they are at their defaults, restore the terminal first; SIGCONT makes it raw
 * again. Ignored ones stay ignored, those with a function of the program's own are left to it.
 */
#pragma once

#include <stdint.h>

/* Saves the terminal's settings and makes it raw: each key comes at once, unchanged, Ctrl-C among
 * them, and output is not changed either. fd is borrowed, and open until terminal_restore(). 0
 * (also where it is raw already); -ENOTTY where it is no terminal, or -errno. */
int terminal_raw(int fd);

/* Puts back what terminal_raw() saved; nothing without it. May be called at any time, from a signal
 * handler too. */
void terminal_restore(void);

/* Its size in characters, both at least 1. 0; -ENODATA where it does not know, or -errno. */
int terminal_size(int fd, uint16_t *ret_rows, uint16_t *ret_columns);

/* A descriptor (the caller's) that can be read when the size has changed: a signalfd of SIGWINCH,
 * which is blocked from here on. 0 or -errno. */
int terminal_watch_size(int *ret_fd);

/* Empties that descriptor; the caller then asks for the size. Does not block. */
void terminal_size_seen(int fd);
