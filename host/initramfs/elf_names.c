/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/initramfs/elf_names.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS_MAX 128
#define DYNAMIC_MAX  4096 /* entries */

#if defined(__x86_64__)
#define THIS_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define THIS_MACHINE EM_AARCH64
#elif defined(__riscv)
#define THIS_MACHINE EM_RISCV
#else
#error "the ELF machine number of this architecture is missing here"
#endif

#define THIS_ORDER (__BYTE_ORDER == __LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB)

struct elf_file {
	const uint8_t *bytes;
	size_t len;
	Elf64_Ehdr head;
	uint64_t strings; /* file offset of the dynamic string table */
	uint64_t strings_size;
};

/* Copies size bytes from offset: the one place that touches the file. */
static bool fetch(const struct elf_file *file, uint64_t offset, void *ret, size_t size)
{
	if (offset > file->len || size > file->len - offset)
		return false;
	memcpy(ret, file->bytes + offset, size);
	return true;
}

/* A new copy of the NUL-terminated text within [offset, offset + most). */
static char *text_at(const struct elf_file *file, uint64_t offset, uint64_t most)
{
	size_t room, len;

	if (offset >= file->len)
		return NULL;
	room = file->len - (size_t)offset;
	if (room > most)
		room = (size_t)most;
	if (room > PATH_MAX)
		room = PATH_MAX;
	len = strnlen((const char *)file->bytes + offset, room);
	return len < room ? strndup((const char *)file->bytes + offset, len) : NULL;
}

static bool segment(const struct elf_file *file, size_t i, Elf64_Phdr *ret_segment)
{
	uint64_t offset;

	return !__builtin_add_overflow(file->head.e_phoff, i * sizeof(*ret_segment), &offset) &&
	       fetch(file, offset, ret_segment, sizeof(*ret_segment));
}

/* Where a virtual address of the loaded program stands in the file. */
static bool file_offset(const struct elf_file *file, uint64_t address, uint64_t *ret_offset)
{
	Elf64_Phdr part;

	for (size_t i = 0; i < file->head.e_phnum && segment(file, i, &part); i++)
		if (part.p_type == PT_LOAD && address >= part.p_vaddr &&
			address - part.p_vaddr < part.p_filesz)
			return !__builtin_add_overflow(
				address - part.p_vaddr, part.p_offset, ret_offset);
	return false;
}

static int take_text(const struct elf_file *file, uint64_t index, char **ret_text)
{
	if (index >= file->strings_size)
		return -EBADMSG;
	free(*ret_text);
	*ret_text = text_at(file, file->strings + index, file->strings_size - index);
	return *ret_text ? 0 : -EBADMSG;
}

static int take_needed(const struct elf_file *file, uint64_t index, struct elf_names *names)
{
	char *name = NULL, **needed;
	int r;

	if (names->n_needed == ELF_NEEDED_MAX)
		return -EBADMSG;
	needed = reallocarray(names->needed, names->n_needed + 1, sizeof(*needed));
	if (!needed)
		return -ENOMEM;
	names->needed = needed;
	r = take_text(file, index, &name);
	if (r == 0)
		names->needed[names->n_needed++] = name;
	return r;
}

/* Finds the string table, which any entry may precede. */
static int find_strings(struct elf_file *file, const Elf64_Phdr *dynamic)
{
	uint64_t address = 0, entries = dynamic->p_filesz / sizeof(Elf64_Dyn);
	Elf64_Dyn entry;

	for (uint64_t i = 0; i < entries && i < DYNAMIC_MAX; i++) {
		if (!fetch(file, dynamic->p_offset + i * sizeof(entry), &entry, sizeof(entry)))
			return -EBADMSG;
		if (entry.d_tag == DT_NULL)
			break;
		if (entry.d_tag == DT_STRTAB)
			address = entry.d_un.d_ptr;
		else if (entry.d_tag == DT_STRSZ)
			file->strings_size = entry.d_un.d_val;
	}
	if (!file_offset(file, address, &file->strings) || file->strings > file->len ||
		file->strings_size > file->len - file->strings)
		return -EBADMSG;
	return 0;
}

static int read_dynamic(struct elf_file *file, const Elf64_Phdr *dynamic, struct elf_names *names)
{
	uint64_t entries = dynamic->p_filesz / sizeof(Elf64_Dyn);
	bool has_runpath = false;
	Elf64_Dyn entry;
	int r = 0;

	if (dynamic->p_offset > file->len)
		return -EBADMSG;
	r = find_strings(file, dynamic);
	for (uint64_t i = 0; r == 0 && i < entries && i < DYNAMIC_MAX; i++) {
		if (!fetch(file, dynamic->p_offset + i * sizeof(entry), &entry, sizeof(entry)))
			return -EBADMSG;
		if (entry.d_tag == DT_NULL)
			break;
		if (entry.d_tag == DT_NEEDED)
			r = take_needed(file, entry.d_un.d_val, names);
		else if (entry.d_tag == DT_RUNPATH || (entry.d_tag == DT_RPATH && !has_runpath))
			r = take_text(file, entry.d_un.d_val, &names->runpath);
		has_runpath |= entry.d_tag == DT_RUNPATH;
	}
	return r;
}

int elf_names_read(const uint8_t *bytes, size_t len, struct elf_names *ret_names)
{
	struct elf_file file = {.bytes = bytes, .len = len};
	struct elf_names names = {0};
	int r = 0;

	if (!fetch(&file, 0, &file.head, sizeof(file.head)) ||
		memcmp(file.head.e_ident, ELFMAG, SELFMAG) != 0 ||
		file.head.e_ident[EI_CLASS] != ELFCLASS64 ||
		file.head.e_ident[EI_DATA] != THIS_ORDER || file.head.e_machine != THIS_MACHINE)
		return -ENOEXEC;
	if (file.head.e_phnum > SEGMENTS_MAX || file.head.e_phentsize != sizeof(Elf64_Phdr))
		return -EBADMSG;
	for (size_t i = 0; r == 0 && i < file.head.e_phnum; i++) {
		Elf64_Phdr part;

		if (!segment(&file, i, &part)) {
			r = -EBADMSG;
		} else if (part.p_type == PT_INTERP && !names.interpreter) {
			names.interpreter = text_at(&file, part.p_offset, part.p_filesz);
			r = names.interpreter ? 0 : -EBADMSG;
		} else if (part.p_type == PT_DYNAMIC && names.n_needed == 0) {
			r = read_dynamic(&file, &part, &names);
		}
	}
	if (r < 0) {
		elf_names_done(&names);
		return r;
	}
	*ret_names = names;
	return 0;
}

void elf_names_done(struct elf_names *names)
{
	free(names->interpreter);
	free(names->runpath);
	for (size_t i = 0; i < names->n_needed; i++)
		free(names->needed[i]);
	free(names->needed);
	*names = (struct elf_names){0};
}
