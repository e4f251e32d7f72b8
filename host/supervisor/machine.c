/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/supervisor/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/unix_socket.h"
#include "host/common/vm_files.h"
#include "host/supervisor/boot.h"
#include "host/supervisor/problem.h"
#include "proto/cleanup.h"
#include "proto/client/text.h"
#include "proto/clock.h"
#include "proto/limits.h"
#include "proto/log.h"

#define CONNECT_MS 1000 /* to a socket that listens already */

const char *machine_path(const struct machine *machine, char path[PATH_MAX], const char *name)
{
	/* main() has checked that the directory leaves room for every name of ours. */
	(void)snprintf(path, PATH_MAX, "%.4000s/%s", machine->dir, name);
	return path;
}

void machine_enter(struct machine *machine, enum machine_state state)
{
	machine->state = state;
	control_event(&machine->control,
		json_pack("{s:s, s:s}", "name", "state", "state", machine_state_name(machine)));
	for (struct request *request = machine->waiting_ready; request; request = request->next)
		request_progress(request, json_pack("{s:s}", "state", machine_state_name(machine)));
}

void machine_tell(struct machine *machine, struct request **list, const struct postern_error *error)
{
	struct request *all = *list;

	*list = NULL;
	while (all) {
		struct request *request = all;

		all = request->next;
		if (error)
			request_fail(request, error,
				json_pack("{s:o}", "console",
					console_last_lines(&machine->console, CONSOLE_LINES)));
		else
			request_return(request, machine_status(machine));
	}
}

/* ---- What happens to it ---- */

static void on_qemu_ended(struct process *process, int status)
{
	struct machine *machine = container_of(process, struct machine, qemu);
	const char *line = process_last_line(process);
	char text[64];

	if (machine->state == MACHINE_READY || machine->state == MACHINE_BOOTING) {
		if (strcmp(machine->guest_reason, "guest-shutdown") == 0 &&
			(machine->answered || machine->config.keep_silent))
			machine->end.failure = POSTERN_DONE;
		else if (machine->guest_reason[0])
			(void)fail(&machine->end, POSTERN_ABSENT, 0,
				"the guest ended by itself (%s)%s", machine->guest_reason,
				machine->answered ? "" : " before an agent answered");
		else
			(void)fail(&machine->end, POSTERN_ABSENT, 0,
				"the VMM ended unexpectedly with %s%s%s",
				process_status_text(status, text), *line ? ": " : "", line);
	} else if (machine->state == MACHINE_STARTING) {
		(void)fail(&machine->end, POSTERN_ANSWERED, 0, "the VMM did not start (%s)%s%s",
			process_status_text(status, text), *line ? ": " : "", line);
	}
	loop_stop(&machine->loop, 0);
}

static void on_vsockd_ended(struct process *process, int status)
{
	struct machine *machine = container_of(process, struct machine, vsockd);
	char text[64];

	if (process->killed || machine->state >= MACHINE_STOPPING)
		return;
	machine->channel_lost = true;
	log_error("postern-vsockd ended with %s", process_status_text(status, text));
	problem_tell(machine, PROBLEM_CHANNEL_LOST, NULL);
}

static void on_vmm(void *ctx, enum vmm_event event, const char *text)
{
	struct machine *machine = ctx;

	switch (event) {
	case VMM_STARTED:
		if (machine->state == MACHINE_STARTING)
			boot_begin(machine);
		break;
	case VMM_POWERED_DOWN:
		(void)postern_escape(
			text, strlen(text), machine->guest_reason, sizeof(machine->guest_reason));
		break;
	case VMM_PANICKED:
		(void)snprintf(machine->guest_reason, sizeof(machine->guest_reason), "guest-panic");
		break;
	case VMM_RESET:
		boot_again(machine);
		break;
	case VMM_SILENT:
		machine->vmm_silent = true;
		log_warning("the VMM does not answer");
		problem_tell(machine, PROBLEM_VMM_SILENT, NULL);
		break;
	case VMM_ANSWERS:
		machine->vmm_silent = false;
		log_info("the VMM answers again");
		break;
	case VMM_LOST:
		/* Without its monitor nothing can be done for it any more. */
		log_error("%s", text);
		process_signal(&machine->qemu, SIGKILL);
		break;
	}
}

/* ---- Its start ---- */

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
		&theirs, 1, NULL, on_vsockd_ended, &machine->end);
	argv_done(&argv);
	if (r == 0)
		*ret_fd = take_fd(&ours);
	return r;
}

