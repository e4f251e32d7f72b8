/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kmod-helpers/allow.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "kmod-helpers/boot.h"
#include "kmod-helpers/types.h"
#include "proto/cleanup.h"
#include "proto/line.h"

#define ALLOW_DIR "/etc/postern/modules.d"

bool module_name_is_clean(const char *name)
{
	size_t n = 0;

	for (; name[n] != '\0'; n++)
		if (!isalnum((unsigned char)name[n]) && name[n] != '_' && name[n] != '-')
			return false;
	return n > 0 && n < 64 && name[0] != '-';
}

bool module_names_equal(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
			return false;
	return *a == *b;
}

/* Looks for the module, and for the parameter unless it is NULL, in one line. */
static bool line_allows(char *line, const char *module, const char *parameter)
{
	char *rest = NULL, *word;

	line[strcspn(line, "#")] = '\0';
	word = strtok_r(line, " \t", &rest);
	if (!word || !module_names_equal(word, module))
		return false;
	if (!parameter)
		return true;
	while ((word = strtok_r(NULL, " \t", &rest)))
		if (strcmp(word, parameter) == 0)
			return true;
	return false;
}

static bool file_allows(const char *name, const char *module, const char *parameter)
{
	char path[512], line[LINE_SIZE];
	AUTO_FILE FILE *file = NULL;
	const char *why;

	(void)snprintf(path, sizeof(path), ALLOW_DIR "/%.255s", name);
	file = fopen(path, "re");
	while (file && line_read(file, line, &why) > 0)
		if (line_allows(line, module, parameter))
			return true;
	return false;
}

static bool files_allow(const char *module, const char *parameter)
{
	DIR *dir = opendir(ALLOW_DIR);
	bool allowed = false;

	if (!dir)
		return false;
	for (struct dirent *entry; !allowed && (entry = readdir(dir));) {
		const char *suffix = strrchr(entry->d_name, '.');

		if (entry->d_name[0] != '.' && suffix && strcmp(suffix, ".allow") == 0)
			allowed = file_allows(entry->d_name, module, parameter);
	}
	(void)closedir(dir);
	return allowed;
}

bool allow_module(const char *name)
{
	size_t n;
	const struct fs_type *types = fs_types(&n);

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < FS_MODULES_MAX && types[i].modules[j]; j++)
			if (module_names_equal(types[i].modules[j], name))
				return true;
	const struct kmod_boot *boot = kmod_boot_modules(&n);

	for (size_t i = 0; i < n; i++)
		if (module_names_equal(boot[i].name, name))
			return true;
	return files_allow(name, NULL);
}

bool allow_parameter(const char *module, const char *parameter)
{
	return files_allow(module, parameter);
}
