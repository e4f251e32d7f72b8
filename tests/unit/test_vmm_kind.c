/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each VMM cannot do is said before anything starts. */
#include "tests/unit/unit.h"

#include "host/common/device.h"
#include "host/vmm/vmm.h"

#define MIB (UINT64_C(1) << 20)

static char elf[] = "/tmp/postern-unit-XXXXXX", packed[] = "/tmp/postern-unit-XXXXXX";

static int make_kernel(char *path, const char *bytes, size_t len)
{
	int fd = mkstemp(path);

	return fd >= 0 && write(fd, bytes, len) == (ssize_t)len ? close(fd) : -1;
}

static int make_kernels(void **state)
{
	(void)state;
	return make_kernel(elf, "\177ELF\2", 5) < 0 || make_kernel(packed, "MZ", 2) < 0 ? -1 : 0;
}

static int remove_kernels(void **state)
{
	(void)state;
	return unlink(elf) | unlink(packed);
}

static struct vm_config example(void)
{
	return (struct vm_config){.kernel = elf,
		.vsockd = (char *)"/x",
		.devices = DEVICE_VSOCK,
		.memory_bytes = 256 * MIB,
		.cpus = 2,
		.kvm = true};
}

/* The sentence of the refusal; "" where there is none. */
static const char *refusal(const char *name, const struct vm_config *config)
{
	static struct postern_error error;
	int r;

	error = (struct postern_error){0};
	r = vmm_check(vmm_kind_find(name), config, &error);
	assert_true((r < 0) == (error.message[0] != '\0'));
	return error.message;
}

static void assert_refused(const char *name, const struct vm_config *config, const char *words)
{
	assert_non_null(strstr(refusal(name, config), words));
}

UNIT(every_kind_has_its_driver)
{
	size_t n = 0;

	for (; vmm_drivers[n]; n++)
		assert_ptr_equal(vmm_drivers[n], vmm_driver_find(vmm_kinds[n].name));
	assert_int_equal(n, VMM_KINDS);
	assert_null(vmm_kind_find("xen"));
	assert_null(vmm_driver_find("xen"));
}

/* An operation that the row of a kind promises is there, and no other. */
UNIT(a_driver_can_what_its_kind_says)
{
	for (size_t i = 0; vmm_drivers[i]; i++) {
		const struct vmm_driver *driver = vmm_drivers[i];
		const char *const *cannot = driver->kind->cannot;

		assert_int_equal(!cannot[VMM_SNAPSHOT], driver->snapshot != NULL);
		assert_int_equal(!cannot[VMM_SHARES] || !cannot[VMM_DISKS], driver->plug != NULL);
		assert_int_equal(!cannot[VMM_SHARES] || !cannot[VMM_DISKS], driver->unplug != NULL);
		assert_non_null(driver->powerdown);
		assert_non_null(driver->pause);
		assert_non_null(driver->resume);
		assert_non_null(driver->balloon);
		assert_non_null(driver->balloon_stats);
	}
}

UNIT(what_all_can_is_not_refused)
{
	struct vm_config config = example();

	for (size_t i = 0; i < VMM_KINDS; i++)
		assert_string_equal(refusal(vmm_kinds[i].name, &config), "");
}

UNIT(without_hardware_virtualisation_only_qemu)
{
	struct vm_config config = example();

	config.kvm = false;
	assert_string_equal(refusal("qemu", &config), "");
	assert_refused("firecracker", &config, "Firecracker cannot emulate a processor");
	assert_refused("cloud-hypervisor", &config, "/dev/kvm");
}

UNIT(a_disk_boots_by_itself_only_under_qemu)
{
	struct vm_config config = example();

	config.kernel = NULL;
	config.image = (char *)"/srv/disk";
	assert_string_equal(refusal("qemu", &config), "");
	assert_refused("firecracker", &config, "boot loader");
	assert_refused("cloud-hypervisor", &config, "--kernel");
}

UNIT(disks_of_qcow2)
{
	struct vm_config config = example();

	config.image = (char *)"/srv/disk";
	config.image_qcow2 = true;
	assert_string_equal(refusal("qemu", &config), "");
	assert_string_equal(refusal("cloud-hypervisor", &config), "");
	assert_refused("firecracker", &config, "qcow2");
	config.image_qcow2 = false;
	assert_string_equal(refusal("firecracker", &config), "");
}

UNIT(shares)
{
	struct share_config share = {.tag = (char *)"a", .source = (char *)"/a"};
	struct vm_config config = example();

	config.shares = &share;
	config.n_shares = 1;
	assert_string_equal(refusal("cloud-hypervisor", &config), "");
	assert_refused("firecracker", &config, "Firecracker cannot share folders (virtiofs)");
	share.p9 = true;
	assert_string_equal(refusal("qemu", &config), "");
	assert_refused("firecracker", &config, "9p");
	assert_refused("cloud-hypervisor", &config, "9p");
}

