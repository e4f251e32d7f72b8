/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/log_time.h"

#include <errno.h>
#include <string.h>

#include "host/common/text.h"
#include "proto/cleanup.h"

#define USEC_PER_SEC  1000000
#define USEC_PER_MSEC 1000

/* A form of strptime(3) that takes all of the text. */
static int parse_form(const char *text, const char *form, struct tm *tm)
{
	const char *end = strptime(text, form, tm);

	return end && *end == '\0' ? 0 : -EINVAL;
}

/* Midnight of the day so many days from now. */
static int parse_day(time_t now, int days, struct tm *ret)
{
	if (!localtime_r(&now, ret))
		return -EINVAL;
	ret->tm_mday += days;
	ret->tm_hour = ret->tm_min = ret->tm_sec = 0;
	ret->tm_isdst = -1;
	return 0;
}

static int parse_calendar(const char *text, time_t now, struct tm *ret)
{
	static const char *const forms[] = {
		"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"};
	static const char *const times[] = {"%H:%M:%S", "%H:%M"};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		*ret = (struct tm){.tm_isdst = -1};
		if (parse_form(text, forms[i], ret) == 0)
			return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		if (parse_day(now, 0, ret) == 0 && parse_form(text, times[i], ret) == 0)
			return 0;
	if (strcmp(text, "today") == 0)
		return parse_day(now, 0, ret);
	return strcmp(text, "yesterday") == 0 ? parse_day(now, -1, ret) : -EINVAL;
}

/* "-1h", "1h ago". */
static int parse_ago(const char *text, time_t now, int64_t *ret_us)
{
	static const char ago[] = " ago";
	size_t len = strlen(text), tail = sizeof(ago) - 1;
	AUTO_FREE char *time = NULL;
	uint64_t ms;

	if (text[0] == '-')
		time = strdup(text + 1);
	else if (len > tail && strcmp(text + len - tail, ago) == 0)
		time = strndup(text, len - tail);
	if (!time || parse_duration(time, &ms) < 0 || ms > INT64_MAX / USEC_PER_MSEC)
		return -EINVAL;
	*ret_us = (int64_t)now * USEC_PER_SEC - (int64_t)ms * USEC_PER_MSEC;
	return 0;
}

int parse_moment(const char *text, time_t now, int64_t *ret_us)
{
	uint64_t s;
	struct tm tm;

	if (text[0] == '@') {
		if (parse_number(text + 1, INT64_MAX / USEC_PER_SEC, &s) < 0)
			return -EINVAL;
		*ret_us = (int64_t)s * USEC_PER_SEC;
		return 0;
	}
	if (strcmp(text, "now") == 0)
		*ret_us = (int64_t)now * USEC_PER_SEC;
	else if (parse_calendar(text, now, &tm) == 0)
		*ret_us = (int64_t)mktime(&tm) * USEC_PER_SEC;
	else
		return parse_ago(text, now, ret_us);
	return 0;
}
