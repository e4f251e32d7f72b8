/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vmm/qemu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/vmm/qemu_vmm.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define GREETING_MS 20000 /* QEMU opens its monitor before anything slow */

struct operation {
	struct vmm *vmm;
	struct operation *next;
	vmm_done_fn fn;
	void *ctx;
};

static void lost(struct vmm *vmm, const struct postern_error *error)
{
	loop_io_del(&vmm->io);
	loop_timer_del(&vmm->deadline);
	vmm->on_event(vmm->ctx, VMM_LOST, error->message);
}

/* Follows what the monitor's connection waits for. */
void qemu_watch(struct vmm *vmm)
{
	short events = qmp_events(vmm->qmp);
	uint64_t deadline = qmp_deadline(vmm->qmp);

	(void)loop_io_set(&vmm->io, (uint32_t)events); /* poll() and epoll share these bits */
	if (deadline == UINT64_MAX)
		loop_timer_del(&vmm->deadline);
	else
		loop_timer_set(vmm->loop, &vmm->deadline, deadline);
}

static void dispatch(struct vmm *vmm)
{
	struct postern_error error = {0};

	if (qmp_dispatch(vmm->qmp, &error) < 0)
		lost(vmm, &error);
	else
		qemu_watch(vmm);
	postern_error_clear(&error);
}

static void on_io(struct loop_io *io, uint32_t events)
{
	(void)events;
	dispatch(container_of(io, struct vmm, io));
}

static void on_deadline(struct loop_timer *timer)
{
	dispatch(container_of(timer, struct vmm, deadline));
}

static void tell_sleep(struct vmm *vmm, bool asleep)
{
	vmm->asleep = asleep;
	vmm->on_event(vmm->ctx, asleep ? VMM_ASLEEP : VMM_AWAKE, "");
}

static void tell_reset(struct vmm *vmm, const char *reason)
{
	vmm->asleep = false;
	vmm->on_event(vmm->ctx, VMM_RESET, reason);
}

static void on_event(void *ctx, const char *name, const json_t *data)
{
	struct vmm *vmm = ctx;

	if (strcmp(name, "DEVICE_DELETED") == 0)
		qemu_device_deleted(vmm, json_field_string(data, "device", ""));
	else if (strcmp(name, "SHUTDOWN") == 0)
		vmm->on_event(vmm->ctx, VMM_POWERED_DOWN, json_field_string(data, "reason", ""));
	else if (strcmp(name, "RESET") == 0)
		tell_reset(vmm, json_field_string(data, "reason", ""));
	else if (strcmp(name, "SUSPEND") == 0 || strcmp(name, "WAKEUP") == 0)
		tell_sleep(vmm, name[0] == 'S');
	else if (strcmp(name, "MEMORY_DEVICE_SIZE_CHANGE") == 0)
		qemu_memory_changed(vmm, data);
	else if (strcmp(name, "GUEST_PANICKED") == 0)
		vmm->on_event(vmm->ctx, VMM_PANICKED, "");
}

static void on_silence(void *ctx, bool silent)
{
	struct vmm *vmm = ctx;

	vmm->on_event(vmm->ctx, silent ? VMM_SILENT : VMM_ANSWERS, "");
}

int qemu_call(struct vmm *vmm, const char *command, json_t *arguments, qmp_reply_fn fn, void *ctx)
{
	/* Commands wait for the greeting, whose own deadline is the longer one. */
	uint32_t timeout_ms = vmm->started ? QEMU_CALL_MS : GREETING_MS;
	int r = qmp_call(vmm->qmp, command, arguments, timeout_ms, fn, ctx);

	if (r == 0)
		qemu_watch(vmm);
	return r;
}

int qemu_fail(struct postern_error *error, int r, const char *command)
{
	if (r == -EBUSY)
		return fail(error, POSTERN_TIMED_OUT, EBUSY,
			"QEMU: %s: %d commands before it are not answered yet", command,
			QMP_OPEN_MAX);
	return fail_errno(error, POSTERN_ABSENT, -r, "QEMU: %s", command);
}

static void on_done(void *ctx, const struct postern_error *error, const json_t *result)
{
	struct operation *operation = ctx, **link = &operation->vmm->operations;

	(void)result;
	while (*link != operation)
		link = &(*link)->next;
	*link = operation->next;
	operation->fn(operation->ctx, error);
	free(operation);
}

void qemu_simple(struct vmm *vmm, const char *command, json_t *arguments, vmm_done_fn fn, void *ctx)
{
	struct operation *operation = malloc(sizeof(*operation));
	struct postern_error error = {0};
	int r = -ENOMEM;

	if (operation) {
		*operation = (struct operation){vmm, vmm->operations, fn, ctx};
		r = qemu_call(vmm, command, arguments, on_done, operation);
	} else {
		json_decref(arguments);
	}
	if (r == 0) {
		vmm->operations = operation;
		return;
	}
	free(operation);
	(void)qemu_fail(&error, r, command);
	fn(ctx, &error);
}

static void powerdown(struct vmm *vmm, vmm_done_fn fn, void *ctx)
{
	qemu_simple(vmm, "system_powerdown", NULL, fn, ctx);
}

static void quit(struct vmm *vmm, vmm_done_fn fn, void *ctx)
{
	qemu_simple(vmm, "quit", NULL, fn, ctx);
}

