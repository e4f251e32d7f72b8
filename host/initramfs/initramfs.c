/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/initramfs/initramfs.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/remove.h"
#include "host/initramfs/cache.h"
#include "host/initramfs/libraries.h"
#include "proto/cleanup.h"

#define DEPTH_MAX 16

static int add_tree(struct image *image, const char *source, const char *target, int depth);

static int add_folder(struct image *image, const char *source, const char *target, int depth)
{
	struct dirent **names = NULL;
	int n = scandir(source, &names, NULL, alphasort);
	int r = n < 0 ? -errno : image_add_dir(image, target, 0755);

	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;

		if (r == 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
			AUTO_FREE char *from = text_format("%s/%s", source, name);
			AUTO_FREE char *to = text_format("%s/%s", target, name);

			r = from && to ? add_tree(image, from, to, depth + 1) : -ENOMEM;
		}
		free(names[i]);
	}
	free(names);
	return r;
}

/* A file, or a folder with everything in it; links are followed. */
static int add_tree(struct image *image, const char *source, const char *target, int depth)
{
	char problem[256];
	struct stat st;

	if (depth > DEPTH_MAX)
		return -ELOOP;
	if (stat(source, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return add_folder(image, source, target, depth);
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_mode & 0100)
		return image_add_program(image, target, source, problem, sizeof(problem));
	return image_add_file(image, target, st.st_mode & 0755, source);
}

/* Folders that a first process mounts onto, and the console that the kernel opens before it runs.
 */
static int add_skeleton(struct image *image, const char *init)
{
	static const struct {
		const char *path;
		mode_t mode;
	} folders[] = {{"/dev", 0755}, {"/proc", 0555}, {"/sys", 0555}, {"/run", 0755},
		{"/tmp", 01777}, {"/var/lib", 0755}, {"/etc", 0755}, {"/mnt", 0755},
		{"/root", 0700}};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(folders); i++)
		r = image_add_dir(image, folders[i].path, folders[i].mode);
	if (r == 0)
		r = image_add_node(image, "/dev/console", S_IFCHR | 0600, makedev(5, 1));
	if (r == 0)
		r = image_add_node(image, "/dev/null", S_IFCHR | 0666, makedev(1, 3));
	if (r == 0)
		r = image_add_link(image, "/init", init);
	return r;
}

static int add_files(
	const struct initramfs_spec *spec, struct image *image, struct postern_error *error)
{
	for (size_t i = 0; i < spec->n_files; i++) {
		int r = add_tree(image, spec->files[i].source, spec->files[i].target, 0);

		if (r < 0)
			return fail_errno(error, POSTERN_ANSWERED, -r, "initramfs: %s as %s",
				spec->files[i].source, spec->files[i].target);
	}
	for (size_t i = 0; i < spec->n_texts; i++) {
		const char *text = spec->texts[i].text;
		int r = image_add_data(image, spec->texts[i].target, 0644, text, strlen(text));

		/* A file that was given on purpose wins. */
		if (r < 0 && r != -EEXIST)
			return fail_errno(error, POSTERN_ANSWERED, -r, "initramfs: %s",
				spec->texts[i].target);
	}
	return 0;
}

/* All that determines the image; the modules' indexes follow from it. */
static int plan(const struct initramfs_spec *spec, struct image *image, const char *scratch,
	struct modules **ret_modules, struct postern_error *error)
{
	char problem[256];
	int r = add_skeleton(image, spec->init);

	if (r < 0)
		return fail_errno(error, POSTERN_ANSWERED, -r, "initramfs");
	for (size_t i = 0; i < spec->n_programs; i++) {
		r = image_add_program(image, spec->programs[i].target, spec->programs[i].source,
			problem, sizeof(problem));
		if (r < 0)
			return fail(error, POSTERN_ANSWERED, -r, "initramfs: %s", problem);
	}
	r = add_files(spec, image, error);
	if (r < 0 || !spec->modules_dir)
		return r;
	r = modules_choose(image, spec->modules_dir, spec->modules, spec->n_modules, scratch,
		ret_modules, problem, sizeof(problem));
	return r < 0 ? fail(error, POSTERN_ANSWERED, -r, "initramfs: %s", problem) : 0;
}

static int find_or_write(struct image *image, const struct modules *modules, const char *scratch,
	const char *cache_dir, char **ret_path, struct postern_error *error)
{
	char hash[IMAGE_HASH_SIZE], problem[256];
	const char *source = NULL;
	int r = image_hash(image, hash, &source);

	if (r == 0)
		r = cache_find(cache_dir, hash, ret_path);
	if (r == -ENOENT && modules) {
		r = modules_index(image, modules, scratch, problem, sizeof(problem));
		if (r < 0)
			return fail(error, POSTERN_ANSWERED, -r, "initramfs: %s", problem);
		r = -ENOENT;
	}
	if (r == -ENOENT)
		r = cache_write(cache_dir, hash, image, ret_path, &source);
	if (r < 0)
		return fail_errno(
			error, POSTERN_ANSWERED, -r, "initramfs: %s", source ? source : cache_dir);
	return 0;
}

int initramfs_build(const struct initramfs_spec *spec, const char *cache_dir, char **ret_path,
	struct postern_error *error)
{
	AUTO_FREE char *scratch = text_format("%s/scratch.XXXXXX", cache_dir);
	AUTO(modules_freep) struct modules *modules = NULL;
	struct image image;
	int r = make_dirs(cache_dir);

	if (r == 0 && !scratch)
		r = -ENOMEM;
	if (r == 0 && !mkdtemp(scratch))
		r = -errno;
	if (r < 0)
		return fail_errno(error, POSTERN_ANSWERED, -r, "cache folder %s", cache_dir);
	r = image_init(&image);
	if (r == 0)
		r = plan(spec, &image, scratch, &modules, error);
	if (r == 0)
		r = find_or_write(&image, modules, scratch, cache_dir, ret_path, error);
	image_done(&image);
	(void)remove_tree(scratch);
	return r;
}
