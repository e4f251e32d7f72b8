/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vmm/vmm.h"

#include <string.h>

#include "host/vmm/qemu.h"

const struct vmm_driver *const vmm_drivers[] = {&qemu_driver, NULL};

const struct vmm_driver *vmm_driver_find(const char *name)
{
	for (size_t i = 0; vmm_drivers[i]; i++)
		if (strcmp(vmm_drivers[i]->name, name) == 0)
			return vmm_drivers[i];
	return NULL;
}
