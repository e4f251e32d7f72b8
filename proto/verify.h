/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a peer's bytes to a message, by libprotobuf-c's descriptors and into its structures, in one
 * pass. The library's own decoder (1.4.1) never sees a peer's bytes: it has no limit on nesting,
 * keeps each unknown field, needs up to 80 times the bytes of the wire, and would be a second
 * reader of what was checked.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct verify_limits {
	uint32_t elements;       /* of one repeated field of one message */
	uint32_t elements_total; /* of all fields of a body together, singular ones too */
	bool unknown_enums;      /* values that the descriptor does not know are let through */
};

/* What a caller may send to the agent, and what the agent may send to the host. */
extern const struct verify_limits verify_agent_limits;
extern const struct verify_limits verify_host_limits;

/*
 * Accepts or refuses bytes[0..len) as a message of this type: wire types, tags and lengths of at
 * most 5 bytes, varints of at most 10, nesting of at most VERIFY_DEPTH, element counts, unknown
 * fields, known enum values, strings of valid UTF-8 without NUL. Does not allocate; its stack is
 * bounded by the depth. Returns 0, or -EBADMSG with *ret_why set to a static phrase ("nested too
 * deep").
 */
int verify_message(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len,
	const struct verify_limits *limits, const char **ret_why);

/*
 * The same, and builds the message in the arena on the way. Returns the message, which lives as
 * long as the arena, or NULL with *ret_why set.
 */
struct arena;
ProtobufCMessage *verify_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
	size_t len, const struct verify_limits *limits, struct arena *arena, const char **ret_why);
