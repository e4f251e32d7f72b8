/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent/methods/place.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/replace.h"

#define ZONES    "/usr/share/zoneinfo"
#define LINK     "/etc/localtime"
#define NAMED_IN "/etc/timezone"
#define ZONE_MAX 255

/* localtime(5): the link's target behind ".../zoneinfo/". Else Debian's older way. */
static ProtobufCBinaryData read_name(struct call *call)
{
	char text[PATH_MAX] = "";
	ssize_t n = readlink(LINK, text, sizeof(text) - 1);
	const char *name = n > 0 ? strstr(text, "/zoneinfo/") : NULL;
	AUTO_FILE FILE *file = NULL;

	if (name)
		return call_text(call, name + strlen("/zoneinfo/"));
	file = fopen(NAMED_IN, "re");
	if (!file || !fgets(text, ZONE_MAX, file))
		return (ProtobufCBinaryData){0};
	text[strcspn(text, "\n")] = '\0';
	return call_text(call, text);
}

static int describe(struct call *call, Postern__V1__TimeZoneReply *zone)
{
	time_t now = time(NULL);
	struct tm local;

	/* It reads the file again when it is another one. */
	tzset();
	if (!localtime_r(&now, &local))
		return -EOVERFLOW;
	zone->zone = read_name(call);
	zone->has_zone = zone->zone.len > 0;
	zone->abbreviation = arena_strdup(call->arena, local.tm_zone);
	zone->has_offset_s = true;
	zone->offset_s = (int32_t)local.tm_gmtoff;
	return 0;
}

int time_zone(struct call *call, const Postern__V1__TimeZoneRequest *request,
	Postern__V1__TimeZoneReply *reply)
{
	(void)request;
	return describe(call, reply);
}

/* A zone is what the guest's own files have; nothing outside of them is opened. */
static int check_zone(struct call *call, const char *zone)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	AUTO_CLOSE int zones = open(ZONES, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = -EBADF;
	char magic[4];

	if (zones < 0)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, errno,
			"this guest has no time zones: %s is missing (tzdata)", ZONES);
	fd = (int)syscall(SYS_openat2, zones, zone, &how, sizeof(how));
	if (fd < 0 || pread(fd, magic, sizeof(magic), 0) != sizeof(magic) ||
		memcmp(magic, "TZif", sizeof(magic)) != 0)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, fd < 0 ? errno : 0,
			"%s: no time zone of this guest, which has those of %s", zone, ZONES);
	return 0;
}

static int replace_link(const char *zone)
{
	char target[PATH_MAX];
	const char *beside = LINK ".new";

	(void)snprintf(target, sizeof(target), "..%s/%s", ZONES, zone);
	if (unlink(beside) < 0 && errno != ENOENT)
		return -errno;
	if (symlink(target, beside) < 0)
		return -errno;
	if (rename(beside, LINK) < 0) {
		int r = -errno;

		(void)unlink(beside);
		return r;
	}
	return 0;
}

/* Where this file is, programs go by it. */
static int replace_name(struct call *call, const char *zone)
{
	char *line = arena_printf(call->arena, "%s\n", zone);
	struct stat st;

	if (!line)
		return -ENOMEM;
	if (lstat(NAMED_IN, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	return replace_file(AT_FDCWD, NAMED_IN, st.st_mode & 07777, line, strlen(line));
}

int time_set_zone(struct call *call, const Postern__V1__TimeSetZoneRequest *request,
	Postern__V1__TimeSetZoneReply *reply)
{
	char *zone = call_string(call, request->has_zone, &request->zone, ZONE_MAX, "zone");
	int r;

	reply->before = arena_alloc(call->arena, sizeof(*reply->before));
	reply->zone = arena_alloc(call->arena, sizeof(*reply->zone));
	if (!zone || !reply->before || !reply->zone)
		return zone ? -ENOMEM : -EINVAL;
	postern__v1__time_zone_reply__init(reply->before);
	postern__v1__time_zone_reply__init(reply->zone);
	r = place_check(call, ZONES, TOUCH_LOOK);
	if (r == 0)
		r = check_zone(call, zone);
	if (r == 0)
		r = describe(call, reply->before);
	if (r == 0)
		r = place_check(call, LINK, TOUCH_WRITE);
	if (r < 0)
		return r;
	worker_changing(call);
	r = replace_link(zone);
	if (r == 0)
		r = replace_name(call, zone);
	worker_touch_done(call);
	if (r < 0)
		return call_fail_errno(call, r, "%s", LINK);
	return describe(call, reply->zone);
}
