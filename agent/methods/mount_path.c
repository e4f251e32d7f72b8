/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/mount_path.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "agent/methods/mount_text.h"

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* mountinfo(5): space, tab, newline and backslash stand there as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *at = text; *at;) {
		if (at[0] == '\\' && is_octal(at[1]) && is_octal(at[2]) && is_octal(at[3])) {
			*to++ = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
			at += 4;
		} else {
			*to++ = *at++;
		}
	}
	*to = '\0';
}

/* "36 35 98:0 /root /target ..."; false for what is no such line: the kernel's next version may
 * write others. */
static bool take_line(char *line, struct mount_point *ret)
{
	unsigned int major, minor;
	int at = 0;
	char *end;

	if (sscanf(line, "%d %d %u:%u %*s %n", &ret->id, &ret->parent_id, &major, &minor, &at) !=
			4 ||
		at == 0)
		return false;
	end = strchr(line + at, ' ');
	if (!end || line[at] != '/')
		return false;
	*end = '\0';
	unescape(line + at);
	ret->device = makedev(major, minor);
	ret->target = line + at;
	ret->len = strlen(ret->target);
	return true;
}

void mount_map_done(struct mount_map *map)
{
	buffer_clear(&map->text);
	free(map->points);
	*map = (struct mount_map){0};
}

int mount_map_parse(struct buffer text, struct mount_map *ret)
{
	size_t lines = 1;
	char *rest;

	*ret = (struct mount_map){.text = text};
	if (buffer_append(&ret->text, "", 1) < 0) {
		mount_map_done(ret);
		return -ENOMEM;
	}
	rest = (char *)buffer_front(&ret->text);
	for (const char *at = rest; (at = strchr(at, '\n')); at++)
		lines++;
	ret->points = calloc(lines, sizeof(*ret->points));
	if (!ret->points) {
		mount_map_done(ret);
		return -ENOMEM;
	}
	for (char *line; (line = strsep(&rest, "\n"));)
		ret->n += take_line(line, &ret->points[ret->n]);
	return 0;
}

int mount_map_own(struct mount_map *ret)
{
	struct buffer text = {0};
	int r = mount_text_own(&text);

	if (r < 0) {
		buffer_clear(&text);
		*ret = (struct mount_map){0};
		return r;
	}
	return mount_map_parse(text, ret);
}

static bool lies_on(const char *path, const struct mount_point *point)
{
	return point->len == 1 || (strncmp(path, point->target, point->len) == 0 &&
					  (path[point->len] == '\0' || path[point->len] == '/'));
}

static bool has_id(const struct mount_map *map, int id, const struct mount_point *except)
{
	for (size_t i = 0; i < map->n; i++)
		if (&map->points[i] != except && map->points[i].id == id)
			return true;
	return false;
}

/*
 * The mount that a look-up meets next on its way through below (NULL: where it begins). Of those on
 * the way the first one hides the others, which were mounted before it.
 */
static const struct mount_point *find_next(
	const struct mount_map *map, const struct mount_point *below, const char *path)
{
	const struct mount_point *found = NULL;

	for (size_t i = 0; i < map->n; i++) {
		const struct mount_point *point = &map->points[i];

		if (point == below || !lies_on(path, point) || (found && point->len > found->len))
			continue;
		/* The first one's parent is in another namespace, or itself. */
		if (below ? point->parent_id == below->id : !has_id(map, point->parent_id, point))
			found = point;
	}
	return found;
}

int mount_path_crossings(const struct mount_map *map, const char *path,
	struct crossing ret[CROSSINGS_MAX], size_t *ret_n)
{
	const struct mount_point *point = find_next(map, NULL, path);
	size_t most = map->n;

	ret[0] = (struct crossing){.len = 1};
	*ret_n = 1;
	/* Each mount is met once; a table that says otherwise is not followed for ever. */
	for (; point && most > 0; point = find_next(map, point, path), most--) {
		/* What is mounted over another's root is all that a look-up meets. */
		if (point->len != ret[*ret_n - 1].len)
			++*ret_n;
		if (*ret_n > CROSSINGS_MAX)
			return -E2BIG;
		ret[*ret_n - 1] = (struct crossing){.device = point->device, .len = point->len};
	}
	return 0;
}
