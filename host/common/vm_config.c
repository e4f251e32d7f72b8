/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/common/vm_config.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/common/text.h"
#include "proto/cleanup.h"

enum field_type { TEXT, NEEDED_TEXT, FLAG, NUMBER32, NUMBER64 };

static const struct field {
	const char *key;
	enum field_type type;
	size_t offset;
} fields[] = {
	{"name", NEEDED_TEXT, offsetof(struct vm_config, name)},
	{"driver", NEEDED_TEXT, offsetof(struct vm_config, driver)},
	{"vmm", NEEDED_TEXT, offsetof(struct vm_config, vmm)},
	{"virtiofsd", TEXT, offsetof(struct vm_config, virtiofsd)},
	{"vsockd", TEXT, offsetof(struct vm_config, vsockd)},
	{"kernel", TEXT, offsetof(struct vm_config, kernel)},
	{"initrd", TEXT, offsetof(struct vm_config, initrd)},
	{"cmdline", TEXT, offsetof(struct vm_config, cmdline)},
	{"restore", TEXT, offsetof(struct vm_config, restore)},
	{"image", TEXT, offsetof(struct vm_config, image)},
	{"image_qcow2", FLAG, offsetof(struct vm_config, image_qcow2)},
	{"image_read_only", FLAG, offsetof(struct vm_config, image_read_only)},
	{"memory_bytes", NUMBER64, offsetof(struct vm_config, memory_bytes)},
	{"plug_bytes", NUMBER64, offsetof(struct vm_config, plug_bytes)},
	{"plug_block_bytes", NUMBER64, offsetof(struct vm_config, plug_block_bytes)},
	{"cpus", NUMBER32, offsetof(struct vm_config, cpus)},
	{"kvm", FLAG, offsetof(struct vm_config, kvm)},
	{"vsock_kernel", FLAG, offsetof(struct vm_config, vsock_kernel)},
	{"cid", NUMBER32, offsetof(struct vm_config, cid)},
	{"lease", TEXT, offsetof(struct vm_config, lease)},
	{"devices", NUMBER32, offsetof(struct vm_config, devices)},
	{"ready_ms", NUMBER32, offsetof(struct vm_config, ready_ms)},
	{"keep_silent", FLAG, offsetof(struct vm_config, keep_silent)},
};

static void share_config_done(struct share_config *share)
{
	free(share->tag);
	free(share->source);
	free(share->target);
}

void vm_config_done(struct vm_config *config)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (fields[i].type == TEXT || fields[i].type == NEEDED_TEXT)
			free(*(char **)((char *)config + fields[i].offset));
	for (size_t i = 0; i < config->n_shares; i++)
		share_config_done(&config->shares[i]);
	free(config->shares);
	*config = (struct vm_config){0};
}

static json_t *field_to_json(const struct field *field, const void *at)
{
	switch (field->type) {
	case TEXT:
	case NEEDED_TEXT:
		return *(char *const *)at ? json_string(*(char *const *)at) : json_null();
	case FLAG:
		return json_boolean(*(const bool *)at);
	case NUMBER32:
		return json_integer(*(const uint32_t *)at);
	case NUMBER64:
		return json_integer((json_int_t) * (const uint64_t *)at);
	}
	return NULL;
}

json_t *share_config_to_json(const struct share_config *share)
{
	return json_pack("{s:s, s:s, s:s*, s:s, s:b, s:b}", "tag", share->tag, "source",
		share->source, "target", share->target, "type", share->p9 ? "9p" : "virtiofs",
		"read_only", share->read_only, "persistent", share->persistent);
}

json_t *vm_config_to_json(const struct vm_config *config)
{
	AUTO_JSON json_t *object = json_object();
	json_t *shares = json_array();
	int r = json_object_set_new(object, "shares", shares);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fields); i++)
		r = json_object_set_new(object, fields[i].key,
			field_to_json(&fields[i], (const char *)config + fields[i].offset));
	for (size_t i = 0; r == 0 && i < config->n_shares; i++)
		r = json_array_append_new(shares, share_config_to_json(&config->shares[i]));
	return r == 0 ? take_ptr(object) : NULL;
}

static int text_from_json(const struct field *field, const json_t *value, char **ret_text)
{
	if (json_is_null(value) && field->type == TEXT)
		return 0;
	if (!json_is_string(value))
		return -EINVAL;
	*ret_text = strdup(json_string_value(value));
	return *ret_text ? 0 : -ENOMEM;
}

static int number_from_json(const json_t *value, json_int_t highest, json_int_t *ret_number)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		json_integer_value(value) > highest)
		return -EINVAL;
	*ret_number = json_integer_value(value);
	return 0;
}

