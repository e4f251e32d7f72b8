/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/control.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "host/vsockd/device.h"
#include "proto/cleanup.h"
#include "proto/log.h"

/* A handler returns 0, -errno, or this: the payload holds its own reply. */
#define HAS_REPLY 1

typedef int (*handler)(struct device *device, struct vhost_user_message *message);

static struct ring *find_ring(struct device *device, uint64_t index)
{
	return index < RING_COUNT ? &device->rings[index] : NULL;
}

static int reply_u64(struct vhost_user_message *message, uint64_t value)
{
	message->payload.u64 = value;
	message->header.size = sizeof(value);
	return HAS_REPLY;
}

static int get_features(struct device *device, struct vhost_user_message *message)
{
	(void)device;
	return reply_u64(message, CONTROL_FEATURES);
}

static int set_features(struct device *device, struct vhost_user_message *message)
{
	uint64_t features = message->payload.u64;

	if (features & ~CONTROL_FEATURES)
		return -EINVAL;
	if (features == device->features)
		return 0;
	device_halt(device);
	device->features = features;
	device_update(device);
	return 0;
}

static int get_protocol_features(struct device *device, struct vhost_user_message *message)
{
	(void)device;
	return reply_u64(message, CONTROL_PROTOCOL_FEATURES);
}

static int set_protocol_features(struct device *device, struct vhost_user_message *message)
{
	if (message->payload.u64 & ~CONTROL_PROTOCOL_FEATURES)
		return -EINVAL;
	device->protocol_features = message->payload.u64;
	return 0;
}

static int get_queue_num(struct device *device, struct vhost_user_message *message)
{
	(void)device;
	return reply_u64(message, RING_COUNT);
}

static int get_max_mem_slots(struct device *device, struct vhost_user_message *message)
{
	(void)device;
	return reply_u64(message, MEMORY_REGIONS_MAX);
}

static int set_owner(struct device *device, struct vhost_user_message *message)
{
	(void)device;
	(void)message;
	return 0;
}

static int reset_owner(struct device *device, struct vhost_user_message *message)
{
	(void)message;
	device_halt(device);
	for (unsigned i = 0; i < RING_COUNT; i++)
		device->rings[i].enabled = false;
	return 0;
}

static int add_region(struct device *device, const struct vhost_user_region *wire, int fd)
{
	struct region_spec spec = {wire->gpa, wire->size, wire->uva, wire->offset};

	return memory_add(&device->memory, &spec, fd);
}

static int set_mem_table(struct device *device, struct vhost_user_message *message)
{
	const struct vhost_user_mem_table *table = &message->payload.table;
	int r = 0;

	if (message->header.size < 8 || table->count > VHOST_TABLE_REGIONS_MAX ||
		message->header.size != 8 + table->count * sizeof(table->regions[0]) ||
		message->fd_count != table->count)
		return -EINVAL;
	device_halt(device);
	memory_clear(&device->memory);
	for (uint32_t i = 0; i < table->count && r == 0; i++)
		r = add_region(device, &table->regions[i], message->fds[i]);
	/* Half a table is none: the rings rest until the next one. */
	if (r < 0)
		memory_clear(&device->memory);
	device_update(device);
	return r;
}

static int add_mem_reg(struct device *device, struct vhost_user_message *message)
{
	int r;

	if (message->fd_count != 1)
		return -EINVAL;
	r = add_region(device, &message->payload.region.region, message->fds[0]);
	if (r == 0)
		device_update(device);
	return r;
}

static int rem_mem_reg(struct device *device, struct vhost_user_message *message)
{
	const struct vhost_user_region *wire = &message->payload.region.region;
	struct region_spec spec = {wire->gpa, wire->size, wire->uva, wire->offset};
	int r;

	/* Nothing may point into it while it goes. */
	device_halt(device);
	r = memory_remove(&device->memory, &spec);
	device_update(device);
	return r;
}

