/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/common/device.h"

const struct device_kind device_kinds[] = {
	{DEVICE_BALLOON, "virtio-balloon", "virtio-balloon", true},
	{DEVICE_CONSOLE, "virtio-console", "virtio-console", true},
	{DEVICE_GPU, "virtio-gpu", "virtio-gpu", true},
	{DEVICE_RNG, "virtio-rng", "virtio-rng", true},
	{DEVICE_SOUND, "virtio-sound", "virtio-sound", true},
	{DEVICE_SOUND_INPUT, "virtio-sound-input", "virtio-sound-input", false},
	{DEVICE_VSOCK, "virtio-vsock", "virtio-vsock", true},
	{DEVICE_NET, "virtio-net", "default-net", false},
	{0},
};

uint32_t devices_default(void)
{
	uint32_t devices = 0;

	for (const struct device_kind *kind = device_kinds; kind->bit; kind++)
		devices |= kind->by_default ? kind->bit : 0;
	return devices;
}

json_t *devices_to_json(uint32_t devices)
{
	json_t *names = json_array();

	for (const struct device_kind *kind = device_kinds; kind->bit; kind++)
		if (devices & kind->bit)
			(void)json_array_append_new(names, json_string(kind->name));
	return names;
}

const char *device_name(uint32_t devices)
{
	const struct device_kind *kind = device_kinds;

	while (kind->bit && !(devices & kind->bit))
		kind++;
	return kind->bit ? kind->name : "";
}
