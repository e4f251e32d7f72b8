/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/common/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/cleanup.h"

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

bool vm_name_valid(const char *name)
{
	size_t len = strlen(name);

	return len >= 1 && len <= VM_NAME_MAX && strspn(name, LOWER DIGITS "._-") == len &&
	       strspn(name, "._-") == 0;
}

bool share_tag_valid(const char *tag)
{
	size_t len = strlen(tag);

	return len >= 1 && len <= SHARE_TAG_MAX && strspn(tag, LOWER UPPER DIGITS "._-") == len;
}

/* Digits at the front of text. Returns what follows them, or NULL over UINT64_MAX or without any.
 */
static const char *digits(const char *text, uint64_t *ret_value)
{
	uint64_t value = 0;
	const char *at;

	for (at = text; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(value, 10u, &value) ||
			__builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
			return NULL;
	*ret_value = value;
	return at > text ? at : NULL;
}

int parse_number(const char *text, uint64_t highest, uint64_t *ret_value)
{
	uint64_t value;
	const char *end = digits(text, &value);

	if (!end || *end)
		return -EINVAL;
	if (value > highest)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

int parse_port(const char *text, uint32_t *ret_port)
{
	uint64_t value;

	if (parse_number(text, UINT32_MAX - 1, &value) < 0)
		return -EINVAL;
	*ret_port = (uint32_t)value;
	return 0;
}

int parse_size(const char *text, uint64_t bare_unit, uint64_t *ret_bytes)
{
	static const struct {
		const char *name;
		unsigned shift;
	} units[] = {{"B", 0}, {"K", 10}, {"KiB", 10}, {"M", 20}, {"MiB", 20}, {"G", 30},
		{"GiB", 30}, {"T", 40}, {"TiB", 40}};
	uint64_t value;
	const char *unit = digits(text, &value);

	if (!unit)
		return -EINVAL;
	if (!*unit) {
		if (bare_unit == 0)
			return -EINVAL;
		return __builtin_mul_overflow(value, bare_unit, ret_bytes) ? -ERANGE : 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (strcasecmp(unit, units[i].name) == 0)
			return __builtin_mul_overflow(
				       value, UINT64_C(1) << units[i].shift, ret_bytes)
				       ? -ERANGE
				       : 0;
	return -EINVAL;
}

/* The digits behind a point as billionths; those beyond nine are dropped. NULL without any. */
static const char *fraction(const char *text, uint64_t *ret_billionths)
{
	uint64_t digit = 100000000;
	const char *at;

	*ret_billionths = 0;
	for (at = text; *at >= '0' && *at <= '9'; at++, digit /= 10)
		*ret_billionths += digit * (uint64_t)(*at - '0');
	return at > text ? at : NULL;
}

int parse_duration(const char *text, uint64_t *ret_ms)
{
	static const struct {
		const char *name;
		uint32_t ms;
	} units[] = {
		{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	uint64_t whole, billionths = 0, ms;
	const char *unit = digits(text, &whole);

	if (unit && *unit == '.')
		unit = fraction(unit + 1, &billionths);
	if (!unit)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(unit, units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(whole, units[i].ms, &ms) ||
			__builtin_add_overflow(ms, billionths * units[i].ms / 1000000000, ret_ms))
			return -ERANGE;
		return 0;
	}
	return -EINVAL;
}

const char *format_size(uint64_t bytes, char text[24])
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t unit = 0;
	double value = (double)bytes;

	while (value >= 1024 && unit + 1 < ARRAY_SIZE(names)) {
		value /= 1024;
		unit++;
	}
	(void)snprintf(text, 24,
		unit == 0 || value == (double)(uint64_t)value ? "%.0f %s" : "%.1f %s", value,
		names[unit]);
	return text;
}