static void do_pause(struct vmm *vmm, vmm_done_fn fn, void *ctx)
{
	qemu_simple(vmm, "stop", NULL, fn, ctx);
}

static void resume(struct vmm *vmm, vmm_done_fn fn, void *ctx)
{
	/* A guest that sleeps is not stopped, and what it sleeps with is not to be gone on with. */
	qemu_simple(vmm, vmm->asleep ? "system_wakeup" : "cont", NULL, fn, ctx);
}

static void on_balloon(void *ctx, const struct postern_error *error)
{
	struct vmm *vmm = ctx;

	if (!error)
		vmm->balloon.requested = vmm->balloon.pages;
	else if (error->sys_errno == ETIMEDOUT)
		vmm->balloon.requested = BALLOON_UNKNOWN;
	vmm->balloon.fn(vmm->balloon.ctx, error);
}

static void balloon(struct vmm *vmm, uint64_t pages, vmm_done_fn fn, void *ctx)
{
	uint64_t left = balloon_left(vmm->config->memory_bytes, pages);

	vmm->balloon.pages = pages;
	vmm->balloon.fn = fn;
	vmm->balloon.ctx = ctx;
	qemu_simple(vmm, "balloon", json_pack("{s:I}", "value", (json_int_t)left), on_balloon, vmm);
}

static void booted(struct vmm *vmm)
{
	(void)qemu_call(vmm, "set-action", json_pack("{s:s}", "reboot", "reset"), NULL, NULL);
}

static void on_started(void *ctx, const struct postern_error *error, const json_t *result)
{
	struct vmm *vmm = ctx;

	(void)result;
	if (error) {
		/* Slow to start, on a host that has much to do; its end is told otherwise. */
		if (error->failure == POSTERN_TIMED_OUT)
			(void)qemu_call(vmm, "query-status", NULL, on_started, vmm);
		return;
	}
	vmm->started = true;
	vmm->on_event(vmm->ctx, VMM_STARTED, "");
}

/* Takes the monitor's stream, also on failure. */
static int attach(const struct vmm_setup *setup, int fd, struct vmm **ret_vmm)
{
	struct vmm *vmm = calloc(1, sizeof(*vmm));
	struct qmp_watcher watcher = {on_event, on_silence, vmm};
	int r = -ENOMEM;

	if (!vmm) {
		(void)fd_close(fd);
		return r;
	}
	vmm->loop = setup->loop;
	vmm->config = setup->config;
	vmm->on_event = setup->on_event;
	vmm->ctx = setup->ctx;
	vmm->io.fn = on_io;
	vmm->deadline.fn = on_deadline;
	r = qmp_open(fd, GREETING_MS, &watcher, &vmm->qmp);
	if (r == 0)
		r = loop_io_add(vmm->loop, &vmm->io, qmp_fd(vmm->qmp), EPOLLIN);
	if (r == 0)
		r = qemu_call(vmm, "query-status", NULL, on_started, vmm);
	if (r < 0) {
		loop_io_del(&vmm->io);
		loop_timer_del(&vmm->deadline);
		qmp_close(vmm->qmp);
		free(vmm);
		return r;
	}
	*ret_vmm = vmm;
	return 0;
}

static int do_open(const struct vmm_setup *setup, struct vmm **ret_vmm,
	struct vmm_process *ret_process, struct postern_error *error)
{
	AUTO_CLOSE int ours = -EBADF, theirs = -EBADF;
	struct qemu_fds fds;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return fail_errno(error, POSTERN_ANSWERED, errno, "QEMU's monitor");
	ours = pair[0];
	theirs = pair[1];
	fds.monitor = vmm_process_add(ret_process, theirs);
	fds.console = vmm_process_add(ret_process, setup->console);
	fds.vsock = setup->vsock < 0 ? 0 : vmm_process_add(ret_process, setup->vsock);
	fds.virtio_console =
		setup->virtio_console < 0 ? 0 : vmm_process_add(ret_process, setup->virtio_console);
	if (fds.monitor < 0 || fds.console < 0 || fds.vsock < 0 || fds.virtio_console < 0 ||
		qemu_command(setup, &fds, &ret_process->argv) < 0)
		return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "QEMU");
	r = attach(setup, take_fd(&ours), ret_vmm);
	return r < 0 ? fail_errno(error, POSTERN_ANSWERED, -r, "QEMU") : 0;
}

static void do_close(struct vmm *vmm)
{
	if (!vmm)
		return;
	loop_io_del(&vmm->io);
	loop_timer_del(&vmm->deadline);
	qemu_slots_forget(vmm);
	qemu_stats_forget(vmm);
	stats_forget(&vmm->memory);
	qmp_close(vmm->qmp);
	while (vmm->operations) {
		struct operation *operation = vmm->operations;

		vmm->operations = operation->next;
		free(operation);
	}
	free(vmm);
}

const struct vmm_driver qemu_driver = {
	.kind = &vmm_kinds[VMM_QEMU],
	.open = do_open,
	.close = do_close,
	.booted = booted,
	.powerdown = powerdown,
	.quit = quit,
	.pause = do_pause,
	.resume = resume,
	.balloon = balloon,
	.balloon_size = qemu_balloon_size,
	.balloon_stats = qemu_balloon_stats,
	.plug_memory = qemu_plug_memory,
	.memory_stats = qemu_memory_stats,
	.plug = qemu_plug,
	.unplug = qemu_unplug,
	.resize_disk = qemu_resize_disk,
};