static int field_from_json(const struct field *field, const json_t *value, void *at)
{
	json_int_t number = 0;
	int r;

	switch (field->type) {
	case TEXT:
	case NEEDED_TEXT:
		return text_from_json(field, value, at);
	case FLAG:
		if (!json_is_boolean(value))
			return -EINVAL;
		*(bool *)at = json_is_true(value);
		return 0;
	case NUMBER32:
		r = number_from_json(value, UINT32_MAX, &number);
		*(uint32_t *)at = (uint32_t)number;
		return r;
	case NUMBER64:
		r = number_from_json(value, INT64_MAX, &number);
		*(uint64_t *)at = (uint64_t)number;
		return r;
	}
	return -EINVAL;
}

int vm_config_add_share(struct vm_config *config, const struct share_config *share)
{
	struct share_config *shares =
		reallocarray(config->shares, config->n_shares + 1, sizeof(*shares));
	struct share_config copy = {
		.read_only = share->read_only, .persistent = share->persistent, .p9 = share->p9};

	if (!shares)
		return -ENOMEM;
	config->shares = shares;
	copy.tag = strdup(share->tag);
	copy.source = strdup(share->source);
	copy.target = share->target ? strdup(share->target) : NULL;
	if (!copy.tag || !copy.source || (share->target && !copy.target)) {
		share_config_done(&copy);
		return -ENOMEM;
	}
	config->shares[config->n_shares++] = copy;
	return 0;
}

int vm_config_find_share(const struct vm_config *config, const char *tag)
{
	for (size_t i = 0; i < config->n_shares; i++)
		if (strcmp(config->shares[i].tag, tag) == 0)
			return (int)i;
	return -1;
}

int share_config_from_json(
	const json_t *object, struct share_config *ret_share, struct postern_error *error)
{
	const char *type = json_field_string(object, "type", "virtiofs");

	if (strcmp(type, "virtiofs") != 0 && strcmp(type, "9p") != 0)
		return fail(error, POSTERN_USAGE, EINVAL,
			"a share of the host is of type virtiofs or 9p");
	*ret_share = (struct share_config){
		.tag = (char *)json_field_string(object, "tag", ""),
		.source = (char *)json_field_string(object, "source", ""),
		.target = (char *)json_field_string(object, "target", NULL),
		.read_only = json_field_bool(object, "read_only", false),
		.persistent = json_field_bool(object, "persistent", false),
		.p9 = strcmp(type, "9p") == 0,
	};
	if (!share_tag_valid(ret_share->tag))
		return fail(error, POSTERN_USAGE, EINVAL,
			"a share's tag has 1 to %d letters, digits, dots, underscores and dashes",
			SHARE_TAG_MAX);
	if (ret_share->source[0] != '/' || (ret_share->target && ret_share->target[0] != '/'))
		return fail(error, POSTERN_USAGE, EINVAL,
			"a share's folders are absolute paths, of the host and of the guest");
	return 0;
}

static int shares_from_json(
	const json_t *shares, struct vm_config *config, struct postern_error *error)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(shares, i, entry)
	{
		struct share_config share = {0};
		int r = share_config_from_json(entry, &share, error);

		if (r < 0)
			return r;
		if (!share.tag || vm_config_find_share(config, share.tag) >= 0 ||
			i >= VM_SHARES_MAX)
			return fail(error, POSTERN_USAGE, EINVAL,
				"shares: at most %d, each with a tag of its own", VM_SHARES_MAX);
		if (vm_config_add_share(config, &share) < 0)
			return fail(error, POSTERN_ANSWERED, ENOMEM, "out of memory");
	}
	return 0;
}

static int check(const struct vm_config *config, struct postern_error *error)
{
	const char *problem = NULL;

	if (!vm_name_valid(config->name))
		problem = "name";
	else if (config->memory_bytes < (UINT64_C(32) << 20) || config->memory_bytes % 4096 != 0)
		problem = "memory_bytes";
	else if (config->plug_bytes % VM_PLUG_UNIT != 0 || config->plug_bytes > VM_PLUG_MOST)
		problem = "plug_bytes";
	else if (config->cpus < 1 || config->cpus > VM_CPUS_MAX)
		problem = "cpus";
	else if (config->cid < 3 || config->cid == UINT32_MAX)
		problem = "cid";
	else if (!config->kernel && !config->image)
		problem = "kernel";
	return problem ? fail(error, POSTERN_USAGE, EINVAL, "vm.json: bad value of %s", problem)
		       : 0;
}

int vm_config_from_json(
	const json_t *object, struct vm_config *ret_config, struct postern_error *error)
{
	struct vm_config config = {0};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fields); i++) {
		r = field_from_json(&fields[i], json_object_get(object, fields[i].key),
			(char *)&config + fields[i].offset);
		if (r < 0)
			r = fail(error, POSTERN_USAGE, -r, "vm.json: bad value of %s",
				fields[i].key);
	}
	if (r == 0)
		r = shares_from_json(json_object_get(object, "shares"), &config, error);
	if (r == 0)
		r = check(&config, error);
	if (r < 0) {
		vm_config_done(&config);
		return r;
	}
	*ret_config = config;
	return 0;
}