/* _IOW(VHOST_VIRTIO, 0x60, __u64) of linux/vhost.h: the kernel refuses a CID that another VM of
 * this host has, whoever started it. */
static int open_vhost_vsock(struct machine *machine, int *ret_fd)
{
	AUTO_CLOSE int fd = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC);
	uint64_t cid = machine->config.cid;

	if (fd < 0)
		return fail_errno(&machine->end, POSTERN_ABSENT, errno,
			"/dev/vhost-vsock (is the module vhost_vsock loaded?)");
	if (ioctl(fd, _IOW(0xaf, 0x60, uint64_t), &cid) < 0)
		return fail_errno(
			&machine->end, POSTERN_ANSWERED, errno, "the CID %u", machine->config.cid);
	*ret_fd = take_fd(&fd);
	return 0;
}

static int start_virtiofs(struct share *share, const struct share_config *config, int *ret_fd,
	struct machine *machine)
{
	char path[PATH_MAX];
	int r = share_start(share, config, path, &machine->end);

	if (r < 0)
		return r;
	share->state = SHARE_PLUGGED;
	/* The listening socket is there already: nothing has to be waited for. */
	*ret_fd = unix_connect(path, CONNECT_MS);
	(void)unlink(path);
	if (*ret_fd < 0)
		return fail_errno(&machine->end, POSTERN_ANSWERED, -*ret_fd, "virtiofsd");
	return 0;
}

static int start_shares(struct machine *machine, int fds[VM_ROOT_PORTS])
{
	int r = 0;

	for (size_t i = 0; i < machine->config.n_shares && r == 0; i++) {
		const struct share_config *config = &machine->config.shares[i];

		if (!config->p9) {
			r = start_virtiofs(&machine->shares[i], config, &fds[i], machine);
			continue;
		}
		r = share_take(&machine->shares[i], config, &machine->end);
		/* Each share has its number: the VMM opens this one's folder itself. */
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (r == 0 && fds[i] < 0)
			r = fail_errno(&machine->end, POSTERN_ANSWERED, errno, "/dev/null");
	}
	return r;
}

static int start_vmm(struct machine *machine, int fds[3 + VM_ROOT_PORTS])
{
	struct argv argv = {0};
	int monitor[2], console[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, monitor) < 0)
		return fail_errno(&machine->end, POSTERN_ANSWERED, errno, "socketpair");
	fds[VMM_FD_MONITOR - 3] = monitor[1];
	r = machine->driver->attach(
		&machine->loop, monitor[0], &machine->config, on_vmm, machine, &machine->vmm);
	if (r == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console) < 0)
		r = -errno;
	if (r == 0) {
		fds[VMM_FD_CONSOLE - 3] = console[1];
		r = console_open(&machine->console, &machine->loop, machine->dir_fd, console[0]);
	}
	if (r == 0)
		r = machine->driver->command(&machine->config, &argv);
	if (r < 0)
		return fail_errno(&machine->end, POSTERN_ANSWERED, -r, "the VMM cannot be started");
	r = process_start(&machine->processes, &machine->qemu, machine->driver->name, argv.words,
		fds, 3 + machine->config.n_shares, NULL, on_qemu_ended, &machine->end);
	argv_done(&argv);
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

int machine_start(struct machine *machine, int listener)
{
	int fds[3 + VM_ROOT_PORTS], r;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = -EBADF;
	machine->started = clock_ns(CLOCK_BOOTTIME);
	machine->started_wall = time(NULL);
	for (unsigned i = 0; i < VM_ROOT_PORTS; i++) {
		machine->shares[i].machine = machine;
		machine->shares[i].slot = i;
	}
	r = control_open(&machine->control, &machine->loop, listener, machine_commands, machine);
	if (r < 0)
		(void)fail_errno(&machine->end, POSTERN_ANSWERED, -r, "control socket");
	if (r == 0)
		r = open_readiness(machine);
	if (r == 0)
		r = machine->config.vsock_kernel ? open_vhost_vsock(machine, &fds[VMM_FD_VSOCK - 3])
						 : start_vsockd(machine, &fds[VMM_FD_VSOCK - 3]);
	if (r == 0)
		r = start_shares(machine, &fds[VMM_FD_SHARE - 3]);
	if (r == 0)
		r = start_vmm(machine, fds);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = fd_close(fds[i]);
	if (r == 0)
		boot_set_deadline(machine);
	return r;
}
