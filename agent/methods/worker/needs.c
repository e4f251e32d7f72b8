/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/needs.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/init_kind.h"
#include "agent/methods/log_kernel.h"
#include "agent/methods/sleep_mode.h"
#include "agent/methods/vsock_diag.h"
#include "proto/cleanup.h"

#define KMOD_PROGRAM "/postern-kmod"

Postern__V1__Availability needs_nothing(char *reason, size_t size)
{
	(void)reason;
	(void)size;
	return POSTERN__V1__AVAILABILITY__AVAILABLE;
}

Postern__V1__Availability needs_vsock_diag(char *reason, size_t size)
{
	if (vsock_diag_dump(NULL, NULL) == 0)
		return POSTERN__V1__AVAILABILITY__AVAILABLE;
	(void)snprintf(reason, size,
		"the kernel does not diagnose vsock sockets: load the module vsock_diag");
	return POSTERN__V1__AVAILABILITY__MISSING_FEATURE;
}

Postern__V1__Availability needs_known_init(char *reason, size_t size)
{
	if (init_kind() != INIT_OTHER)
		return POSTERN__V1__AVAILABILITY__AVAILABLE;
	(void)snprintf(reason, size,
		"how to ask process 1 is not known (systemd, sysvinit, openrc-init, busybox and "
		"postern-init are)");
	return POSTERN__V1__AVAILABILITY__MISSING_FEATURE;
}

Postern__V1__Availability needs_sleep(char *reason, size_t size)
{
	if (sleep_mode_is_offered(POSTERN__V1__SUSPEND_MODE__RAM) ||
		sleep_mode_is_offered(POSTERN__V1__SUSPEND_MODE__DISK))
		return POSTERN__V1__AVAILABILITY__AVAILABLE;
	(void)snprintf(reason, size, "the kernel cannot sleep on this machine (/sys/power/state)");
	return POSTERN__V1__AVAILABILITY__MISSING_FEATURE;
}

/* postern-kmod stands beside this program. */
Postern__V1__Availability needs_modules(char *reason, size_t size)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof(KMOD_PROGRAM));
	char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;

	if (access("/proc/modules", F_OK) < 0) {
		(void)snprintf(reason, size, "the kernel was built without modules");
		return POSTERN__V1__AVAILABILITY__MISSING_FEATURE;
	}
	if (slash)
		memcpy(slash, KMOD_PROGRAM, sizeof(KMOD_PROGRAM));
	if (slash && access(path, X_OK) == 0)
		return POSTERN__V1__AVAILABILITY__AVAILABLE;
	(void)snprintf(reason, size, "postern-kmod is not installed");
	return POSTERN__V1__AVAILABILITY__MISSING_PROGRAM;
}

Postern__V1__Availability needs_log(char *reason, size_t size)
{
	static const char *const places[] = {
		LOG_KERNEL_PATH, "/run/log/journal", "/var/log/journal"};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i], F_OK) == 0)
			return POSTERN__V1__AVAILABILITY__AVAILABLE;
	(void)snprintf(reason, size, "this guest has neither /dev/kmsg nor a journal");
	return POSTERN__V1__AVAILABILITY__MISSING_FEATURE;
}

Postern__V1__Availability needs_vsock(char *reason, size_t size)
{
	if (access("/dev/vsock", F_OK) == 0)
		return POSTERN__V1__AVAILABILITY__AVAILABLE;
	(void)snprintf(reason, size,
		"the kernel has no vsock: load the module vmw_vsock_virtio_transport");
	return POSTERN__V1__AVAILABILITY__MISSING_FEATURE;
}
