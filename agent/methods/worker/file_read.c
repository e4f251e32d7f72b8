/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "agent/methods/digest.h"
#include "agent/methods/file_work.h"

#define PART_BYTES (192u << 10) /* of one response, so that any caller's frames hold it */

/* As many bytes as there are, up to len. 0 or -errno. */
static int read_full(int fd, uint8_t *buffer, size_t len, uint64_t offset, size_t *ret)
{
	for (*ret = 0; *ret < len;) {
		ssize_t n = pread(fd, buffer + *ret, len - *ret, (off_t)(offset + *ret));

		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		*ret += (size_t)n;
	}
	return 0;
}

/* One part at a time: the last one goes with the reply, so it is known before the one ahead of it
 * is sent whether there is another. */
static int read_parts(struct call *call, int fd, struct file_reading *reading)
{
	size_t part = call->max_frame / 2 < PART_BYTES ? call->max_frame / 2 : PART_BYTES;
	ProtobufCBinaryData *piece = arena_alloc(call->arena, sizeof(*piece));
	uint8_t *buffer = arena_take(call->arena, part);

	if (!buffer || !piece)
		return -ENOMEM;
	piece->data = buffer;
	for (uint64_t done = 0;;) {
		uint64_t left = reading->length - done;
		size_t wanted = left < part ? (size_t)left : part, n;
		int r = read_full(fd, buffer, wanted, reading->offset + done, &n);
		bool end = n < wanted, last = end || done + n == reading->length;

		if (r < 0)
			return r;
		done += n;
		piece->len = n;
		reading->put(reading->reply, piece, last, end);
		if (last)
			return 0;
		r = call_more(call, reading->reply);
		if (r < 0)
			return r;
	}
}

int file_read(struct call *call, const struct file_place *place, struct file_reading *reading)
{
	AUTO_CLOSE int fd = -EBADF;
	int r;

	if (reading->length > READ_MOST)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"length: at most %u MiB; a whole file is copied",
			(unsigned int)(READ_MOST >> 20));
	if (reading->offset > INT64_MAX - READ_MOST)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, EOVERFLOW,
			"offset: no file is as long");
	r = file_open_regular(call, place, O_RDONLY, &fd);
	if (r < 0)
		return r;
	r = read_parts(call, fd, reading);
	return r < 0 && !call->error ? file_fail(call, place, r) : r;
}

const struct digest_algorithm *file_algorithm(struct call *call, const char *name)
{
	const struct digest_algorithm *algorithm = digest_find(name ? name : DIGEST_DEFAULT);

	if (!algorithm)
		(void)call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"algorithm: expected one of %s", digest_names());
	return algorithm;
}

int file_footprint(struct call *call, const struct file_place *place, const char *name,
	char **ret_footprint, const char **ret_name, uint64_t *ret_size)
{
	const struct digest_algorithm *algorithm = file_algorithm(call, name);
	AUTO_CLOSE int fd = -EBADF;
	char text[DIGEST_TEXT_MAX];
	int r;

	if (!algorithm)
		return -EINVAL;
	r = file_open_regular(call, place, O_RDONLY, &fd);
	if (r < 0)
		return r;
	r = digest_file(algorithm, fd, text, ret_size);
	if (r < 0)
		return file_fail(call, place, r);
	*ret_name = digest_name(algorithm);
	*ret_footprint = arena_strdup(call->arena, text);
	return *ret_footprint ? 0 : -ENOMEM;
}
