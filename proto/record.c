/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/record.h"

#include <errno.h>

#include "proto/limits.h"

void record_reader_init(struct record_reader *reader, const ProtobufCMessageDescriptor *type,
	const struct verify_limits *limits, size_t most)
{
	*reader = (struct record_reader){.frames.limit = most, .type = type, .limits = limits};
	arena_init(&reader->arena, ARENA_REQUEST_MAX);
}

void record_reader_done(struct record_reader *reader)
{
	frame_reader_done(&reader->frames);
	arena_done(&reader->arena);
}

/* protobuf-c has the kind of a oneof where each of its fields says (ProtobufCFieldDescriptor). */
static bool has_kind(const ProtobufCMessage *record)
{
	const ProtobufCFieldDescriptor *field = &record->descriptor->fields[0];

	return *(const uint32_t *)((const uint8_t *)record + field->quantifier_offset) != 0;
}

int record_next(struct record_reader *reader)
{
	const ProtobufCMessage *record;
	const char *why;
	int r = frame_next(&reader->frames, &reader->body, &reader->len);

	if (r <= 0)
		return r < 0 ? -EBADMSG : 0;
	arena_reset(&reader->arena);
	record = verify_unpack(
		reader->type, reader->body, reader->len, reader->limits, &reader->arena, &why);
	if (!record || !has_kind(record))
		return -EBADMSG;
	reader->record = record;
	return 1;
}
