/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/initramfs/image.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sha2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/initramfs/cpio.h"
#include "proto/cleanup.h"

static const char *const merged[] = {"bin", "sbin", "lib", "lib64"};

/* The path below the root with the merged folders resolved: "/lib//a/" is "usr/lib/a". */
static int clean_path(const char *path, char clean[PATH_MAX])
{
	size_t len = 0;

	if (path[0] != '/' || strlen(path) + sizeof("usr/") >= PATH_MAX)
		return -EINVAL;
	for (const char *at = path; *at;) {
		size_t part;

		at += strspn(at, "/");
		part = strcspn(at, "/");
		if (part == 0)
			break;
		if ((part == 1 && at[0] == '.') || (part == 2 && at[0] == '.' && at[1] == '.'))
			return -EINVAL;
		for (size_t i = 0; len == 0 && i < ARRAY_SIZE(merged); i++)
			/* The link itself keeps its place. */
			if (part == strlen(merged[i]) && memcmp(at, merged[i], part) == 0 &&
				at[part + strspn(at + part, "/")] != '\0') {
				memcpy(clean, "usr", 3);
				len = 3;
			}
		if (len > 0)
			clean[len++] = '/';
		memcpy(clean + len, at, part);
		len += part;
		at += part;
	}
	clean[len] = '\0';
	return len > 0 ? 0 : -EINVAL;
}

static struct image_entry *find(const struct image *image, const char *clean)
{
	for (size_t i = 0; i < image->n; i++)
		if (strcmp(image->entries[i].path, clean) == 0)
			return &image->entries[i];
	return NULL;
}

static int append(struct image *image, const struct image_entry *model)
{
	struct image_entry *entries = reallocarray(image->entries, image->n + 1, sizeof(*entries));
	struct image_entry entry = *model;

	if (!entries)
		return -ENOMEM;
	image->entries = entries;
	entry.path = strdup(model->path);
	entry.source = model->source ? strdup(model->source) : NULL;
	entry.data = NULL;
	if (model->data) {
		entry.data = malloc(model->len + 1);
		if (entry.data)
			memcpy(entry.data, model->data, model->len);
	}
	if (!entry.path || (model->source && !entry.source) || (model->data && !entry.data)) {
		free(entry.path);
		free(entry.source);
		free(entry.data);
		return -ENOMEM;
	}
	image->entries[image->n++] = entry;
	return 0;
}

static int add_parents(struct image *image, char *clean)
{
	for (char *slash = strchr(clean, '/'); slash; slash = strchr(slash + 1, '/')) {
		struct image_entry parent = {.path = clean, .mode = S_IFDIR | 0755};
		const struct image_entry *there;
		int r = 0;

		*slash = '\0';
		there = find(image, clean);
		if (!there)
			r = append(image, &parent);
		else if (!S_ISDIR(there->mode))
			r = -ENOTDIR;
		*slash = '/';
		if (r < 0)
			return r;
	}
	return 0;
}

static int same(const struct image_entry *a, const struct image_entry *b)
{
	if (S_ISDIR(a->mode) && S_ISDIR(b->mode))
		return 1;
	if (a->mode != b->mode || a->rdev != b->rdev || !a->source != !b->source)
		return 0;
	if (a->source)
		return strcmp(a->source, b->source) == 0;
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static int add(struct image *image, const char *path, const struct image_entry *what)
{
	struct image_entry model = *what;
	char clean[PATH_MAX];
	struct image_entry *there;
	int r = clean_path(path, clean);

	if (r < 0)
		return r;
	model.path = clean;
	there = find(image, clean);
	if (there) {
		if (!same(there, &model))
			return -EEXIST;
		if (S_ISDIR(model.mode))
			there->mode = model.mode;
		return 0;
	}
	r = add_parents(image, clean);
	return r == 0 ? append(image, &model) : r;
}

int image_add_dir(struct image *image, const char *path, mode_t mode)
{
	return add(image, path, &(struct image_entry){.mode = S_IFDIR | mode});
}

int image_add_file(struct image *image, const char *path, mode_t mode, const char *source)
{
	return add(image, path,
		&(struct image_entry){.mode = S_IFREG | mode, .source = (char *)source});
}

int image_add_data(struct image *image, const char *path, mode_t mode, const void *data, size_t len)
{
	return add(image, path,
		&(struct image_entry){.mode = S_IFREG | mode, .data = (char *)data, .len = len});
}

int image_add_link(struct image *image, const char *path, const char *to)
{
	return add(image, path,
		&(struct image_entry){
			.mode = S_IFLNK | 0777, .data = (char *)to, .len = strlen(to)});
}

int image_add_node(struct image *image, const char *path, mode_t mode, dev_t rdev)
{
	return add(image, path, &(struct image_entry){.mode = mode, .rdev = rdev});
}

int image_has(const struct image *image, const char *path)
{
	char clean[PATH_MAX];

	return clean_path(path, clean) == 0 && find(image, clean) != NULL;
}

int image_init(struct image *image)
{
	char path[16], to[16];
	int r = 0;

	*image = (struct image){0};
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(merged); i++) {
		(void)snprintf(path, sizeof(path), "/%s", merged[i]);
		(void)snprintf(to, sizeof(to), "usr/%s", merged[i]);
		r = image_add_link(image, path, to);
	}
	return r;
}

