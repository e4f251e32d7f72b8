/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/config/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cleanup.h"
#include "proto/limits.h"
#include "proto/line.h"
#include "proto/places.h"

/* PLACE: a path, or empty. FOLDERS: any number of them, with colons between. */
enum kind { TEXT, WORDS, PATH, PLACE, FOLDERS, NUMBER, SWITCH, LEVEL };

/* The one list of keys. */
static const struct key {
	const char *name;
	enum kind kind;
	size_t offset;
	size_t size;          /* TEXT to FOLDERS: of the buffer */
	uint32_t least, most; /* NUMBER */
	const char *meaning;
} keys[] = {
#define AT(field) offsetof(struct config, field), sizeof(((struct config *)0)->field)
	{"vsock", SWITCH, AT(vsock), 0, 0, "listen on AF_VSOCK"},
	{"vsock_port", NUMBER, AT(vsock_port), 1, UINT32_MAX - 1, "the port there"},
	{"ready_port", NUMBER, AT(ready_port), 0, UINT32_MAX - 1,
		"port of the host that is told when the agent is ready; 0: none"},
	{"socket", PLACE, AT(socket), 0, 0, "socket for programs of the guest; empty: none"},
	{"vsh_port", NUMBER, AT(vsh_port), 0, UINT32_MAX - 1,
		"port for clients of vsh, theirs is 9001; 0: none"},
	{"vsh_socket", PLACE, AT(vsh_socket), 0, 0, "socket for them; empty: none"},
	{"run_dir", PATH, AT(run_dir), 0, 0, "state of this boot (a tmpfs)"},
	{"state_dir", PATH, AT(state_dir), 0, 0, "state that outlives a boot"},
	{"policy_dir", PATH, AT(policy_dir), 0, 0, "folder of *.policy files"},
	{"hooks_dir", PATH, AT(hooks_dir), 0, 0, "folder of EVENT/* programs"},
	{"libexec_dir", PATH, AT(libexec_dir), 0, 0, "folder of the agent's other programs"},
	{"user", TEXT, AT(user), 0, 0, "user that unprivileged parts run as"},
	{"sysctl_allow", WORDS, AT(sysctl_allow), 0, 0,
		"settings of the kernel that may be set, patterns; empty: none"},
	{"renew_machine_id", SWITCH, AT(renew_machine_id), 0, 0,
		"a guest that was restored gets another machine id"},
	{"files_roots", FOLDERS, AT(files_roots), 0, 0,
		"folders that files.* may be called for, with colons between; empty: none"},
	{"disks_folders", FOLDERS, AT(disks_folders), 0, 0,
		"below which a disk is mounted that disks.* may use files of; empty: none"},
	{"disks_repository", PLACE, AT(disks_repository), 0, 0,
		"folder that disks.* know as __repository__; empty: none"},
	{"sample_interval", NUMBER, AT(sample_interval_s), 1, 3600, "seconds between load samples"},
	{"history", NUMBER, AT(history_s), 60, 604800, "seconds of load history kept"},
	{"save_interval", NUMBER, AT(save_interval_s), 0, 86400,
		"seconds between writes of the history to disk; 0: never"},
	{"log_level", LEVEL, AT(log_level), 0, 0, "error, warning, info or debug"},
#undef AT
};

void config_init(struct config *config)
{
	*config = (struct config){
		.vsock = true,
		.vsock_port = POSTERN_PORT,
		.ready_port = POSTERN_READY_PORT,
		.socket = "/run/postern/agent.sock",
		.run_dir = "/run/postern",
		.state_dir = "/var/lib/postern",
		.policy_dir = "/etc/postern/policy.d",
		.hooks_dir = "/etc/postern/hooks.d",
		.user = "_postern",
		.disks_folders = "/media:/run/media:/mnt",
		.sample_interval_s = 10,
		.history_s = 86400,
		.save_interval_s = 600,
		.log_level = LOG_LEVEL_INFO,
	};
	(void)snprintf(config->libexec_dir, sizeof(config->libexec_dir), "%s", place_libexec);
}

static int set_number(
	const struct key *key, const char *value, uint32_t *ret, char *problem, size_t size)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0' || *value == '-' || number < key->least ||
		number > key->most) {
		(void)snprintf(problem, size, "%s: expected a number from %u to %u", key->name,
			key->least, key->most);
		return -EINVAL;
	}
	*ret = (uint32_t)number;
	return 0;
}

static int set_switch(
	const struct key *key, const char *value, bool *ret, char *problem, size_t size)
{
	if (strcmp(value, "yes") == 0 || strcmp(value, "no") == 0) {
		*ret = value[0] == 'y';
		return 0;
	}
	(void)snprintf(problem, size, "%s: expected yes or no", key->name);
	return -EINVAL;
}

/* Each is absolute and says where it is by itself. */
static bool are_folders(const char *value)
{
	while (*value) {
		if (*value != '/')
			return false;
		while (*value && *value != ':') {
			size_t len;

			value += strspn(value, "/");
			len = strcspn(value, "/:");
			if ((len == 1 || len == 2) && strncmp(value, "..", len) == 0)
				return false;
			value += len;
		}
		if (*value == ':' && *++value == '\0')
			return false;
	}
	return true;
}