static int set_vring_num(struct device *device, struct vhost_user_message *message)
{
	struct ring *ring = find_ring(device, message->payload.state.index);
	uint32_t num = message->payload.state.num;

	if (!ring || num == 0 || num > RING_NUM_MAX || (num & (num - 1)) != 0)
		return -EINVAL;
	device_halt(device);
	ring->num = num;
	device_update(device);
	return 0;
}

static int set_vring_addr(struct device *device, struct vhost_user_message *message)
{
	const struct vhost_user_vring_addr *addr = &message->payload.addr;
	struct ring *ring = find_ring(device, addr->index);

	if (!ring)
		return -EINVAL;
	device_halt(device);
	ring->addr = (struct ring_addr){addr->desc, addr->used, addr->avail};
	ring->have_addr = true;
	device_update(device);
	return 0;
}

static int set_vring_base(struct device *device, struct vhost_user_message *message)
{
	struct ring *ring = find_ring(device, message->payload.state.index);

	if (!ring || message->payload.state.num > UINT16_MAX)
		return -EINVAL;
	device_halt(device);
	ring->base = (uint16_t)message->payload.state.num;
	device_update(device);
	return 0;
}

static int get_vring_base(struct device *device, struct vhost_user_message *message)
{
	struct ring *ring = find_ring(device, message->payload.state.index);

	/* The front-end waits for an answer in any case. */
	message->header.size = sizeof(message->payload.state);
	message->payload.state.num = 0;
	if (!ring)
		return HAS_REPLY;
	device_halt(device);
	loop_io_del(&ring->kick_io);
	ring->kick = fd_close(ring->kick);
	ring->broken = false;
	message->payload.state.num = ring->base;
	device_update(device);
	return HAS_REPLY;
}

static int set_vring_enable(struct device *device, struct vhost_user_message *message)
{
	struct ring *ring = find_ring(device, message->payload.state.index);

	if (!ring || message->payload.state.num > 1)
		return -EINVAL;
	device_halt(device);
	ring->enabled = message->payload.state.num == 1;
	device_update(device);
	return 0;
}

/* The ring and the descriptor that a KICK, CALL or ERR message names; *ret_fd is -EBADF when it
 * says that there is none. */
static int take_vring_fd(struct device *device, struct vhost_user_message *message,
	struct ring **ret_ring, int *ret_fd)
{
	uint64_t value = message->payload.u64;
	bool none = value & VHOST_VRING_NO_FD;