void image_done(struct image *image)
{
	for (size_t i = 0; i < image->n; i++) {
		free(image->entries[i].path);
		free(image->entries[i].source);
		free(image->entries[i].data);
	}
	free(image->entries);
	*image = (struct image){0};
}

static int by_path(const void *a, const void *b)
{
	const struct image_entry *x = a, *y = b;

	return strcmp(x->path, y->path);
}

/* Order of paths puts a folder before what it holds, and makes equal plans equal images. */
static void sort(struct image *image)
{
	if (image->n > 0)
		qsort(image->entries, image->n, sizeof(*image->entries), by_path);
}

static int open_source(const struct image_entry *entry, uint64_t *ret_size)
{
	AUTO_CLOSE int fd = open(entry->source, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*ret_size = (uint64_t)st.st_size;
	return take_fd(&fd);
}

/* A file that was written to, or replaced, has another of these. */
static int hash_source(SHA2_CTX *context, const struct image_entry *entry)
{
	uint64_t identity[7];
	struct stat st;

	if (stat(entry->source, &st) < 0)
		return -errno;
	identity[0] = st.st_dev;
	identity[1] = st.st_ino;
	identity[2] = (uint64_t)st.st_size;
	identity[3] = (uint64_t)st.st_mtim.tv_sec;
	identity[4] = (uint64_t)st.st_mtim.tv_nsec;
	identity[5] = (uint64_t)st.st_ctim.tv_sec;
	identity[6] = (uint64_t)st.st_ctim.tv_nsec;
	SHA256Update(context, (const uint8_t *)identity, sizeof(identity));
	return 0;
}

int image_hash(struct image *image, char ret_hex[IMAGE_HASH_SIZE], const char **ret_source)
{
	SHA2_CTX context;
	char *end;

	SHA256Init(&context);
	sort(image);
	for (size_t i = 0; i < image->n; i++) {
		const struct image_entry *entry = &image->entries[i];
		char head[PATH_MAX + 64];
		int r = 0, n;

		n = snprintf(head, sizeof(head), "%s %o %llx %zu", entry->path,
			(unsigned)entry->mode, (unsigned long long)entry->rdev, entry->len);
		SHA256Update(&context, (const uint8_t *)head, (size_t)n + 1);
		if (entry->source)
			r = hash_source(&context, entry);
		else if (entry->len > 0)
			SHA256Update(&context, (const uint8_t *)entry->data, entry->len);
		*ret_source = entry->source;
		if (r < 0)
			return r;
	}
	*ret_source = NULL;
	end = SHA256End(&context, ret_hex);
	return end ? 0 : -EINVAL;
}

int image_write(struct image *image, FILE *out, const char **ret_source)
{
	struct cpio cpio = {.out = out};
	int r = 0;

	sort(image);
	for (size_t i = 0; r == 0 && i < image->n; i++) {
		const struct image_entry *entry = &image->entries[i];

		*ret_source = entry->source;
		if (entry->source) {
			uint64_t size = 0;
			AUTO_CLOSE int fd = open_source(entry, &size);

			r = fd < 0 ? fd : cpio_file(&cpio, entry->path, entry->mode, fd, size);
		} else {
			r = cpio_entry(&cpio, entry->path, entry->mode, entry->rdev, entry->data,
				entry->len);
		}
	}
	if (r < 0)
		return r;
	*ret_source = NULL;
	return cpio_end(&cpio);
}
