/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/initramfs/libraries.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/initramfs/elf_names.h"
#include "proto/cleanup.h"

#define NESTING_MAX 32

#if defined(__x86_64__)
#define TRIPLET "x86_64-linux-gnu"
#elif defined(__aarch64__)
#define TRIPLET "aarch64-linux-gnu"
#elif defined(__riscv)
#define TRIPLET "riscv64-linux-gnu"
#endif

/* Where the loaders of Debian, Fedora and Alpine look without being told. */
static const char *const folders[] = {"/lib/" TRIPLET, "/usr/lib/" TRIPLET, "/lib64", "/usr/lib64",
	"/lib", "/usr/lib", "/usr/local/lib"};

static int read_names(const char *path, struct elf_names *ret_names)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	void *bytes;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size == 0)
		return -ENOEXEC;
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	r = elf_names_read(bytes, (size_t)st.st_size, ret_names);
	(void)munmap(bytes, (size_t)st.st_size);
	return r;
}

/* True if the file is an ELF file of this machine: a 32-bit namesake is passed over, as ld.so does.
 */
static bool usable(const char *path)
{
	struct elf_names names;

	if (read_names(path, &names) < 0)
		return false;
	elf_names_done(&names);
	return true;
}

/* A RUNPATH folder with $ORIGIN replaced by the folder of the file that has it. */
static bool runpath_folder(const char *item, size_t len, const char *user, char folder[PATH_MAX])
{
	static const char *const marks[] = {"$ORIGIN", "${ORIGIN}"};
	const char *slash = strrchr(user, '/');
	size_t skip = 0, used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
		if (len >= strlen(marks[i]) && memcmp(item, marks[i], strlen(marks[i])) == 0)
			skip = strlen(marks[i]);
	if (skip > 0 && slash)
		used = (size_t)(slash - user);
	if (len == 0 || used + len - skip >= PATH_MAX)
		return false;
	memcpy(folder, user, used);
	memcpy(folder + used, item + skip, len - skip);
	folder[used + len - skip] = '\0';
	return folder[0] == '/';
}

static bool try_folder(const char *folder, const char *name, char found[PATH_MAX])
{
	int n = snprintf(found, PATH_MAX, "%s/%s", folder, name);

	return n > 0 && n < PATH_MAX && usable(found);
}

static bool find_library(
	const char *name, const char *runpath, const char *user, char found[PATH_MAX])
{
	if (strchr(name, '/')) {
		(void)snprintf(found, PATH_MAX, "%s", name);
		return name[0] == '/' && usable(found);
	}
	for (const char *item = runpath; item && *item;) {
		size_t len = strcspn(item, ":");
		char folder[PATH_MAX];

		if (runpath_folder(item, len, user, folder) && try_folder(folder, name, found))
			return true;
		item += len + (item[len] == ':');
	}
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (try_folder(folders[i], name, found))
			return true;
	return false;
}

static int add_needs(
	struct image *image, const char *source, int depth, char *problem, size_t size);

static int add_library(struct image *image, const char *path, int depth, char *problem, size_t size)
{
	int r;

	if (image_has(image, path))
		return 0;
	r = image_add_file(image, path, 0755, path);
	if (r < 0) {
		(void)snprintf(problem, size, "%s: cannot be added: %s", path, strerror(-r));
		return r;
	}
	return add_needs(image, path, depth + 1, problem, size);
}

static int add_named(struct image *image, const char *source, const struct elf_names *names,
	int depth, char *problem, size_t size)
{
	char found[PATH_MAX];
	int r = 0;

	if (names->interpreter)
		r = add_library(image, names->interpreter, depth, problem, size);
	for (size_t i = 0; r == 0 && i < names->n_needed; i++) {
		if (!find_library(names->needed[i], names->runpath, source, found)) {
			(void)snprintf(problem, size, "%s needs %s, which is not installed", source,
				names->needed[i]);
			return -ENOENT;
		}
		r = add_library(image, found, depth, problem, size);
	}
	return r;
}

static int add_needs(struct image *image, const char *source, int depth, char *problem, size_t size)
{
	struct elf_names names = {0};
	int r = depth > NESTING_MAX ? -ELOOP : read_names(source, &names);

	if (r == -ENOEXEC)
		return 0;
	if (r < 0) {
		(void)snprintf(
			problem, size, "%s: cannot be read as a program: %s", source, strerror(-r));
		return r;
	}
	r = add_named(image, source, &names, depth, problem, size);
	elf_names_done(&names);
	return r;
}

int image_add_program(
	struct image *image, const char *path, const char *source, char *problem, size_t size)
{
	int r = image_add_file(image, path, 0755, source);

	if (r < 0) {
		(void)snprintf(
			problem, size, "%s: cannot be added as %s: %s", source, path, strerror(-r));
		return r;
	}
	return add_needs(image, source, 0, problem, size);
}