	*ret_ring = find_ring(device, value & VHOST_VRING_INDEX_MASK);
	if (!*ret_ring || message->fd_count != (none ? 0U : 1U))
		return -EINVAL;
	*ret_fd = -EBADF;
	if (none)
		return 0;
	/* A write to it must never block. */
	if (fcntl(message->fds[0], F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	*ret_fd = take_fd(&message->fds[0]);
	return 0;
}

static int set_vring_kick(struct device *device, struct vhost_user_message *message)
{
	struct ring *ring;
	int fd, r;

	r = take_vring_fd(device, message, &ring, &fd);
	if (r < 0)
		return r;
	/* Polling without a descriptor is not offered by any front-end that counts on sleep. */
	if (fd < 0)
		return -EOPNOTSUPP;
	device_halt(device);
	r = device_set_kick(device, ring, fd);
	device_update(device);
	return r;
}

static int set_vring_call(struct device *device, struct vhost_user_message *message)
{
	struct ring *ring;
	int fd, r;

	r = take_vring_fd(device, message, &ring, &fd);
	if (r < 0)
		return r;
	(void)fd_close(ring->call);
	ring->call = fd;
	/* An interrupt may just have gone to the old one, where nobody saw it. */
	device_renotify(device, ring);
	return 0;
}

static int set_vring_err(struct device *device, struct vhost_user_message *message)
{
	struct ring *ring;
	int fd, r;

	r = take_vring_fd(device, message, &ring, &fd);
	if (r < 0)
		return r;
	(void)fd_close(ring->err);
	ring->err = fd;
	return 0;
}

static int get_config(struct device *device, struct vhost_user_message *message)
{
	struct vhost_user_config *config = &message->payload.config;
	uint64_t cid = htole64(device->options->cid);
	uint32_t offset = config->offset;
	uint32_t size = config->size;

	if (message->header.size != VHOST_CONFIG_HEADER + size || offset > sizeof(cid) ||
		size > sizeof(cid) - offset) {
		message->header.size = 0; /* how a refusal looks */
		return HAS_REPLY;
	}
	memcpy(config->bytes, (const uint8_t *)&cid + offset, size);
	return HAS_REPLY;
}

static int set_config(struct device *device, struct vhost_user_message *message)
{
	(void)device;
	(void)message;
	return -EPERM; /* nothing in it is the guest's to write */
}

struct control {
	handler fn;
	uint32_t min_size, max_size;
	unsigned max_fds;
};

static const struct control controls[] = {
	[VHOST_GET_FEATURES] = {get_features, 0, 0, 0},
	[VHOST_SET_FEATURES] = {set_features, 8, 8, 0},
	[VHOST_SET_OWNER] = {set_owner, 0, 0, 0},
	[VHOST_RESET_OWNER] = {reset_owner, 0, 0, 0},
	[VHOST_SET_MEM_TABLE] = {set_mem_table, 8, sizeof(struct vhost_user_mem_table),
		VHOST_TABLE_REGIONS_MAX},
	[VHOST_SET_VRING_NUM] = {set_vring_num, 8, 8, 0},
	[VHOST_SET_VRING_ADDR] = {set_vring_addr, 40, 40, 0},
	[VHOST_SET_VRING_BASE] = {set_vring_base, 8, 8, 0},
	[VHOST_GET_VRING_BASE] = {get_vring_base, 8, 8, 0},
	[VHOST_SET_VRING_KICK] = {set_vring_kick, 8, 8, 1},
	[VHOST_SET_VRING_CALL] = {set_vring_call, 8, 8, 1},
	[VHOST_SET_VRING_ERR] = {set_vring_err, 8, 8, 1},
	[VHOST_GET_PROTOCOL_FEATURES] = {get_protocol_features, 0, 0, 0},
	[VHOST_SET_PROTOCOL_FEATURES] = {set_protocol_features, 8, 8, 0},
	[VHOST_GET_QUEUE_NUM] = {get_queue_num, 0, 0, 0},
	[VHOST_SET_VRING_ENABLE] = {set_vring_enable, 8, 8, 0},
	[VHOST_GET_CONFIG] = {get_config, VHOST_CONFIG_HEADER, sizeof(struct vhost_user_config), 0},
	[VHOST_SET_CONFIG] = {set_config, VHOST_CONFIG_HEADER, sizeof(struct vhost_user_config), 0},
	[VHOST_GET_MAX_MEM_SLOTS] = {get_max_mem_slots, 0, 0, 0},
	[VHOST_ADD_MEM_REG] = {add_mem_reg, 40, 40, 1},
	/* Some front-ends send the region's descriptor here as well. */
	[VHOST_REM_MEM_REG] = {rem_mem_reg, 40, 40, 1},
};

int control_handle(struct device *device, struct vhost_user_message *message)
{
	const struct vhost_user_header header = message->header;
	const struct control *control = NULL;
	bool ack = (header.flags & VHOST_FLAG_NEED_REPLY) &&
		   (device->protocol_features & FEATURE(VHOST_PROTOCOL_REPLY_ACK));
	int r = -EOPNOTSUPP;

	if (header.request < ARRAY_SIZE(controls) && controls[header.request].fn)
		control = &controls[header.request];
	if (control && (header.size < control->min_size || header.size > control->max_size))
		return -EPROTO;
	if (control)
		r = message->fd_count > control->max_fds ? -EINVAL : control->fn(device, message);
	if (r == HAS_REPLY)
		return 1;
	if (r < 0)
		log_warning("request %" PRIu32 " of the front-end is refused: %s", header.request,
			strerror(-r));
	if (!ack)
		return 0;
	return reply_u64(message, r < 0 ? (uint64_t)-r : 0);
}