UNIT(a_vsock_of_the_kernel_is_qemus)
{
	struct vm_config config = example();

	config.vsock_kernel = true;
	config.vsockd = NULL;
	assert_string_equal(refusal("qemu", &config), "");
	assert_refused("firecracker", &config, "vhost-vsock");
	assert_refused("cloud-hypervisor", &config, "vhost-vsock");
	config.vsock_kernel = false;
	assert_refused("qemu", &config, "postern-vsockd");
	assert_string_equal(refusal("firecracker", &config), "");
}

UNIT(snapshots)
{
	struct vm_config config = example();

	config.restore = (char *)"/srv/snapshot";
	assert_refused("qemu", &config, "QEMU cannot keep a machine's state in files");
	/* What a restored machine boots has been read long ago. */
	config.kernel = packed;
	assert_string_equal(refusal("firecracker", &config), "");
	assert_string_equal(refusal("cloud-hypervisor", &config), "");
}

UNIT(a_packed_kernel_is_not_firecrackers)
{
	struct vm_config config = example();

	config.kernel = packed;
	assert_string_equal(refusal("qemu", &config), "");
	assert_string_equal(refusal("cloud-hypervisor", &config), "");
#if defined(__x86_64__)
	assert_refused("firecracker", &config, "uncompressed kernel, vmlinux");
	config.kernel = (char *)"/nonexistent";
	assert_refused("firecracker", &config, "No such file");
#endif
}

UNIT(memory_and_processors)
{
	struct vm_config config = example();

	config.memory_bytes += 4096;
	assert_string_equal(refusal("qemu", &config), "");
	assert_string_equal(refusal("cloud-hypervisor", &config), "");
	assert_refused("firecracker", &config, "units of 1 MiB");
	config = example();
	config.cpus = 33;
	assert_string_equal(refusal("qemu", &config), "");
	assert_refused("firecracker", &config, "at most 32 CPUs");
}

UNIT(devices_that_can_be_chosen)
{
	static const uint32_t always = DEVICE_BALLOON | DEVICE_RNG | DEVICE_VSOCK;
	struct postern_error error = {0};
	uint32_t devices = 0;

	assert_int_equal(vmm_choose_devices(vmm_kind_find("qemu"), 0, 0, &devices, &error), 0);
	assert_int_equal(devices, always | DEVICE_GPU | DEVICE_CONSOLE | DEVICE_SOUND);
	assert_int_equal(vmm_choose_devices(vmm_kind_find("qemu"), DEVICE_NET,
				 DEVICE_BALLOON | DEVICE_GPU | DEVICE_SOUND, &devices, &error),
		0);
	assert_int_equal(devices, DEVICE_RNG | DEVICE_VSOCK | DEVICE_NET | DEVICE_CONSOLE);
	for (size_t i = 0; i < VMM_KINDS; i++) {
		assert_int_equal(vmm_choose_devices(&vmm_kinds[i], 0, 0, &devices, &error), 0);
		assert_int_equal(devices & always, always);
		/* A default that a VMM has not is no request. */
		if (vmm_kinds[i].devices & DEVICE_GPU)
			continue;
		assert_int_equal(vmm_choose_devices(&vmm_kinds[i], DEVICE_GPU, 0, &devices, &error),
			-EOPNOTSUPP);
		assert_non_null(strstr(error.message, "virtio-gpu: Postern gives "));
	}
	assert_int_equal(vmm_choose_devices(vmm_kind_find("qemu"), DEVICE_SOUND_INPUT, DEVICE_SOUND,
				 &devices, &error),
		-EINVAL);
	assert_int_equal(vmm_choose_devices(vmm_kind_find("qemu"),
				 DEVICE_SOUND | DEVICE_SOUND_INPUT, 0, &devices, &error),
		0);
	assert_int_equal(vmm_choose_devices(
				 vmm_kind_find("firecracker"), 0, DEVICE_BALLOON, &devices, &error),
		-EOPNOTSUPP);
	assert_string_equal(
		error.message, "virtio-balloon: Postern always gives Firecracker this device");
	assert_int_equal(
		vmm_choose_devices(vmm_kind_find("qemu"), DEVICE_RNG, DEVICE_RNG, &devices, &error),
		-EINVAL);
}

UNIT(without_vsock_nobody_waits)
{
	struct vm_config config = example();

	config.devices = DEVICE_BALLOON;
	assert_refused("qemu", &config, "--detach");
	config.keep_silent = true;
	config.vsockd = NULL;
	assert_string_equal(refusal("qemu", &config), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(every_kind_has_its_driver),
		RUN(a_driver_can_what_its_kind_says),
		RUN(what_all_can_is_not_refused),
		RUN(without_hardware_virtualisation_only_qemu),
		RUN(a_disk_boots_by_itself_only_under_qemu),
		RUN(disks_of_qcow2),
		RUN(shares),
		RUN(a_vsock_of_the_kernel_is_qemus),
		RUN(snapshots),
		RUN(a_packed_kernel_is_not_firecrackers),
		RUN(memory_and_processors),
		RUN(devices_that_can_be_chosen),
		RUN(without_vsock_nobody_waits),
	};

	return cmocka_run_group_tests(tests, make_kernels, remove_kernels);
}
