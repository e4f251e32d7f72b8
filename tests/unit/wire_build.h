/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Protobuf bytes written by hand, the wrong ones too. */
#pragma once

#include "tests/unit/unit.h"

#include "proto/buffer.h"

enum { VARINT = 0, WIRE64 = 1, BYTES = 2, GROUP = 3, GROUP_END = 4, WIRE32 = 5 };

static inline void put_raw(struct buffer *out, const void *bytes, size_t n)
{
	assert_int_equal(buffer_append(out, bytes, n), 0);
}

static inline void put_varint(struct buffer *out, uint64_t value)
{
	uint8_t byte;

	for (; value >= 0x80; value >>= 7) {
		byte = (uint8_t)(value | 0x80);
		put_raw(out, &byte, 1);
	}
	byte = (uint8_t)value;
	put_raw(out, &byte, 1);
}

/* A varint of exactly so many bytes, with needless zeroes at its end. */
static inline void put_long_varint(struct buffer *out, uint64_t value, int bytes)
{
	for (int i = 0; i < bytes; i++, value >>= 7) {
		uint8_t byte = (uint8_t)((value & 0x7f) | (i + 1 < bytes ? 0x80 : 0));

		put_raw(out, &byte, 1);
	}
}

static inline void put_tag(struct buffer *out, uint32_t field, unsigned int wire)
{
	put_varint(out, (uint64_t)field << 3 | wire);
}

static inline void put_number(struct buffer *out, uint32_t field, uint64_t value)
{
	put_tag(out, field, VARINT);
	put_varint(out, value);
}

static inline void put_bytes(struct buffer *out, uint32_t field, const void *bytes, size_t n)
{
	put_tag(out, field, BYTES);
	put_varint(out, n);
	put_raw(out, bytes, n);
}

/* Appends inner as field and empties it. */
static inline void put_message(struct buffer *out, uint32_t field, struct buffer *inner)
{
	put_bytes(out, field, buffer_front(inner), buffer_len(inner));
	buffer_clear(inner);
}
