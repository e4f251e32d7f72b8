/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs of the host that are run to their end, without a shell. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/*
 * fork() for a library: the child is nobody's business but ours. Its end sends no SIGCHLD, no
 * wait() of the program finds it (waitpid() with __WALL does), and it begins without the program's
 * signal mask and dispositions. Until exec() or _exit() it may only do what is safe in a program
 * with threads. Returns as fork() does.
 */
pid_t run_apart(void);

/*
 * Runs argv[0] (a path, or found in PATH, or in the sbin folders that an ordinary user's PATH
 * lacks) and waits for its end, at most timeout_ms: then it is killed. Its output goes nowhere. 0;
 * -ENOENT where there is no such program; -ETIMEDOUT; -EIO for any other end than exit(0); with
 * problem[0..size) a sentence.
 */
int run_program(const char *const argv[], int timeout_ms, char *problem, size_t size);

/* The same, with what it wrote to its standard output in output[0..output_size), cut, with a NUL.
 */
int run_output(const char *const argv[], int timeout_ms, char *output, size_t output_size,
	char *problem, size_t size);

/* Finds a program as above. The caller frees; NULL where there is none. */
char *find_program(const char *name);
