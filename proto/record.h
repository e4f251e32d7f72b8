/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records on a channel that carries frames: messages of one type that consist of one oneof. They
 * are a peer's: checked, and bounded. */
#pragma once

#include "proto/arena.h"
#include "proto/frame.h"
#include "proto/verify.h"

struct record_reader {
	struct frame_reader frames;
	const ProtobufCMessageDescriptor *type;
	const struct verify_limits *limits;
	struct arena arena;
	/* The record at hand, and what it was made of; borrowed until the next one. */
	const void *record;
	const uint8_t *body;
	size_t len;
};

/* most: of one record, bytes. */
void record_reader_init(struct record_reader *reader, const ProtobufCMessageDescriptor *type,
	const struct verify_limits *limits, size_t most);

/* Frees. Safe on all zero, and twice. */
void record_reader_done(struct record_reader *reader);

/* Takes the next record of what frame_read() has brought. 1; 0 when more bytes are needed; -EBADMSG
 * for what is no record, or of a kind that is not known: the stream cannot be used any more. */
int record_next(struct record_reader *reader);
