/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an ELF file asks the loader for. Nothing is run: ldd would start the program. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ELF_NEEDED_MAX 256

struct elf_names {
	char *interpreter; /* PT_INTERP; NULL in libraries and static programs */
	char *runpath;     /* DT_RUNPATH, else DT_RPATH; NULL: none */
	char **needed;     /* DT_NEEDED, in order */
	size_t n_needed;
};

/*
 * Reads the names out of a whole file, bytes[0..len): 64 bits, this machine's byte order and
 * architecture. Every offset is checked. 0; -ENOEXEC where it is no such file; -EBADMSG where it is
 * one with offsets that lead nowhere; -ENOMEM. The caller frees with elf_names_done().
 */
int elf_names_read(const uint8_t *bytes, size_t len, struct elf_names *ret_names);

void elf_names_done(struct elf_names *names);
