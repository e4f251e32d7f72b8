/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What travels on a vhost-user socket, as far as a vsock device needs it (QEMU's
 * docs/interop/vhost-user.rst). All in the host's byte order; descriptors come with the header.
 */
#pragma once

#include <stdint.h>

enum vhost_user_request {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES = 2,
	VHOST_SET_OWNER = 3,
	VHOST_RESET_OWNER = 4,
	VHOST_SET_MEM_TABLE = 5,
	VHOST_SET_VRING_NUM = 8,
	VHOST_SET_VRING_ADDR = 9,
	VHOST_SET_VRING_BASE = 10,
	VHOST_GET_VRING_BASE = 11,
	VHOST_SET_VRING_KICK = 12,
	VHOST_SET_VRING_CALL = 13,
	VHOST_SET_VRING_ERR = 14,
	VHOST_GET_PROTOCOL_FEATURES = 15,
	VHOST_SET_PROTOCOL_FEATURES = 16,
	VHOST_GET_QUEUE_NUM = 17,
	VHOST_SET_VRING_ENABLE = 18,
	VHOST_GET_CONFIG = 24,
	VHOST_SET_CONFIG = 25,
	VHOST_GET_MAX_MEM_SLOTS = 36,
	VHOST_ADD_MEM_REG = 37,
	VHOST_REM_MEM_REG = 38,
};

#define VHOST_PROTOCOL_MQ                  0
#define VHOST_PROTOCOL_REPLY_ACK           3
#define VHOST_PROTOCOL_CONFIG              9
#define VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS 15

#define VHOST_FLAG_VERSION_MASK 3U
#define VHOST_FLAG_VERSION      1U
#define VHOST_FLAG_REPLY        4U
#define VHOST_FLAG_NEED_REPLY   8U

struct vhost_user_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload */
};

struct vhost_user_vring_state {
	uint32_t index;
	uint32_t num;
};

struct vhost_user_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;
	uint64_t used;
	uint64_t avail;
	uint64_t log;
};

/* In the u64 of SET_VRING_KICK, _CALL and _ERR. */
#define VHOST_VRING_INDEX_MASK UINT64_C(0xff)
#define VHOST_VRING_NO_FD      UINT64_C(0x100)

struct vhost_user_region {
	uint64_t gpa;
	uint64_t size;
	uint64_t uva;
	uint64_t offset;
};

#define VHOST_TABLE_REGIONS_MAX 8U

struct vhost_user_mem_table {
	uint32_t count;
	uint32_t padding;
	struct vhost_user_region regions[VHOST_TABLE_REGIONS_MAX];
};

struct vhost_user_mem_region {
	uint64_t padding;
	struct vhost_user_region region;
};

#define VHOST_CONFIG_MAX 256U

struct vhost_user_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t bytes[VHOST_CONFIG_MAX];
};

#define VHOST_CONFIG_HEADER 12U

union vhost_user_payload {
	uint64_t u64;
	struct vhost_user_vring_state state;
	struct vhost_user_vring_addr addr;
	struct vhost_user_mem_table table;
	struct vhost_user_mem_region region;
	struct vhost_user_config config;
	uint8_t bytes[4096]; /* the largest that is read at all */
};

struct vhost_user_message {
	struct vhost_user_header header;
	union vhost_user_payload payload;
	unsigned fd_count;
	int fds[VHOST_TABLE_REGIONS_MAX]; /* owned; whoever keeps one takes it */
};
