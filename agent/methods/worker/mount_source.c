/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/mount_source.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "proto/clock.h"

#define TAG_MAX    36 /* virtio 1.2, 5.11.4: the tag of a file system device */
#define TAG_9P_MAX 127
#define RETRY_NS   20000000

static int check_tag(struct call *call, const struct fs_type *type, const char *tag)
{
	size_t most = strcmp(type->name, "virtiofs") == 0 ? TAG_MAX : TAG_9P_MAX;

	if (strlen(tag) > most)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"source: a tag of %s has at most %zu bytes", type->name, most);
	for (const char *at = tag; *at; at++)
		if (*at <= ' ' || *at == ',' || *at == 0x7f)
			return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
				"source: a tag holds neither blanks nor commas");
	return 0;
}

int mount_source_check(
	struct call *call, bool has, const ProtobufCBinaryData *source, struct mount_wish *wish)
{
	if (wish->type->source == SOURCE_NONE) {
		if (has && source->len > 0)
			return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
				"source: %s has none", wish->type->name);
		return 0;
	}
	wish->source = call_string(call, has, source, PATH_MAX - 1, "source");
	if (!wish->source)
		return -EINVAL;
	if (wish->type->source == SOURCE_TAG)
		return check_tag(call, wish->type, wish->source);
	if (wish->type->source == SOURCE_DEVICE && strncmp(wish->source, "/dev/", 5) != 0)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"source: expected a block device below /dev");
	return 0;
}

/* The links of /dev/disk/by-* are followed, but never out of /dev. */
static int look_at_device(const char *source)
{
	char real[PATH_MAX];
	struct stat st;

	if (!realpath(source, real))
		return -errno;
	if (strncmp(real, "/dev/", 5) != 0)
		return -EXDEV;
	if (stat(real, &st) < 0)
		return -errno;
	return S_ISBLK(st.st_mode) ? 0 : -ENOTBLK;
}

int mount_source_wait(struct call *call, const struct mount_wish *wish)
{
	uint64_t until = monotonic_ns() + wish->wait_ms * NSEC_PER_MSEC;
	int r;

	if (wish->type->source != SOURCE_DEVICE)
		return 0;
	while ((r = look_at_device(wish->source)) == -ENOENT && monotonic_ns() < until)
		(void)nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
	if (r == -ENOENT)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENOENT, "%s: no such device%s",
			wish->source,
			wish->wait_ms ? ", although it was waited for"
				      : "; wait_ms waits for one that is being plugged in");
	if (r == -EXDEV)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, EXDEV,
			"%s: leads out of /dev", wish->source);
	return r < 0 ? call_fail_errno(call, r, "%s", wish->source) : 0;
}
