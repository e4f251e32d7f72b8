/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/guest.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/initramfs/initramfs.h"
#include "host/lib/tools.h"
#include "kmod-helpers/boot.h"
#include "proto/cleanup.h"
#include "proto/places.h"

#define BASES     5
#define ADDED_MAX 64
#define KERNEL    "vmlinuz-"

/* The agent's programs. They find each other where they were to be installed, so that is where the
 * small guest has them. */
static const struct {
	const char *name, *place;
} agent_programs[] = {
	{"postern-init", place_sbin},
	{"posternd", place_sbin},
	{"postern-watch", place_libexec},
	{"postern-job", place_libexec},
	{"postern-session", place_libexec},
	{"postern-worker", place_libexec},
	{"postern-kmod", place_libexec},
	{"postern-ctl", place_libexec},
};

static const struct initramfs_text texts[] = {
	{"/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"
			"_postern:x:767:767:Postern agent:/nonexistent:/usr/sbin/nologin\n"},
	{"/etc/group", "root:x:0:\n_postern:x:767:\n"},
	{"/etc/os-release", "ID=postern-guest\nNAME=\"Postern small guest\"\n"
			    "PRETTY_NAME=\"Postern small guest\"\n"},
};

/* Folders that may hold a guest's boot/, lib/modules/ and etc/postern/. "" is the host itself. */
static int list_bases(char *bases[BASES])
{
	const char *own = getenv("POSTERN_GUEST_DIR");
	AUTO_FREE char *self = tool_self_dir();
	int count = 0;

	if (own)
		bases[count++] = strdup(own);
	if (self) {
		bases[count++] = text_format("%s/guest", self);
		bases[count++] = text_format("%s/../share/postern/guest", self);
	}
	bases[count++] = text_format("%s/guest", place_data);
	bases[count++] = strdup("");
	return count;
}

