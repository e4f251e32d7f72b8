/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/lent.h"

#include <string.h>
#include <unistd.h>

#define FIRST_ROOM 8192
#define TEXT_MAX   (512u << 10)

char *lent_text(struct call *call, int fd)
{
	size_t size = FIRST_ROOM, len = 0;
	char *text = arena_alloc(call->arena, size);

	while (text && fd >= 0) {
		ssize_t n = pread(fd, text + len, size - len - 1, (off_t)len);
		char *larger;

		if (n <= 0)
			break;
		len += (size_t)n;
		if (len < size - 1)
			continue;
		if (size >= TEXT_MAX)
			break;
		larger = arena_alloc(call->arena, size * 2);
		if (!larger)
			break;
		text = memcpy(larger, text, len);
		size *= 2;
	}
	return text ? text : (char *)"";
}
