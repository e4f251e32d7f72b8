/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/initramfs/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/common/file.h"
#include "host/common/run.h"
#include "proto/cleanup.h"

#define INDEX_MAX (64u << 20)
#define NAME_SIZE 64 /* the kernel's MODULE_NAME_LEN on 64 bits is 56 */

/* What depmod makes for libkmod, and what it needs for that. */
static const char *const indexes[] = {"modules.dep.bin", "modules.alias.bin", "modules.symbols.bin",
	"modules.builtin.bin", "modules.builtin.alias.bin", "modules.dep", "modules.softdep"};
static const char *const inputs[] = {"modules.builtin", "modules.builtin.modinfo", "modules.order"};

struct module {
	char name[NAME_SIZE];
	const char *path;    /* below the folder; borrowed from the text */
	const char *depends; /* paths separated by spaces */
	bool wanted;
};

struct modules {
	char *dir;
	const char *release; /* its last part */
	char *text;          /* modules.dep, cut into strings */
	char *builtin;       /* modules.builtin */
	char *softdep;       /* modules.softdep and modules.alias; NULL: none */
	char *alias;
	struct module *all;
	size_t n;
};

void modules_freep(struct modules **modules)
{
	struct modules *m = take_ptr(*modules);

	if (!m)
		return;
	free(m->dir);
	free(m->text);
	free(m->builtin);
	free(m->softdep);
	free(m->alias);
	free(m->all);
	free(m);
}

/* "kernel/net/vmw_vsock/vsock.ko.xz" is "vsock". */
static void module_name(const char *path, char name[NAME_SIZE])
{
	const char *base = strrchr(path, '/');
	size_t len;

	base = base ? base + 1 : path;
	len = strcspn(base, ".");
	if (len >= NAME_SIZE)
		len = NAME_SIZE - 1;
	memcpy(name, base, len);
	name[len] = '\0';
	for (char *at = name; *at; at++)
		if (*at == '-')
			*at = '_';
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct module *)a)->name, ((const struct module *)b)->name);
}

static struct module *find(struct modules *modules, const char *path)
{
	struct module key = {0};

	module_name(path, key.name);
	if (modules->n == 0)
		return NULL;
	return bsearch(&key, modules->all, modules->n, sizeof(key), by_name);
}

