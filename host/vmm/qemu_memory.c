/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that is plugged into QEMU's guest: what the device was asked for is a property of it, and
 * query-memory-devices has the rest. */
#include <stdio.h>
#include <string.h>

#include "host/common/json_line.h"
#include "host/vmm/qemu_vmm.h"

/* QEMU does not tell how much of it the guest may use just now. */
static const char *const names[MEMORY_STATS] = {
	"block-size", "max-size", NULL, "size", "requested-size"};

void qemu_plug_memory(struct vmm *vmm, uint64_t bytes, vmm_done_fn fn, void *ctx)
{
	qemu_simple(vmm, "qom-set",
		json_pack("{s:s, s:s, s:I}", "path", "/machine/peripheral/" QEMU_MEMORY, "property",
			"requested-size", "value", (json_int_t)bytes),
		fn, ctx);
}

static const json_t *find_device(const json_t *devices)
{
	const json_t *device;
	size_t i;

	json_array_foreach(devices, i, device)
	{
		const json_t *data = json_object_get(device, "data");

		if (strcmp(json_field_string(data, "id", ""), QEMU_MEMORY) == 0)
			return data;
	}
	return NULL;
}

static void on_devices(void *ctx, const struct postern_error *error, const json_t *result)
{
	struct vmm *vmm = ctx;
	struct memory_stats stats;

	memory_read_stats(find_device(result), names, 1, &stats);
	stats_tell(&vmm->memory, error, &stats);
}

void qemu_memory_stats(struct vmm *vmm, vmm_stats_fn fn, void *ctx)
{
	struct postern_error error = {0};
	int r;

	if (!stats_wait(&vmm->memory, fn, ctx))
		return;
	r = qemu_call(vmm, "query-memory-devices", NULL, on_devices, vmm);
	if (r == 0)
		return;
	(void)qemu_fail(&error, r, "query-memory-devices");
	stats_tell(&vmm->memory, &error, NULL);
}

void qemu_memory_changed(struct vmm *vmm, const json_t *data)
{
	char text[24];

	if (strcmp(json_field_string(data, "id", ""), QEMU_MEMORY) != 0)
		return;
	(void)snprintf(text, sizeof(text), "%lld", (long long)json_field_int(data, "size", 0));
	vmm->on_event(vmm->ctx, VMM_MEMORY, text);
}
