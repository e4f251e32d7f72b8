/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A machine's start: its helpers, its console, its VMM. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "host/common/device.h"
#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/vm_files.h"
#include "host/supervisor/boot.h"
#include "host/supervisor/machine.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/limits.h"

static int start_vsockd(struct machine *machine, int *ret_fd)
{
	AUTO_CLOSE int ours = -EBADF, theirs = -EBADF;
	struct argv argv = {0};
	char uds[PATH_MAX];
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return fail_errno(&machine->end, POSTERN_ANSWERED, errno, "socketpair");
	ours = pair[0];
	theirs = pair[1];
	argv_add(&argv, "%s", machine->config.vsockd);
	argv_add(&argv, "--fd=3");
	argv_add(&argv, "--uds=%s", machine_path(machine, uds, VM_FILE_VSOCK));
	argv_add(&argv, "--cid=%u", machine->config.cid);
	r = process_start(&machine->processes, &machine->vsockd, "postern-vsockd", argv.words,
		&theirs, 1, NULL, machine_vsockd_ended, &machine->end);
	argv_done(&argv);
	if (r == 0)
		*ret_fd = take_fd(&ours);
	return r;
}

static int start_shares(struct machine *machine)
{
	char path[PATH_MAX];
	int r = 0;

	for (size_t i = 0; i < machine->config.n_shares && r == 0; i++) {
		const struct share_config *config = &machine->config.shares[i];
		struct share *share = &machine->shares[i];

		r = config->p9 ? share_take(share, config, &machine->end)
			       : share_start(share, config, path, &machine->end);
		if (r == 0)
			share->state = SHARE_PLUGGED;
	}
	return r;
}

/* The two ends of the guest's serial port. For a VMM whose standard input and output it is, a
 * terminal: with anything else Cloud Hypervisor takes no input. */
static int open_console(bool terminal, int *ret_ours, int *ret_theirs)
{
	AUTO_CLOSE int ours = -EBADF;
	struct termios raw;
	int pair[2];

	if (!terminal) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			return -errno;
		*ret_ours = pair[0];
		*ret_theirs = pair[1];
		return 0;
	}
	ours = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (ours < 0 || unlockpt(ours) < 0)
		return -errno;
	*ret_theirs = ioctl(ours, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*ret_theirs < 0 || tcgetattr(*ret_theirs, &raw) < 0)
		return -errno;
	/* The guest's bytes as they come, from the first one on. */
	cfmakeraw(&raw);
	if (tcsetattr(*ret_theirs, TCSANOW, &raw) < 0)
		return -errno;
	*ret_ours = take_fd(&ours);
	return 0;
}

/* Both of the guest's consoles; the VMM's ends of them are the caller's. */
static int open_consoles(struct machine *machine, int *ret_console, int *ret_virtio)
{
	int ours = -EBADF;
	int r = open_console(machine->driver->kind->console_tty, &ours, ret_console);

	if (r == 0)
		r = console_open(
			&machine->console, &machine->loop, machine->dir_fd, CONSOLE_FILE, ours);
	if (r < 0 || !(machine->config.devices & DEVICE_CONSOLE))
		return r;
	r = open_console(false, &ours, ret_virtio);
	if (r == 0)
		r = console_open(&machine->virtio_console, &machine->loop, machine->dir_fd,
			CONSOLE_HVC_FILE, ours);
	return r;
}

static int start_vmm(struct machine *machine, int vsock)
{
	AUTO_CLOSE int console = -EBADF, virtio_console = -EBADF;
	struct vmm_setup setup = {.loop = &machine->loop,
		.config = &machine->config,
		.dir = machine->dir,
		.vsock = vsock,
		.on_event = machine_vmm_event,
		.ctx = machine};
	struct vmm_process process = {0};
	struct process_options options = {0};
	int r = open_consoles(machine, &console, &virtio_console);

	if (r < 0)
		return fail_errno(&machine->end, POSTERN_ANSWERED, -r, "console");
	setup.console = console;
	setup.virtio_console = virtio_console;
	if (machine->driver->kind->console_tty)
		options.stdio = &console;
	r = machine->driver->open(&setup, &machine->vmm, &process, &machine->end);
	if (r == 0)
		r = process_start(&machine->processes, &machine->vmm_process,
			machine->driver->kind->name, process.argv.words, process.fds, process.n_fds,
			&options, machine_vmm_ended, &machine->end);
	vmm_process_done(&process);
	return r;
}

static int open_readiness(struct machine *machine)
{
	AUTO_FREE char *address = NULL;
	char hybrid[PATH_MAX], path[PATH_MAX];
	uint32_t port = 0;
	int r;

	(void)machine_path(machine, hybrid, VM_FILE_VSOCK);
	(void)snprintf(path, sizeof(path), "%.4000s_%d", hybrid, POSTERN_READY_PORT);
	address = machine->config.vsock_kernel ? text_format("vsock:%u", machine->config.cid)
					       : text_format("unix:%s", hybrid);
	r = address ? ready_open(&machine->ready, &machine->loop, address,
			      machine->config.vsock_kernel ? NULL : path, machine->config.cid,
			      &port, boot_answered, machine)
		    : -ENOMEM;
	if (r == 0 && machine->config.vsock_kernel && machine->config.cmdline) {
		/* VMs share the host's ports: this one is told its own. */
		char *cmdline =
			text_format("%s postern.ready_port=%u", machine->config.cmdline, port);

		if (cmdline) {
			free(machine->config.cmdline);
			machine->config.cmdline = cmdline;
		}
	}
	return r < 0 ? fail_errno(&machine->end, POSTERN_ANSWERED, -r, "readiness port") : 0;
}

static int start_vsock(struct machine *machine, int *ret_fd)
{
	char path[PATH_MAX];

	if (!(machine->config.devices & DEVICE_VSOCK))
		return 0;
	if (machine->config.vsock_kernel) {
		/* Opened by who leased the CID: what the kernel grants is part of the lease. */
		*ret_fd = SUPERVISOR_FD_VHOST;
		return 0;
	}
	if (!machine->driver->kind->own_vsock)
		return start_vsockd(machine, ret_fd);
	/* The VMM binds it, and an old one would be in its way. */
	(void)unlink(machine_path(machine, path, VM_FILE_VSOCK));
	return 0;
}

int machine_start(struct machine *machine, int listener)
{
	AUTO_CLOSE int vsock = -EBADF;
	int r;

	machine->started = clock_ns(CLOCK_BOOTTIME);
	machine->started_wall = time(NULL);
	for (unsigned i = 0; i < VM_SHARES_MAX; i++) {
		machine->shares[i].machine = machine;
		machine->shares[i].slot = i;
	}
	disks_init(machine);
	r = control_open(&machine->control, &machine->loop, listener, machine_commands, machine);
	if (r < 0)
		(void)fail_errno(&machine->end, POSTERN_ANSWERED, -r, "control socket");
	if (r == 0)
		r = open_readiness(machine);
	if (r == 0)
		r = start_vsock(machine, &vsock);
	if (r == 0)
		r = start_shares(machine);
	if (r == 0)
		r = start_vmm(machine, vsock);
	if (r == 0)
		boot_set_deadline(machine);
	return r;
}
