/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's half of shares. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/common/text.h"
#include "host/lib/control_client.h"
#include "host/lib/share_config.h"
#include "proto/cleanup.h"

#define PLUG_MS   25000 /* virtiofsd's start and two commands to the VMM */
#define UNPLUG_MS 30000 /* the guest has to let go */

/* "data-5f3a" for /srv/data: a person recognises it, and it never meets another one. */
static void make_tag(
	const char *source, const struct vm_config *config, char tag[SHARE_TAG_MAX + 1])
{
	const char *base = strrchr(source, '/');
	char stem[SHARE_TAG_MAX + 1];
	uint16_t number = 0;
	size_t len = 0;

	base = base && base[1] ? base + 1 : "share";
	for (; *base && len < SHARE_TAG_MAX - 5; base++) {
		char one[2] = {*base, '\0'};

		stem[len++] = share_tag_valid(one) ? *base : '-';
	}
	stem[len] = '\0';
	do {
		if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
			number++;
		(void)snprintf(tag, SHARE_TAG_MAX + 1, "%.31s-%04x", stem, number);
	} while (config && vm_config_find_share(config, tag) >= 0);
}

int share_config_fill(const struct postern_share *share, const struct vm_config *config,
	char source[PATH_MAX], char *tag, struct share_config *ret_share,
	struct postern_error *error)
{
	struct stat st;

	if (!realpath(share->source, source) || stat(source, &st) < 0)
		return fail_errno(error, POSTERN_USAGE, errno, "%s", share->source);
	if (!S_ISDIR(st.st_mode))
		return fail(error, POSTERN_USAGE, ENOTDIR, "%s is not a folder", share->source);
	if (share->target && share->target[0] != '/')
		return fail(error, POSTERN_USAGE, EINVAL,
			"where a share is mounted in the guest is an absolute path");
	if (share->tag && !share_tag_valid(share->tag))
		return fail(error, POSTERN_USAGE, EINVAL,
			"a share's tag has 1 to %d letters, digits, dots, underscores and dashes",
			SHARE_TAG_MAX);
	if (config && config->n_shares == VM_SHARES_MAX)
		return fail(error, POSTERN_USAGE, E2BIG, "at most %d shares", VM_SHARES_MAX);
	if (share->tag)
		(void)snprintf(tag, SHARE_TAG_MAX + 1, "%s", share->tag);
	else
		make_tag(source, config, tag);
	*ret_share = (struct share_config){
		.tag = tag,
		.source = source,
		.target = (char *)share->target,
		.read_only = share->read_only,
		.persistent = share->persistent,
		.p9 = share->p9,
	};
	return 0;
}

int postern_share_plug(const char *name, const struct postern_share *share, char ret_tag[37],
	struct postern_error *error)
{
	struct share_config config;
	char source[PATH_MAX], tag[SHARE_TAG_MAX + 1];
	json_t *arguments;
	int r = share_config_fill(share, NULL, source, tag, &config, error);

	if (r < 0)
		return r;
	arguments = share_config_to_json(&config);
	if (!arguments)
		return fail(error, POSTERN_USAGE, EILSEQ, "the share's paths are not UTF-8");
	r = control_call_vm(name, "share-add", arguments, PLUG_MS, NULL, error);
	if (r == 0)
		memcpy(ret_tag, tag, sizeof(tag));
	return r;
}

int postern_share_unplug(const char *name, const char *tag, struct postern_error *error)
{
	return control_call_vm(
		name, "share-remove", json_pack("{s:s}", "tag", tag), UNPLUG_MS, NULL, error);
}
