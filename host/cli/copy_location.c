/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/copy_location.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "proto/copy/copy.h"

void copy_location_parse(const char *word, struct copy_location *ret)
{
	const char *colon = strchr(word, ':'), *slash = strchr(word, '/');

	*ret = (struct copy_location){.path = word};
	if (word[0] == '[') {
		colon = strstr(word, "]:");
		if (!colon)
			return;
		ret->vm = strndup(word + 1, (size_t)(colon - word - 1));
		ret->path = colon + 2;
	} else if (colon && colon != word && (!slash || colon < slash)) {
		ret->vm = strndup(word, (size_t)(colon - word));
		ret->path = colon + 1;
	}
}

static bool is_same_machine(const struct copy_location *a, const struct copy_location *b)
{
	return a->vm && b->vm ? strcmp(a->vm, b->vm) == 0 : !a->vm && !b->vm;
}

static bool is_absolute(const struct copy_location *location)
{
	return !location->vm || location->path[0] == '/';
}

/* Another one of the same name: the second would replace the first. The same one twice does no
 * harm. */
static bool has_namesake(const struct copy_location *from, size_t i)
{
	size_t len, other_len;
	const char *name = copy_name_of(from[i].path, &len), *other;

	for (size_t j = 0; j < i; j++) {
		other = copy_name_of(from[j].path, &other_len);
		if (len == other_len && memcmp(name, other, len) == 0 &&
			strcmp(from[i].path, from[j].path) != 0)
			return true;
	}
	return false;
}

const char *copy_location_check(
	const struct copy_location *from, size_t n, const struct copy_location *to)
{
	bool absolute = is_absolute(to);

	for (size_t i = 0; i < n; i++) {
		if (!is_same_machine(&from[i], &from[0]))
			return "all that is copied must be of one machine";
		if (has_namesake(from, i))
			return "two of these have the same name: one would replace the other";
		absolute = absolute && is_absolute(&from[i]);
	}
	if (!from[0].vm && !to->vm)
		return "neither side is a guest's: VM:PATH";
	return absolute ? NULL : "a guest's path is absolute: VM:/PATH";
}