/* Lines "PATH: DEPENDENCY DEPENDENCY...". */
static int parse(struct modules *modules)
{
	char *save, *line;

	for (line = strtok_r(modules->text, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		char *colon = strchr(line, ':');
		struct module *all;

		if (!colon || line[0] == '/' || strstr(line, ".."))
			return -EBADMSG;
		*colon = '\0';
		all = reallocarray(modules->all, modules->n + 1, sizeof(*all));
		if (!all)
			return -ENOMEM;
		modules->all = all;
		all[modules->n] = (struct module){.path = line, .depends = colon + 1};
		module_name(line, all[modules->n].name);
		modules->n++;
	}
	if (modules->n > 0)
		qsort(modules->all, modules->n, sizeof(*modules->all), by_name);
	return 0;
}

static bool is_builtin(const struct modules *modules, const char *wish)
{
	char name[NAME_SIZE], other[NAME_SIZE], path[PATH_MAX];

	module_name(wish, name);
	for (const char *at = modules->builtin; at && *at;) {
		size_t len = strcspn(at, "\n");

		if (len > 0 && len < sizeof(path)) {
			memcpy(path, at, len);
			path[len] = '\0';
			module_name(path, other);
			if (strcmp(name, other) == 0)
				return true;
		}
		at += len + (at[len] == '\n');
	}
	return false;
}

static int want(struct modules *modules, struct module *module);

/* A name or an alias: ciphers are known by what they do. What is not there is not needed. */
static int want_soft(struct modules *modules, const char *name)
{
	struct module *module = find(modules, name);
	size_t len = strlen(name);
	int r = module ? want(modules, module) : 0;

	for (const char *at = module ? NULL : modules->alias; at && r == 0;) {
		const char *line = at + (*at == '\n');
		char other[NAME_SIZE];

		if (strncmp(line, "alias ", 6) == 0 && strncmp(line + 6, name, len) == 0 &&
			line[6 + len] == ' ' && sscanf(line + 7 + len, "%63s", other) == 1) {
			module = find(modules, other);
			r = module ? want(modules, module) : 0;
		}
		at = strchr(line, '\n');
	}
	return r;
}

/* Lines "softdep NAME pre: A B post: C": what a module asks the kernel for by name when it works. A
 * small guest has no modprobe to answer that, so it is all loaded before. */
static int want_soft_of(struct modules *modules, const struct module *module)
{
	size_t len = strlen(module->name);
	int r = 0;

	for (const char *at = modules->softdep; at && r == 0;) {
		const char *line = at + (*at == '\n');

		at = strchr(line, '\n');
		if (strncmp(line, "softdep ", 8) == 0 &&
			strncmp(line + 8, module->name, len) == 0 && line[8 + len] == ' ') {
			AUTO_FREE char *list =
				strndup(line + 9 + len, strcspn(line + 9 + len, "\n"));
			char *save, *word;

			if (!list)
				return -ENOMEM;
			for (word = strtok_r(list, " ", &save); word && r == 0;
				word = strtok_r(NULL, " ", &save))
				if (word[strlen(word) - 1] != ':')
					r = want_soft(modules, word);
		}
	}
	return r;
}

/* The module and what it depends on; modules.dep lists the dependencies of dependencies too. */
static int want(struct modules *modules, struct module *module)
{
	AUTO_FREE char *depends = strdup(module->depends);
	char *save, *path;
	int r = 0;

	if (!depends)
		return -ENOMEM;
	if (module->wanted)
		return 0;
	module->wanted = true;
	for (path = strtok_r(depends, " ", &save); path && r == 0;
		path = strtok_r(NULL, " ", &save)) {
		struct module *other = find(modules, path);

		r = other ? want(modules, other) : -EBADMSG;
	}
	return r == 0 ? want_soft_of(modules, module) : r;
}

static int stage(const struct modules *modules, const char *path, const char *root)
{
	AUTO_FREE char *from = text_format("%s/%s", modules->dir, path);
	AUTO_FREE char *to = text_format("%s/lib/modules/%s/%s", root, modules->release, path);
	AUTO_FREE char *folder = to ? strdup(to) : NULL;
	int r;

	if (!from || !to || !folder)
		return -ENOMEM;
	*strrchr(folder, '/') = '\0';
	r = make_dirs(folder);
	if (r == 0 && symlink(from, to) < 0)
		r = -errno;
	return r;
}

/* dir is a RELEASE folder. What it does not have is left out: not every
 * kernel and depmod knows all the lists and indexes. */
static int add_file(
	struct image *image, const struct modules *modules, const char *dir, const char *path)
{
	AUTO_FREE char *from = text_format("%s/%s", dir, path);
	AUTO_FREE char *to = text_format("/usr/lib/modules/%s/%s", modules->release, path);

	if (!from || !to)
		return -ENOMEM;
	return access(from, R_OK) == 0 ? image_add_file(image, to, 0644, from) : 0;
}

static int run_depmod(const char *root, const char *release, char *problem, size_t size)
{
	const char *argv[] = {"depmod", "-b", root, release, NULL};

	return run_program(argv, 60000, problem, size);
}

/* The texts that depmod writes beside modules.dep. Neither is needed. */
static int read_soft(struct modules *modules, const char *dir)
{
	AUTO_FREE char *softdep = text_format("%s/modules.softdep", dir);
	AUTO_FREE char *alias = text_format("%s/modules.alias", dir);
	size_t len;

	if (!softdep || !alias)
		return -ENOMEM;
	(void)file_read(AT_FDCWD, softdep, INDEX_MAX, &modules->softdep, &len);
	(void)file_read(AT_FDCWD, alias, INDEX_MAX, &modules->alias, &len);
	return 0;
}

/* A folder that no package manager has indexed (unpacked by hand): index it beside, not in it. */
static int index_whole(struct modules *modules, const char *scratch, char *problem, size_t size)
{
	AUTO_FREE char *root = text_format("%s/whole", scratch);
	AUTO_FREE char *above =
		root ? text_format("%s/lib/modules/%s", root, modules->release) : NULL;
	AUTO_FREE char *dep = above ? text_format("%s/modules.dep", above) : NULL;
	size_t len;
	int r;

	if (!dep)
		return -ENOMEM;
	r = make_dirs(above);
	if (r == 0)
		r = stage(modules, "kernel", root);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(inputs); i++)
		r = stage(modules, inputs[i], root);
	if (r < 0) {
		(void)snprintf(problem, size, "%s: %s", above, strerror(-r));
		return r;
	}
	r = run_depmod(root, modules->release, problem, size);
	if (r < 0)
		return r;
	r = file_read(AT_FDCWD, dep, INDEX_MAX, &modules->text, &len);
	if (r < 0)
		(void)snprintf(problem, size, "%s: %s", dep, strerror(-r));
	return r < 0 ? r : read_soft(modules, above);
}

