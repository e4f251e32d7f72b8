/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ELF reader on a real program and on broken ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "host/common/file.h"
#include "host/initramfs/elf_names.h"

static uint8_t *program; /* this test */
static size_t program_len;

static int read_program(void **state)
{
	(void)state;
	return file_read(AT_FDCWD, "/proc/self/exe", 64u << 20, (char **)&program, &program_len);
}

static int free_program(void **state)
{
	(void)state;
	free(program);
	return 0;
}

/* A copy that ends where the sanitizer watches. */
static int read_copy(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct elf_names names;
	int r;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	r = elf_names_read(copy, len, &names);
	if (r == 0)
		elf_names_done(&names);
	free(copy);
	return r;
}

static void own_names_are_found(void **state)
{
	struct elf_names names;
	bool cmocka = false, libc = false;

	(void)state;
	assert_int_equal(elf_names_read(program, program_len, &names), 0);
	assert_non_null(names.interpreter);
	assert_true(names.interpreter[0] == '/');
	for (size_t i = 0; i < names.n_needed; i++) {
		cmocka |= strncmp(names.needed[i], "libcmocka.so", 12) == 0;
		libc |= strncmp(names.needed[i], "libc.", 5) == 0;
	}
	assert_true(cmocka);
	assert_true(libc);
	elf_names_done(&names);
}

static void other_files_are_told_apart(void **state)
{
	static const char script[] =
		"#!/bin/sh\n# longer than the header of an ELF file is long\necho\n";

	(void)state;
	assert_int_equal(read_copy((const uint8_t *)"", 0), -ENOEXEC);
	assert_int_equal(read_copy((const uint8_t *)script, sizeof(script)), -ENOEXEC);
	program[EI_CLASS] = ELFCLASS32;
	assert_int_equal(read_copy(program, program_len), -ENOEXEC);
	program[EI_CLASS] = ELFCLASS64;
}

static void truncated_files_end_in_an_error_or_without_names(void **state)
{
	(void)state;
	for (size_t len = 0; len < 8192 && len < program_len; len += len < 1024 ? 1 : 13)
		(void)read_copy(program, len);
	for (size_t len = 8192; len < program_len; len += 1021)
		(void)read_copy(program, len);
	assert_int_equal(read_copy(program, sizeof(Elf64_Ehdr)), -EBADMSG);
}

static void headers_that_lead_nowhere_are_refused(void **state)
{
	static const uint64_t places[] = {UINT64_MAX, UINT64_MAX - 8, INT64_MAX, 1u << 31};
	Elf64_Ehdr head;
	uint8_t *copy = malloc(program_len);

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		memcpy(copy, program, program_len);
		memcpy(&head, copy, sizeof(head));
		head.e_phoff = places[i];
		memcpy(copy, &head, sizeof(head));
		assert_int_equal(read_copy(copy, program_len), -EBADMSG);
	}
	memcpy(&head, program, sizeof(head));
	head.e_phnum = 65535;
	memcpy(copy, &head, sizeof(head));
	assert_int_equal(read_copy(copy, program_len), -EBADMSG);
	head.e_phnum = 1;
	head.e_phentsize = 1;
	memcpy(copy, &head, sizeof(head));
	assert_int_equal(read_copy(copy, program_len), -EBADMSG);
	free(copy);
}

/* Random damage to what the reader follows: headers and the dynamic section. */
static void damage_does_no_harm(void **state)
{
	uint8_t *copy = malloc(program_len);
	struct elf_names names;
	size_t refused = 0;
	int r;

	(void)state;
	srandom(767);
	for (int round = 0; round < 4000; round++) {
		memcpy(copy, program, program_len);
		for (int i = 0; i < 1 + round % 16; i++) {
			size_t limit = round % 2 ? 1024 : program_len;

			copy[16 + (size_t)random() % (limit - 16)] = (uint8_t)random();
		}
		r = elf_names_read(copy, program_len, &names);
		refused += r == -EBADMSG;
		if (r == 0)
			elf_names_done(&names);
	}
	assert_true(refused > 0);
	free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_names_are_found),
		cmocka_unit_test(other_files_are_told_apart),
		cmocka_unit_test(truncated_files_end_in_an_error_or_without_names),
		cmocka_unit_test(headers_that_lead_nowhere_are_refused),
		cmocka_unit_test(damage_does_no_harm),
	};

	return cmocka_run_group_tests(tests, read_program, free_program);
}