static char *modules_of(const char *base, const char *release)
{
	static const char *const places[] = {"lib/modules", "usr/lib/modules"};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		char *path = text_format("%s/%s/%s", base, places[i], release);

		if (path && access(path, R_OK | X_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
	return strverscmp((*b)->d_name, (*a)->d_name);
}

static int is_kernel(const struct dirent *entry)
{
	return strncmp(entry->d_name, KERNEL, strlen(KERNEL)) == 0;
}

static bool find_kernel(const char *base, struct guest *guest)
{
	AUTO_FREE char *boot = text_format("%s/boot", base);
	struct dirent **names;
	int n = boot ? scandir(boot, &names, is_kernel, newest_first) : -1;

	for (int i = 0; i < n; i++) {
		if (!guest->kernel) {
			guest->modules = modules_of(base, names[i]->d_name + strlen(KERNEL));
			if (guest->modules)
				guest->kernel = text_format("%s/%s", boot, names[i]->d_name);
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return guest->kernel != NULL;
}

static char *find_etc(char *const *bases, int n)
{
	for (int i = 0; i < n; i++) {
		char *path = text_format("%s/etc/postern", bases[i]);

		if (path && access(path, R_OK | X_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

static int given_kernel(
	const struct postern_launch *launch, struct guest *guest, struct postern_error *error)
{
	const char *base = strrchr(launch->kernel, '/');

	base = base ? base + 1 : launch->kernel;
	if (access(launch->kernel, R_OK) < 0)
		return fail_errno(error, POSTERN_USAGE, errno, "%s", launch->kernel);
	guest->kernel = realpath(launch->kernel, NULL);
	if (launch->modules)
		guest->modules = realpath(launch->modules, NULL);
	else if (strncmp(base, KERNEL, strlen(KERNEL)) == 0)
		guest->modules = modules_of("", base + strlen(KERNEL));
	if (launch->modules && !guest->modules)
		return fail_errno(error, POSTERN_USAGE, errno, "%s", launch->modules);
	return guest->kernel ? 0
			     : fail_errno(error, POSTERN_ANSWERED, ENOMEM, "%s", launch->kernel);
}

/* Fills in where each program stands, here and there. Both texts are to be freed. */
static int find_programs(
	struct initramfs_item programs[ARRAY_SIZE(agent_programs)], struct postern_error *error)
{
	for (size_t i = 0; i < ARRAY_SIZE(agent_programs); i++) {
		const char *name = agent_programs[i].name;

		programs[i].source = tool_own(name);
		if (!programs[i].source)
			return fail(error, POSTERN_ABSENT, ENOENT,
				"the small guest needs the agent's program %s, which is not "
				"installed",
				name);
		programs[i].target = text_format("%s/%s", agent_programs[i].place, name);
		if (!programs[i].target)
			return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "%s", name);
	}
	return 0;
}

static int pack(const struct postern_launch *launch, const char *etc,
	const struct initramfs_item *programs, struct guest *guest, struct postern_error *error)
{
	AUTO_FREE char *cache = tool_cache_dir();
	AUTO_FREE struct module_wish *wishes = NULL;
	struct initramfs_item files[ADDED_MAX + 1];
	struct initramfs_spec spec = {
		.programs = programs,
		.n_programs = ARRAY_SIZE(agent_programs),
		.files = files,
		.texts = texts,
		.n_texts = ARRAY_SIZE(texts),
		.init = programs[0].target,
		.modules_dir = guest->modules,
	};
	size_t n_boot;
	const struct kmod_boot *boot = kmod_boot_modules(&n_boot);

	spec.n_modules = n_boot + launch->n_add_modules;
	wishes = calloc(spec.n_modules, sizeof(*wishes));
	if (!cache || !wishes)
		return fail(error, POSTERN_USAGE, ENOENT,
			"no folder for cached images (HOME is unset)");
	for (size_t i = 0; i < spec.n_modules; i++)
		wishes[i] = i < n_boot
				    ? (struct module_wish){boot[i].name, boot[i].needed}
				    : (struct module_wish){launch->add_modules[i - n_boot], true};
	spec.modules = wishes;
	files[spec.n_files++] = (struct initramfs_item){etc, "/etc/postern"};
	for (size_t i = 0; i < launch->n_adds; i++)
		files[spec.n_files++] =
			(struct initramfs_item){launch->adds[i].source, launch->adds[i].target};
	return initramfs_build(&spec, cache, &guest->initrd, error);
}

static int small_guest(const struct postern_launch *launch, char *const *bases, int n_bases,
	struct guest *guest, struct postern_error *error)
{
	struct initramfs_item programs[ARRAY_SIZE(agent_programs)] = {0};
	AUTO_FREE char *etc = find_etc(bases, n_bases);
	int r;

	if (!guest->modules)
		return fail(error, POSTERN_USAGE, ENOENT,
			"--kernel needs --modules: the folder lib/modules/RELEASE of that kernel");
	if (!etc)
		return fail(error, POSTERN_ABSENT, ENOENT,
			"the small guest's configuration (etc/postern) is not installed");
	if (launch->n_adds > ADDED_MAX)
		return fail(
			error, POSTERN_USAGE, E2BIG, "at most %d files can be added", ADDED_MAX);
	r = find_programs(programs, error);
	if (r == 0)
		r = pack(launch, etc, programs, guest, error);
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		free((char *)programs[i].source);
		free((char *)programs[i].target);
	}
	guest->small = r == 0;
	return r;
}

int guest_prepare(
	const struct postern_launch *launch, struct guest *ret_guest, struct postern_error *error)
{
	struct guest guest = {0};
	char *bases[BASES];
	int n = list_bases(bases), r = 0;

	if (launch->kernel)
		r = given_kernel(launch, &guest, error);
	else if (!launch->image)
		for (int i = 0; i < n && !(bases[i] && find_kernel(bases[i], &guest)); i++)
			;
	if (r == 0 && !guest.kernel && !launch->image)
		r = fail(error, POSTERN_ABSENT, ENOENT,
			"no kernel with its modules was found; --kernel and --modules name them");
	if (r == 0 && launch->initrd) {
		guest.initrd = realpath(launch->initrd, NULL);
		if (!guest.initrd)
			r = fail_errno(error, POSTERN_USAGE, errno, "%s", launch->initrd);
	} else if (r == 0 && (!launch->image || launch->modules)) {
		/* With modules named, an image is a disk of the small guest. */
		r = small_guest(launch, bases, n, &guest, error);
	}
	for (int i = 0; i < n; i++)
		free(bases[i]);
	if (r < 0)
		guest_done(&guest);
	else
		*ret_guest = guest;
	return r;
}

void guest_done(struct guest *guest)
{
	free(guest->kernel);
	free(guest->modules);
	free(guest->initrd);
	*guest = (struct guest){0};
}
