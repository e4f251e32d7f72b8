/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line of QEMU: a q35 machine with what a Postern guest needs and nothing else. Values
 * of people (paths, names) go into QEMU's key=value options, where a comma must be doubled.
 */
#include "host/vmm/qemu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/common/device.h"
#include "host/common/fail.h"
#include "host/common/vm_files.h"
#include "proto/cleanup.h"

/* The text with its commas doubled. The caller frees; NULL: out of memory. */
static char *quote(const char *text)
{
	char *quoted = malloc(strlen(text) * 2 + 1), *to = quoted;

	for (const char *at = text; quoted && *at; at++) {
		if (*at == ',')
			*to++ = ',';
		*to++ = *at;
	}
	if (quoted)
		*to = '\0';
	return quoted;
}

static void add_machine(const struct vm_config *config, const char *name, struct argv *argv)
{
	unsigned long long size = config->memory_bytes;

	argv_add(argv, "%s", config->vmm);
	argv_add(argv, "-nodefaults");
	argv_add(argv, "-no-user-config");
	argv_add(argv, "-name");
	argv_add(argv, "guest=%s,debug-threads=on", name);
	argv_add(argv, "-machine");
	argv_add(argv, "q35,accel=%s,memory-backend=ram0,vmport=off,smm=off,graphics=off",
		config->kvm ? "kvm" : "tcg");
	argv_add(argv, "-cpu");
	/* Emulated string instructions (erms, fsrm) are slower than the loops a kernel uses
	 * without, and page tables of five levels (la57) take longer to walk than those of four. */
	argv_add(argv, config->kvm ? "host" : "max,-erms,-fsrm,-la57");
	argv_add(argv, "-smp");
	argv_add(argv, "%u", config->cpus);
	argv_add(argv, "-m");
	if (config->plug_bytes > 0)
		argv_add(argv, "size=%lluB,maxmem=%lluB", size, size + config->plug_bytes);
	else
		argv_add(argv, "%lluB", size);
	/* Shared: the vhost-user processes work in the guest's memory. */
	argv_add(argv, "-object");
	argv_add(argv, "memory-backend-memfd,id=ram0,size=%lluB,share=on", size);
	argv_add(argv, "-display");
	argv_add(argv, "none");
	/* QEMU has to start no program and to gain no right. */
	argv_add(argv, "-sandbox");
	argv_add(argv, "on,obsolete=deny,elevateprivileges=deny,spawn=deny");
	/* A guest that resets itself before it ever answered would do so for ever. */
	argv_add(argv, "-action");
	argv_add(argv, "reboot=shutdown,panic=shutdown");
}

static void add_channels(
	const struct vm_config *config, const struct qemu_fds *fds, struct argv *argv)
{
	argv_add(argv, "-chardev");
	argv_add(argv, "socket,id=monitor0,fd=%d", fds->monitor);
	argv_add(argv, "-mon");
	argv_add(argv, "chardev=monitor0,mode=control");
	argv_add(argv, "-chardev");
	argv_add(argv, "socket,id=console0,fd=%d", fds->console);
	argv_add(argv, "-serial");
	argv_add(argv, "chardev:console0");
	if (config->devices & DEVICE_CONSOLE) {
		argv_add(argv, "-chardev");
		argv_add(argv, "socket,id=hvc0,fd=%d", fds->virtio_console);
		argv_add(argv, "-device");
		argv_add(argv, "virtio-serial-pci,max_ports=1");
		argv_add(argv, "-device");
		argv_add(argv, "virtconsole,nr=0,chardev=hvc0");
	}
	if (!(config->devices & DEVICE_VSOCK))
		return;
	if (config->vsock_kernel) {
		argv_add(argv, "-device");
		argv_add(argv, "vhost-vsock-pci,id=vsock0,guest-cid=%u,vhostfd=%d", config->cid,
			fds->vsock);
		return;
	}
	argv_add(argv, "-chardev");
	argv_add(argv, "socket,id=vsock0,fd=%d", fds->vsock);
	argv_add(argv, "-device");
	argv_add(argv, "vhost-user-vsock-pci,id=vsockdev0,chardev=vsock0");
}

