/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/mount_options.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>

#include "proto/cleanup.h"

#define OPTIONS_MAX 64
#define VALUE_MAX   4096

/* Flags of the mount: bits that are set, and those that are cleared first. */
static const struct {
	const char *key;
	uint64_t set, clear;
} attributes_of[] = {
	{"ro", MOUNT_ATTR_RDONLY, 0},
	{"rw", 0, MOUNT_ATTR_RDONLY},
	{"nosuid", MOUNT_ATTR_NOSUID, 0},
	{"suid", 0, MOUNT_ATTR_NOSUID},
	{"nodev", MOUNT_ATTR_NODEV, 0},
	{"dev", 0, MOUNT_ATTR_NODEV},
	{"noexec", MOUNT_ATTR_NOEXEC, 0},
	{"exec", 0, MOUNT_ATTR_NOEXEC},
	{"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
	{"relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
	{"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
	{"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
	{"diratime", 0, MOUNT_ATTR_NODIRATIME},
};

bool mount_attribute(const char *key, uint64_t *attributes)
{
	for (size_t i = 0; i < ARRAY_SIZE(attributes_of); i++) {
		if (strcmp(attributes_of[i].key, key) != 0)
			continue;
		if (attributes) {
			*attributes &= ~attributes_of[i].clear;
			*attributes |= attributes_of[i].set;
		}
		return true;
	}
	return false;
}

unsigned int mount_attributes(Postern__V1__MountOption **options, size_t n)
{
	uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

	for (size_t i = 0; i < n; i++)
		(void)mount_attribute(options[i]->key, &attributes);
	return (unsigned int)attributes;
}

bool mount_read_only(Postern__V1__MountOption **options, size_t n)
{
	return mount_attributes(options, n) & MOUNT_ATTR_RDONLY;
}

int mount_type_check(struct call *call, const char *name, const struct fs_type **ret_type)
{
	if (!name || name[0] == '\0')
		return call_fail(
			call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "type: must be given");
	*ret_type = fs_type_find(name);
	if (*ret_type)
		return 0;
	return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
		"type: %.32s is not one of the types that may be mounted", name);
}

static int check_one(
	struct call *call, const struct fs_type *type, const Postern__V1__MountOption *option)
{
	bool has_value = option->has_value && option->value.len > 0;

	if (!option->key || option->key[0] == '\0')
		return call_fail(
			call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "options: a key is missing");
	if (mount_attribute(option->key, NULL)) {
		if (!has_value)
			return 0;
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"options: %s takes no value", option->key);
	}
	if (type->secret &&
		(strcmp(option->key, type->secret) == 0 || strcmp(option->key, "password") == 0))
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"options: %s is a secret, which has a field of its own in shares.mount",
			option->key);
	if (!fs_type_takes(type, option->key))
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"options: %.64s is not an option that %s may be mounted with", option->key,
			type->name);
	if (has_value && !call_string(call, true, &option->value, VALUE_MAX, option->key))
		return -EINVAL;
	return 0;
}

int mount_options_check(
	struct call *call, const struct fs_type *type, Postern__V1__MountOption **options, size_t n)
{
	int r = 0;

	if (n > OPTIONS_MAX)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"options: at most %d", OPTIONS_MAX);
	for (size_t i = 0; i < n && r == 0; i++) {
		r = check_one(call, type, options[i]);
		for (size_t j = 0; j < i && r == 0; j++)
			if (strcmp(options[i]->key, options[j]->key) == 0 &&
				strcmp(type->name, "overlay") != 0)
				r = call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
					"options: %s is given twice", options[i]->key);
	}
	return r;
}
