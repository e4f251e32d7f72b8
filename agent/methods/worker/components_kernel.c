/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Components that the kernel tells of. */
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/methods/component.h"
#include "agent/methods/sysfs.h"
#include "proto/cleanup.h"

#define VIRTIO      "/sys/bus/virtio/devices"
#define STATE(name) POSTERN__V1__COMPONENT_STATE__COMPONENT_##name
#define TYPE(name)  POSTERN__V1__COMPONENT_TYPE__COMPONENT_##name

/* ---- modules ---- */

/* "ext4 1000 2 jbd2,mbcache, Live 0x0": proc(5). */
static void add_module(struct components *components, char *line)
{
	char *rest = line, *name = strsep(&rest, " "), *used, *state, version[128];
	Postern__V1__Component *component;

	(void)strsep(&rest, " ");
	used = strsep(&rest, " ");
	(void)strsep(&rest, " ");
	state = strsep(&rest, " ");
	if (!state)
		return;
	component = component_add(components, TYPE(MODULE),
		strcmp(state, "Live") == 0      ? STATE(READY)
		: strcmp(state, "Loading") == 0 ? STATE(STARTING)
						: STATE(UNKNOWN),
		"module", name);
	if (!component)
		return;
	component->has_instances = used[0] != '-';
	component->instances = (uint32_t)strtoul(used, NULL, 10);
	if (sysfs_text(version, sizeof(version), "/sys/module/%s/version", name) == 0)
		component_set_version(components, component, version);
}

void components_add_modules(struct components *components)
{
	AUTO_FILE FILE *file = fopen("/proc/modules", "re");
	AUTO_FREE char *line = NULL;
	size_t size = 0;

	while (file && getline(&line, &size, file) > 0)
		add_module(components, line);
}

/* ---- virtio devices ---- */

static const char *device_name(uint64_t id)
{
	static const char *const names[] = {[VIRTIO_ID_NET] = "network card",
		[VIRTIO_ID_BLOCK] = "disk",
		[VIRTIO_ID_CONSOLE] = "console",
		[VIRTIO_ID_RNG] = "random numbers",
		[VIRTIO_ID_BALLOON] = "memory balloon",
		[VIRTIO_ID_SCSI] = "SCSI controller",
		[VIRTIO_ID_9P] = "9p share",
		[VIRTIO_ID_GPU] = "graphics card",
		[VIRTIO_ID_INPUT] = "input",
		[VIRTIO_ID_VSOCK] = "vsock",
		[VIRTIO_ID_CRYPTO] = "cryptography",
		[VIRTIO_ID_IOMMU] = "IOMMU",
		[VIRTIO_ID_MEM] = "plugged memory",
		[VIRTIO_ID_SOUND] = "sound card",
		[VIRTIO_ID_FS] = "virtiofs share",
		[VIRTIO_ID_PMEM] = "persistent memory"};

	return id < ARRAY_SIZE(names) ? names[id] : NULL;
}

/* The status byte of the virtio specification, 2.1. */
static Postern__V1__ComponentState device_state(uint64_t status, const char **ret_why)
{
	*ret_why = NULL;
	if (status & VIRTIO_CONFIG_S_FAILED)
		*ret_why = "its driver has given up";
	else if (status & VIRTIO_CONFIG_S_NEEDS_RESET)
		*ret_why = "it needs a reset";
	else if (!(status & VIRTIO_CONFIG_S_DRIVER))
		*ret_why = "it has no driver";
	if (*ret_why)
		return STATE(ERROR);
	return status & VIRTIO_CONFIG_S_DRIVER_OK ? STATE(READY) : STATE(STARTING);
}

static void add_device(struct components *components, uint32_t number)
{
	char name[32], path[64], driver[256];
	const char *label, *why = NULL, *text, *slash;
	Postern__V1__Component *component;
	uint64_t id = 0, status = 0;
	Postern__V1__ComponentState state = STATE(UNKNOWN);
	ssize_t len;

	(void)snprintf(name, sizeof(name), "virtio%u", number);
	(void)snprintf(path, sizeof(path), VIRTIO "/%s/driver", name);
	if (sysfs_number(16, &status, VIRTIO "/%s/status", name) == 0)
		state = device_state(status, &why);
	component = component_add(components, TYPE(DEVICE), state, "device", name);
	if (!component)
		return;
	label = sysfs_number(16, &id, VIRTIO "/%s/device", name) == 0 ? device_name(id) : NULL;
	component_set_label(components, component, label ? label : name);
	len = readlink(path, driver, sizeof(driver) - 1);
	driver[len > 0 ? len : 0] = '\0';
	slash = strrchr(driver, '/');
	text = driver[0] ? arena_printf(components->call->arena, "driver %s%s%s",
				   slash ? slash + 1 : driver, why ? ": " : "", why ? why : "")
			 : why;
	component_describe(components, component, text);
}

void components_add_devices(struct components *components)
{
	uint32_t *numbers = NULL;
	size_t n = 0;

	if (sysfs_numbers(components->call, VIRTIO, "virtio", &numbers, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		add_device(components, numbers[i]);
}
