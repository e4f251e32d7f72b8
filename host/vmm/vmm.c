/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vmm/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "host/vmm/cloud_hypervisor.h"
#include "host/vmm/firecracker.h"
#include "host/vmm/qemu.h"
#include "proto/cleanup.h"

#define FIRST 3 /* the number of a process' first descriptor */

const struct vmm_driver *const vmm_drivers[] = {
	&qemu_driver, &firecracker_driver, &cloud_hypervisor_driver, NULL};

const struct vmm_driver *vmm_driver_find(const char *name)
{
	for (size_t i = 0; vmm_drivers[i]; i++)
		if (strcmp(vmm_drivers[i]->kind->name, name) == 0)
			return vmm_drivers[i];
	return NULL;
}

const char *vmm_slot_name(unsigned slot, char name[16])
{
	(void)snprintf(name, 16, "%s%u", slot < VM_SHARES_MAX ? "share" : "disk", slot % 100);
	return name;
}

int vmm_process_add(struct vmm_process *process, int fd)
{
	int copy = process->n_fds < VMM_FDS ? fcntl(fd, F_DUPFD_CLOEXEC, FIRST) : -1;

	if (copy < 0)
		return process->n_fds < VMM_FDS ? -errno : -E2BIG;
	process->fds[process->n_fds] = copy;
	return FIRST + (int)process->n_fds++;
}

void vmm_process_done(struct vmm_process *process)
{
	for (size_t i = 0; i < process->n_fds; i++)
		process->fds[i] = fd_close(process->fds[i]);
	process->n_fds = 0;
	argv_done(&process->argv);
}
