/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * postern-supervisor: one for each virtual machine. "postern launch" starts it with the VM's
 * directory (vm.json in it says what to start), the lock that proves that it lives, and the
 * listening control socket; it ends with its VM.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/vm_files.h"
#include "host/supervisor/machine.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#define DIR_LEN_MAX 3900 /* leaves room for the names in it */

static const char usage[] =
	"usage: postern-supervisor --dir DIR\n"
	"It is started by \"postern launch\", with descriptors: 3 the VM's lock, 4 its listening\n"
	"control socket, 5 the lease of its CID, 6 the kernel's vsock device or none.\n";

static int parse(int argc, char **argv, const char **ret_dir)
{
	static const struct option known[] = {{"dir", required_argument, NULL, 'd'}, {0}};
	const char *dir = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
		dir = option == 'd' ? optarg : NULL;
	/* Our children get none of them; what the launching program left open is none of ours. */
	if (optind != argc || !dir || strlen(dir) > DIR_LEN_MAX ||
		fcntl(SUPERVISOR_FD_LOCK, F_SETFD, FD_CLOEXEC) < 0 ||
		fcntl(SUPERVISOR_FD_CONTROL, F_SETFD, FD_CLOEXEC) < 0 ||
		fcntl(SUPERVISOR_FD_LEASE, F_SETFD, FD_CLOEXEC) < 0 ||
		fcntl(SUPERVISOR_FD_VHOST, F_SETFD, FD_CLOEXEC) < 0 ||
		close_range(SUPERVISOR_FD_VHOST + 1, ~0u, 0) < 0) {
		(void)fputs(usage, stderr);
		return -EINVAL;
	}
	*ret_dir = dir;
	return 0;
}

static void on_asked_to_stop(void *ctx)
{
	struct machine *machine = ctx;

	if (machine->vmm)
		machine_stop(machine, NULL, "quit", 0, 0);
	else
		loop_stop(&machine->loop, 0);
}

static int read_config(struct machine *machine)
{
	AUTO_JSON json_t *object = NULL;
	int r = file_read_json(machine->dir_fd, VM_FILE_CONFIG, &object);

	if (r < 0)
		return fail_errno(
			&machine->end, POSTERN_USAGE, -r, "%s/" VM_FILE_CONFIG, machine->dir);
	r = vm_config_from_json(object, &machine->config, &machine->end);
	if (r < 0)
		return r;
	machine->driver = vmm_driver_find(machine->config.driver);
	if (!machine->driver)
		return fail(&machine->end, POSTERN_USAGE, EINVAL, "no driver for the VMM %s",
			machine->config.driver);
	return vmm_check(machine->driver->kind, &machine->config, &machine->end);
}

int main(int argc, char **argv)
{
	static struct machine machine;
	const char *dir;
	int r;

	log_open("postern-supervisor", LOG_LEVEL_INFO);
	if (parse(argc, argv, &dir) < 0)
		return POSTERN_USAGE;
	(void)umask(077);
	(void)snprintf(machine.dir, sizeof(machine.dir), "%s", dir);
	console_init(&machine.console);
	console_init(&machine.virtio_console);
	listener_init(&machine.control.listener);
	machine.dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = machine.dir_fd < 0 ? -errno : loop_init(&machine.loop);
	if (r == 0)
		r = processes_init(&machine.processes, &machine.loop, on_asked_to_stop, &machine);
	if (r < 0) {
		log_error("%s: %s", dir, strerror(-r));
		return POSTERN_ANSWERED;
	}
	r = read_config(&machine);
	if (r == 0)
		r = machine_start(&machine, SUPERVISOR_FD_CONTROL);
	if (r == 0)
		(void)loop_run(&machine.loop);
	if (machine.end.failure != POSTERN_DONE)
		log_error("%s", machine.end.message);
	machine_end(&machine);
	r = (int)machine.end.failure;
	vm_config_done(&machine.config);
	loop_done(&machine.loop);
	return r;
}