static int set_text(const struct key *key, const char *value, char *ret, char *problem, size_t size)
{
	if (strlen(value) >= key->size) {
		(void)snprintf(
			problem, size, "%s: longer than %zu bytes", key->name, key->size - 1);
		return -EINVAL;
	}
	if (key->kind == TEXT && value[0] == '\0') {
		(void)snprintf(problem, size, "%s: must not be empty", key->name);
		return -EINVAL;
	}
	if (key->kind != TEXT && key->kind != WORDS && value[0] != '/' &&
		(key->kind == PATH || value[0] != '\0')) {
		(void)snprintf(problem, size, "%s: expected an absolute path", key->name);
		return -EINVAL;
	}
	if (key->kind == FOLDERS && !are_folders(value)) {
		(void)snprintf(problem, size,
			"%s: expected absolute paths without \".\" and \"..\", with colons between",
			key->name);
		return -EINVAL;
	}
	(void)snprintf(ret, key->size, "%s", value);
	return 0;
}

int config_set(
	struct config *config, const char *name, const char *value, char *problem, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct key *key = &keys[i];
		void *at = (char *)config + key->offset;

		if (strcmp(key->name, name) != 0)
			continue;
		switch (key->kind) {
		case NUMBER:
			return set_number(key, value, at, problem, size);
		case SWITCH:
			return set_switch(key, value, at, problem, size);
		case LEVEL:
			if (log_level_parse(value, at) == 0)
				return 0;
			(void)snprintf(problem, size, "%s: expected %s", name, key->meaning);
			return -EINVAL;
		case TEXT:
		case WORDS:
		case PATH:
		case PLACE:
		case FOLDERS:
			return set_text(key, value, at, problem, size);
		}
	}
	(void)snprintf(problem, size, "%.64s: no such key; posternd check-config lists them", name);
	return -EINVAL;
}

/* Cuts white space off both ends. */
static char *trim(char *text)
{
	size_t len;

	text += strspn(text, " \t\r\n");
	len = strlen(text);
	while (len > 0 && strchr(" \t\r\n", text[len - 1]))
		text[--len] = '\0';
	return text;
}

int config_read_file(struct config *config, const char *path, char *problem, size_t size)
{
	AUTO_FILE FILE *file = fopen(path, "re");
	char line[LINE_SIZE], bad[256];
	const char *why = "";
	int r;

	if (!file) {
		r = -errno;
		(void)snprintf(problem, size, "%s: %s", path, strerror(errno));
		return r;
	}
	for (unsigned int number = 1; (r = line_read(file, line, &why)) != 0; number++) {
		char *text = trim(line), *equals;

		if (r < 0) {
			(void)snprintf(problem, size, "%s:%u: %s", path, number,
				r == -EINVAL ? why : strerror(-r));
			return r;
		}
		if (text[0] == '#' || text[0] == '\0')
			continue;
		equals = strchr(text, '=');
		if (!equals) {
			(void)snprintf(problem, size, "%s:%u: expected KEY = VALUE", path, number);
			return -EINVAL;
		}
		*equals = '\0';
		if (config_set(config, trim(text), trim(equals + 1), bad, sizeof(bad)) < 0) {
			(void)snprintf(problem, size, "%s:%u: %s", path, number, bad);
			return -EINVAL;
		}
	}
	return 0;
}

int config_read_cmdline(struct config *config, const char *path, char *problem, size_t size)
{
	AUTO_FILE FILE *file = fopen(path, "re");
	char line[4096], why[256], *rest = NULL;

	if (!file || !fgets(line, sizeof(line), file)) {
		(void)snprintf(problem, size, "%s: cannot be read", path);
		return -EIO;
	}
	for (char *word = strtok_r(line, " \t\n", &rest); word;
		word = strtok_r(NULL, " \t\n", &rest)) {
		char *equals = strchr(word, '=');

		if (strncmp(word, "postern.", 8) != 0)
			continue;
		if (!equals) {
			(void)snprintf(
				problem, size, "%s: %.64s: expected postern.KEY=VALUE", path, word);
			return -EINVAL;
		}
		*equals = '\0';
		if (config_set(config, word + 8, equals + 1, why, sizeof(why)) < 0) {
			(void)snprintf(problem, size, "%s: postern.%s", path, why);
			return -EINVAL;
		}
	}
	return 0;
}

void config_print(const struct config *config)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const void *at = (const char *)config + keys[i].offset;
		char value[512];

		switch (keys[i].kind) {
		case NUMBER:
			(void)snprintf(value, sizeof(value), "%u", *(const uint32_t *)at);
			break;
		case SWITCH:
			(void)snprintf(
				value, sizeof(value), "%s", *(const bool *)at ? "yes" : "no");
			break;
		case LEVEL:
			(void)snprintf(value, sizeof(value), "%s",
				log_level_name(*(const enum log_level *)at));
			break;
		case TEXT:
		case WORDS:
		case PATH:
		case PLACE:
		case FOLDERS:
			(void)snprintf(value, sizeof(value), "%s", (const char *)at);
			break;
		}
		printf("%-16s = %-26s # %s\n", keys[i].name, value, keys[i].meaning);
	}
}