static void add_devices(const struct vm_config *config, struct argv *argv)
{
	if (config->devices & DEVICE_BALLOON) {
		argv_add(argv, "-device");
		argv_add(argv, "virtio-balloon-pci,id=balloon0,deflate-on-oom=on,"
			       "free-page-reporting=on");
	}
	/* Its blocks take none of the host's memory until they are plugged and used. */
	if (config->plug_bytes > 0) {
		argv_add(argv, "-object");
		argv_add(argv, "memory-backend-memfd,id=plug0,size=%lluB,share=on",
			(unsigned long long)config->plug_bytes);
		argv_add(argv, "-device");
		argv_add(argv,
			"virtio-mem-pci,id=" QEMU_MEMORY
			",memdev=plug0,requested-size=0,block-size=%lluB",
			(unsigned long long)config->plug_block_bytes);
	}
	if (config->devices & DEVICE_RNG) {
		argv_add(argv, "-object");
		argv_add(argv, "rng-random,id=rng0,filename=/dev/urandom");
		argv_add(argv, "-device");
		argv_add(argv, "virtio-rng-pci,rng=rng0");
	}
	/* Nobody looks at it, but what the guest draws can be drawn. */
	if (config->devices & DEVICE_GPU) {
		argv_add(argv, "-device");
		argv_add(argv, "virtio-gpu-pci,id=gpu0");
	}
	/* What it plays goes nowhere, and what it records is silence. */
	if (config->devices & DEVICE_SOUND) {
		argv_add(argv, "-audiodev");
		argv_add(argv, "none,id=audio0");
		argv_add(argv, "-device");
		argv_add(argv, QEMU_SOUND ",audiodev=audio0,streams=%d",
			config->devices & DEVICE_SOUND_INPUT ? 2 : 1);
	}
	/* Outwards only, as the user that QEMU is. */
	if (config->devices & DEVICE_NET) {
		argv_add(argv, "-netdev");
		argv_add(argv, "user,id=net0");
		argv_add(argv, "-device");
		argv_add(argv, "virtio-net-pci,netdev=net0,romfile=");
	}
	argv_add(argv, "-device");
	argv_add(argv, "pvpanic-pci");
	/* Ports that shares and disks are plugged into while the guest runs. */
	for (unsigned i = 0; i < VMM_SLOTS; i++) {
		argv_add(argv, "-device");
		argv_add(argv, "pcie-root-port,id=port%u,bus=pcie.0,chassis=%u,slot=%u", i, i + 1,
			i);
	}
}

/* As virtiofsd does it: the guest's root writes with the rights that QEMU has on the host, and what
 * the owner of a file should be is tried, not needed. */
static int add_p9(const struct share_config *share, unsigned i, struct argv *argv)
{
	AUTO_FREE char *source = quote(share->source);

	if (!source)
		return -ENOMEM;
	argv_add(argv, "-fsdev");
	argv_add(argv, "local,id=fs%u,path=%s,security_model=none,multidevs=remap,readonly=%s", i,
		source, share->read_only ? "on" : "off");
	argv_add(argv, "-device");
	argv_add(argv, "virtio-9p-pci,id=share%u,bus=port%u,fsdev=fs%u,mount_tag=%s", i, i, i,
		share->tag);
	return 0;
}

static int add_shares(const struct vmm_setup *setup, struct argv *argv)
{
	const struct vm_config *config = setup->config;
	AUTO_FREE char *dir = quote(setup->dir);

	if (!dir)
		return -ENOMEM;
	for (unsigned i = 0; i < config->n_shares; i++) {
		if (config->shares[i].p9) {
			if (add_p9(&config->shares[i], i, argv) < 0)
				return -ENOMEM;
			continue;
		}
		argv_add(argv, "-chardev");
		argv_add(argv, "socket,id=share%u-backend,path=%s/" VM_FILE_SHARE, i, dir, i);
		argv_add(argv, "-device");
		argv_add(argv,
			"vhost-user-fs-pci,id=share%u,bus=port%u,chardev=share%u-backend,tag=%s,"
			"queue-size=%u",
			i, i, i, config->shares[i].tag, QEMU_SHARE_QUEUE);
	}
	return 0;
}

static int add_boot(const struct vm_config *config, struct argv *argv)
{
	if (config->kernel) {
		argv_add(argv, "-kernel");
		argv_add(argv, "%s", config->kernel);
		if (config->initrd) {
			argv_add(argv, "-initrd");
			argv_add(argv, "%s", config->initrd);
		}
		argv_add(argv, "-append");
		argv_add(argv, "%s", config->cmdline ? config->cmdline : "");
	}
	if (config->image) {
		AUTO_FREE char *image = quote(config->image);

		if (!image)
			return -ENOMEM;
		argv_add(argv, "-drive");
		argv_add(argv, "if=none,id=disk0,file=%s,format=%s,readonly=%s,discard=unmap",
			image, config->image_qcow2 ? "qcow2" : "raw",
			config->image_read_only ? "on" : "off");
		argv_add(argv, "-device");
		argv_add(argv, "virtio-blk-pci,drive=disk0,bootindex=1");
	}
	return 0;
}

int qemu_command(const struct vmm_setup *setup, const struct qemu_fds *fds, struct argv *argv)
{
	const struct vm_config *config = setup->config;
	AUTO_FREE char *name = quote(config->name);
	int r;

	if (!name)
		return -ENOMEM;
	add_machine(config, name, argv);
	add_channels(config, fds, argv);
	add_devices(config, argv);
	r = add_shares(setup, argv);
	if (r == 0)
		r = add_boot(config, argv);
	return r == 0 && argv->failed ? -ENOMEM : r;
}
