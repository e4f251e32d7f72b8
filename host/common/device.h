/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The devices of a machine that can be chosen. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Bits of one number; postern.h has the same. */
enum device {
	DEVICE_BALLOON = 1,
	DEVICE_CONSOLE = 2,
	DEVICE_GPU = 4,
	DEVICE_RNG = 8,
	DEVICE_SOUND = 16,
	DEVICE_SOUND_INPUT = 32,
	DEVICE_VSOCK = 64,
	DEVICE_NET = 128,
};

struct device_kind {
	uint32_t bit;
	const char *name;   /* "virtio-balloon" */
	const char *option; /* of launch: "virtio-balloon" */
	bool by_default;    /* there, where the VMM has it and nothing was said */
};

extern const struct device_kind device_kinds[]; /* ends with an empty row */

/* The bits of those that are there by default. */
uint32_t devices_default(void);

/* The names of the bits, as a new array. */
json_t *devices_to_json(uint32_t devices);

/* The first of the bits' names; "" for none. */
const char *device_name(uint32_t devices);