static int load(struct modules *modules, const char *scratch, char *problem, size_t size)
{
	AUTO_FREE char *dep = text_format("%s/modules.dep", modules->dir);
	AUTO_FREE char *builtin = text_format("%s/modules.builtin", modules->dir);
	size_t len;
	int r;

	if (!dep || !builtin)
		return -ENOMEM;
	r = file_read(AT_FDCWD, builtin, INDEX_MAX, &modules->builtin, &len);
	if (r < 0) {
		(void)snprintf(problem, size, "%s: %s", builtin, strerror(-r));
		return r;
	}
	r = file_read(AT_FDCWD, dep, INDEX_MAX, &modules->text, &len);
	if (r == -ENOENT)
		r = index_whole(modules, scratch, problem, size);
	else if (r < 0)
		(void)snprintf(problem, size, "%s: %s", dep, strerror(-r));
	else
		r = read_soft(modules, modules->dir);
	if (r < 0)
		return r;
	r = parse(modules);
	if (r < 0)
		(void)snprintf(problem, size, "%s: not the list of a depmod run", dep);
	return r;
}

static int choose(struct modules *modules, const struct module_wish *wishes, size_t n,
	char *problem, size_t size)
{
	for (size_t i = 0; i < n; i++) {
		struct module *module = find(modules, wishes[i].name);
		int r = 0;

		if (module)
			r = want(modules, module);
		else if (wishes[i].needed && !is_builtin(modules, wishes[i].name))
			r = -ENOENT;
		if (r < 0) {
			(void)snprintf(problem, size, "the kernel %s has no module %s",
				modules->release, wishes[i].name);
			return r;
		}
	}
	return 0;
}

/* What the index is made of; the rest is made by modules_index(). */
static int add_chosen(struct image *image, const struct modules *modules)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < modules->n; i++)
		if (modules->all[i].wanted)
			r = add_file(image, modules, modules->dir, modules->all[i].path);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(inputs); i++)
		r = add_file(image, modules, modules->dir, inputs[i]);
	return r;
}

int modules_choose(struct image *image, const char *modules_dir, const struct module_wish *wishes,
	size_t n, const char *scratch, struct modules **ret_modules, char *problem, size_t size)
{
	AUTO(modules_freep) struct modules *modules = calloc(1, sizeof(*modules));
	int r;

	(void)snprintf(problem, size, "out of memory");
	if (!modules)
		return -ENOMEM;
	modules->dir = realpath(modules_dir, NULL);
	if (!modules->dir) {
		r = -errno;
		(void)snprintf(problem, size, "%s: %s", modules_dir, strerror(-r));
		return r;
	}
	modules->release = strrchr(modules->dir, '/') + 1;
	r = load(modules, scratch, problem, size);
	if (r == 0)
		r = choose(modules, wishes, n, problem, size);
	if (r < 0)
		return r;
	r = add_chosen(image, modules);
	if (r < 0)
		(void)snprintf(problem, size, "modules of %s: %s", modules->dir, strerror(-r));
	else
		*ret_modules = take_ptr(modules);
	return r;
}

/* Links to what was chosen, so that depmod indexes these and no others. */
static int stage_chosen(const struct modules *modules, const char *root)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < modules->n; i++)
		if (modules->all[i].wanted)
			r = stage(modules, modules->all[i].path, root);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(inputs); i++)
		r = stage(modules, inputs[i], root);
	return r;
}

int modules_index(struct image *image, const struct modules *modules, const char *scratch,
	char *problem, size_t size)
{
	AUTO_FREE char *root = text_format("%s/chosen", scratch);
	AUTO_FREE char *dir = text_format("%s/chosen/lib/modules/%s", scratch, modules->release);
	int r = root && dir ? stage_chosen(modules, root) : -ENOMEM;

	if (r < 0) {
		(void)snprintf(problem, size, "modules of %s: %s", modules->dir, strerror(-r));
		return r;
	}
	r = run_depmod(root, modules->release, problem, size);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(indexes); i++)
		r = add_file(image, modules, dir, indexes[i]);
	if (r < 0)
		(void)snprintf(problem, size, "%s: %s", dir, strerror(-r));
	return r;
}
