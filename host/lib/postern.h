/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libpostern: virtual machines with Postern's agent, from the host.
 *
 * This header has the machines: launch, list, stop, balloon, the host's half of shares, streams and
 * the console. disks.h has its disks. client.h has the calls to the agent inside, in an event loop
 * or blocking; channel.h and ride.h the streams that answers grant; subscribe.h its events; text.h
 * what makes its text fit for a terminal. This one includes them all.
 *
 * Returns: 0 or -errno (some: a count, or 1), and *error filled (NULL is allowed), whose failure
 * tells refused, absent, timed out and broken protocol apart. What is named ret_ is set only on
 * success, where nothing else is said.
 *
 * Ownership: strings and structures that are passed in are the caller's, and copied where they are
 * needed later; what comes out belongs to what its comment says. "The caller frees" means free().
 *
 * Blocking: functions of this header block, as long as their comment says, unless it says that they
 * do not.
 *
 * Threads: the library has no state of its own: functions may be called by any thread at any time,
 * but no two at once with the same client, listener or watch. It starts no thread.
 *
 * Signals: none is caught, sent, blocked or changed: broken connections raise no SIGPIPE, and the
 * processes that postern_launch() starts no SIGCHLD. Nor are the current folder, the umask, the
 * environment or the locale.
 *
 * Growth: structures that the caller fills in are all zero first: what is reserved stays so.
 *
 * A machine belongs to the user who launched it; root does not see other users' machines. Its name
 * is "NAME", or "ENV/NAME" in an environment: a set of machines with names of its own. "/NAME" is
 * in the one that has no name, as "NAME" is where $POSTERN_ENV is not set, which else is its
 * environment.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/lib/disks.h"
#include "proto/client/channel.h"
#include "proto/client/client.h"
#include "proto/client/ride.h"
#include "proto/client/subscribe.h"
#include "proto/client/text.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* The version of the library that runs: "0.1.0". */
const char *postern_version(void);

/* ---- Launch ---- */

enum postern_accel {
	POSTERN_ACCEL_AUTO, /* hardware acceleration where a trial boot has proved that it works */
	POSTERN_ACCEL_KVM,
	POSTERN_ACCEL_TCG,
};

struct postern_share {
	const char *tag;    /* how the guest names the device; NULL: one is made up */
	const char *source; /* folder of the host */
	const char *target; /* absolute path in the guest; recorded with the device */
	bool read_only;     /* enforced on the host */
	bool persistent;    /* plugged again when a VM of this name is launched again */
	bool p9; /* 9p in place of virtiofs: needs no virtiofsd, but only launch has it */
	uint64_t reserved[4]; /* zero */
};

struct postern_add {
	const char *source;   /* file or folder of the host; programs come with their libraries */
	const char *target;   /* absolute path in the small guest's initramfs */
	uint64_t reserved[2]; /* zero */
};

/* Devices that a machine has or has not. Those that the VMM has are there by default, but for sound
 * input and the network. */
enum postern_device {
	POSTERN_DEVICE_BALLOON = 1,
	POSTERN_DEVICE_CONSOLE = 2, /* besides the serial port */
	POSTERN_DEVICE_GPU = 4,
	POSTERN_DEVICE_RNG = 8,
	POSTERN_DEVICE_SOUND = 16,
	POSTERN_DEVICE_SOUND_INPUT = 32,
	POSTERN_DEVICE_VSOCK = 64, /* without it no agent can be reached: launch with detach */
	POSTERN_DEVICE_NET = 128,  /* of the VMM's own user-mode network */
};

/* Zero means the default, throughout. */
struct postern_launch {
	const char *name; /* [a-z0-9][a-z0-9._-]{0,62}, as above; NULL, or nothing behind the slash:
			     the first free of vm1, vm2, ... */
	const char *kernel;  /* NULL: the small guest's, else the newest of /boot */
	const char *modules; /* its .../lib/modules/RELEASE; NULL: what belongs to the kernel */
	const char *initrd;  /* NULL: the small guest's, unless there is an image */
	const char *image;   /* disk, raw or qcow2; NULL: none */
	bool image_read_only;
	const char *restore; /* folder of postern_snapshot() to go on from. The machine is as it was
				then: of all this only name, detach, timeout and progress count */
	const char *cmdline_add; /* behind the kernel command line */
	uint64_t memory_bytes;   /* 0: 256 MiB */
	unsigned cpus;           /* 0: 1 */
	const char *vmm;         /* "qemu", "firecracker" or "cloud-hypervisor"; NULL: QEMU */
	enum postern_accel accel;
	bool vsock_kernel; /* vhost-vsock of the host's kernel in place of postern-vsockd */
	uint32_t cid;      /* leased for as long as it runs; 0: a free one */
	const struct postern_share *shares;
	size_t n_shares;
	const struct postern_add *adds;
	size_t n_adds;
	const char *const
		*add_modules; /* kernel modules that the small guest has besides its own */
	size_t n_add_modules;
	bool detach;         /* return when the VMM runs, and keep a guest without an agent */
	uint32_t timeout_ms; /* until the agent answers; 0: 60 s */
	/* Told while it goes on: "packing", "proving acceleration" and, where that failed,
	 * "emulating", "starting", "booting", "ready". May be NULL. */
	void (*progress)(void *ctx, const char *state);
	void *ctx;
	uint32_t devices_on, devices_off; /* enum postern_device, or-ed: asked for, not wanted; in
					     neither: the default */
	uint64_t plug_bytes;              /* of memory that can be plugged while it runs; 0: none */
	uint64_t plug_block_bytes; /* that are plugged at a time; 0: 2 MiB, or as the VMM likes */
	uint64_t reserved[13];     /* zero */
};

struct postern_vm; /* what is known of a machine at one moment */

/*
 * Starts a machine and waits until its agent has answered a hello: for launch->timeout_ms, and
 * before that for what has to be packed and tried, a minute at most each. *ret_vm (ret_vm may be
 * NULL) is what is known of it then; postern_vm_free() frees it. On failure nothing is left
 * running, and *ret_vm is the record of a machine that was started and failed (its JSON has
 * "console", the last lines of its console), or NULL.
 */
int postern_launch(const struct postern_launch *launch, struct postern_vm **ret_vm,
	struct postern_error *error);

/* ---- Look ---- */

enum postern_vm_status {
	POSTERN_VM_STARTING, /* until the agent has answered */
	POSTERN_VM_RUNNING,
	POSTERN_VM_STOPPING,
	POSTERN_VM_STOPPED,
	POSTERN_VM_FAILED,      /* ended, and nobody had asked for it */
	POSTERN_VM_TERMINATED,  /* its supervisor is gone without a word */
	POSTERN_VM_UNAVAILABLE, /* its supervisor does not answer */
	POSTERN_VM_PAUSED,
	POSTERN_VM_ASLEEP /* by its own will; postern_resume() wakes it */
};

/* For people: "Running", "VMM Unexpectedly Terminated", ... Static. */
const char *postern_vm_status_name(enum postern_vm_status status);

/* The machines of an environment ("": the one without a name; NULL: $POSTERN_ENV, or that one) of
 * this user, by name, ended ones included. *ret_vms is an array of *ret_n that postern_vms_free()
 * frees. Each that runs is asked, for at most 2 s. 0, or -errno with *error. */
int postern_list(
	const char *env, struct postern_vm ***ret_vms, size_t *ret_n, struct postern_error *error);

/* Frees the array and its machines. */
void postern_vms_free(struct postern_vm **vms, size_t n);

/* The environments of this user, by name, the first of which is "". *ret_envs is an array of *ret_n
 * that postern_envs_free() frees. An environment begins with its first machine and goes when the
 * last one is forgotten. 0, or -errno with *error. Does not block. */
int postern_envs(char ***ret_envs, size_t *ret_n, struct postern_error *error);

/* Frees the array and its names. */
void postern_envs_free(char **envs, size_t n);

/* Which CIDs are leased, by machines of whom, as JSON text: {"leases": [{"cid", "name", "user",
 * "uid", "held"}]}, where "held": false is a lease whose machine was killed. Those of all users of
 * the host, where they share /run/postern-cids, else this user's. The caller frees. 0, or -errno
 * with *error. Does not block. */
int postern_leases_json(char **ret_json, struct postern_error *error);

/* One machine, which postern_vm_free() frees; one that runs is asked, for at most 2 s. 0; -ENOENT
 * with failure ABSENT where there is none of this name, or another -errno, with *error. */
int postern_vm_info(const char *name, struct postern_vm **ret_vm, struct postern_error *error);

/* NULL is allowed. */
void postern_vm_free(struct postern_vm *vm);

/* Its name. This and the next strings live as long as the machine's structure, and are free of
 * control characters; none of these functions blocks. */
const char *postern_vm_name(const struct postern_vm *vm);

/* Its environment; "": the one without a name. */
const char *postern_vm_env(const struct postern_vm *vm);

/* How it was when it was looked at. */
enum postern_vm_status postern_vm_status(const struct postern_vm *vm);

/* How long it has been running, or ran; UINT64_MAX: not known. */
uint64_t postern_vm_uptime_ms(const struct postern_vm *vm);

/* The address that its guest has on the vsock. */
uint32_t postern_vm_cid(const struct postern_vm *vm);

/* Why it ended, a sentence; NULL: it runs. */
const char *postern_vm_reason(const struct postern_vm *vm);

/* How many problems it goes on with. */
size_t postern_vm_problems(const struct postern_vm *vm);

/* One of them, "channel lost: the VM must be restarted"; NULL behind the last. */
const char *postern_vm_problem(const struct postern_vm *vm, size_t i);

/* All that is known, as JSON text. The caller frees; NULL: out of memory. */
char *postern_vm_json(const struct postern_vm *vm);

/*
 * The address of a machine's agent for postern_client_start(): a running VM's name becomes its
 * socket or CID; "vsock:", "unix:" and "local:" come back as they are. The caller frees. -ENOENT
 * with failure ABSENT where no such machine runs.
 */
int postern_vm_address(
	const char *name_or_address, char **ret_address, struct postern_error *error);

/* ---- Act ---- */

struct postern_stop {
	bool force;            /* at once, without asking anybody inside */
	uint32_t agent_ms;     /* for a guest whose agent said yes; 0: 10 s */
	uint32_t powerdown_ms; /* after the power button; 0: 5 s */
	uint64_t reserved[4];  /* zero */
};

/*
 * Ends a machine, resuming it first: asks its agent, then presses the power button, then quits the
 * VMM. stop may be NULL. ret_how[0..16) tells which of "agent", "powerdown", "quit" and "kill" it
 * was, *ret_ms how long it took. -ENOENT where no such machine runs.
 */
int postern_stop(const char *name, const struct postern_stop *stop, char ret_how[16],
	uint64_t *ret_ms, struct postern_error *error);

/* Stops the machine's processors; nothing happens where they stand already. Blocks for 15 s at
 * most. 0; -ENOENT where no such machine runs, or another -errno, with *error. */
int postern_pause(const char *name, struct postern_error *error);

/* Lets a paused machine go on, or wakes one whose guest sleeps; as postern_pause(). */
int postern_resume(const char *name, struct postern_error *error);

/*
 * Keeps the machine's memory and devices (not its disks) in a new folder, for launch's `restore`.
 * The machine is paused meanwhile. Blocks until all is written, for 11 minutes at most. 0;
 * -EOPNOTSUPP for a VMM that cannot; -EBUSY with shares or plugged disks; or another -errno, with
 * *error: there is no folder then.
 */
int postern_snapshot(const char *name, const char *dir, struct postern_error *error);

/* Drops the record of an ended machine. 0; -EBUSY where it runs; -ENOENT where there is none, or
 * another -errno, with *error. */
int postern_forget(const char *name, struct postern_error *error);

/* Has the balloon take `pages` of 4 KiB from the guest, 0 to give all back. Returns when the VMM
 * knows, not when the guest has done it; at most 10 s. 0; -ENOENT where no such machine runs;
 * -EREMOTEIO where the VMM or its supervisor refused, or another -errno, with *error. */
int postern_balloon(const char *name, uint64_t pages, struct postern_error *error);

#define POSTERN_STAT_UNKNOWN UINT64_MAX

/* One statistic of the balloon; value may be POSTERN_STAT_UNKNOWN. */
struct postern_stat {
	char label[24]; /* "swap-in" */
	uint64_t value;
};

#define POSTERN_BALLOON_STATS 12

/* All statistics in the order in which they are shown; the guest is asked for fresh ones, for about
 * two seconds. 0 or -errno with *error, as postern_balloon(). */
int postern_balloon_stats(const char *name, struct postern_stat ret_stats[POSTERN_BALLOON_STATS],
	struct postern_error *error);

/* Asks the guest to have so many bytes of launch->plug_bytes plugged, all in all, 0 to take all
 * out. Returns when the VMM knows; the guest does it in its own time, and as far as it can. 0;
 * -ENODEV where it has no such memory; or -errno with *error, as postern_balloon(). */
int postern_memory_plug(const char *name, uint64_t bytes, struct postern_error *error);

#define POSTERN_MEMORY_STATS 5

/* What has become of that, by the labels "block_size", "region_size" (what can be plugged at most),
 * "usable_region_size" (at most just now), "plugged_size" and "requested_size";
 * POSTERN_STAT_UNKNOWN for what the VMM does not tell. 0 or -errno with *error, as
 * postern_memory_plug(). */
int postern_memory_stats(const char *name, struct postern_stat ret_stats[POSTERN_MEMORY_STATS],
	struct postern_error *error);

/*
 * The host's half of a share: starts virtiofsd and plugs its device. The guest then finds the tag
 * and can mount it. ret_tag has room for 37 bytes. On failure nothing of it is left. 0 or -errno
 * with *error, as postern_balloon().
 */
int postern_share_plug(const char *name, const struct postern_share *share, char ret_tag[37],
	struct postern_error *error);

/* Unplugs the device (the guest must have unmounted it) and ends its virtiofsd. 0 or -errno with
 * *error, as postern_balloon(). */
int postern_share_unplug(const char *name, const char *tag, struct postern_error *error);

/*
 * Both halves of a share as one: plugs it, then has the agent mount it at share->target (virtiofs),
 * waiting for the device at most wait_ms (0: 10 s). If the second half fails, or is not answered,
 * both are undone; *error tells of what could not be. 0 or -errno with *error.
 */
int postern_share_add(const char *name, const struct postern_share *share, uint32_t wait_ms,
	char ret_tag[37], struct postern_error *error);

/*
 * Has the agent unmount the share at this target (or of this tag), then unplugs it. Where the agent
 * refuses (a file is in use) nothing changes, unless lazy is set. 0 or -errno with *error.
 */
int postern_share_remove(
	const char *name, const char *target_or_tag, bool lazy, struct postern_error *error);

/* ---- Streams ---- */

/*
 * Connects to a vsock port of a guest: to whatever listens there, not to the agent. name_or_address
 * as for postern_vm_address(), but not "local:". Blocks for at most timeout_ms (0: 5 s). 0 with
 * *ret_fd, a non-blocking stream that the caller owns; -ECONNREFUSED where nobody listens, or
 * another -errno, with *error.
 */
int postern_stream_open(const char *name_or_address, uint32_t port, uint32_t timeout_ms,
	int *ret_fd, struct postern_error *error);

/*
 * The console of a machine, its first serial port, as a stream: what is read is the guest's output,
 * raw as it came; what is written is its input. With scrollback the last 64 KiB (at most) come
 * first. Any number up to 16 may have it at once; what they write reaches the guest in pieces as
 * they came. A reader that is too slow misses output, and reads a line in its place that says how
 * much. It ends with the machine. Blocks for at most 5 s. 0 with *ret_fd, a non-blocking stream
 * socket that the caller owns (after shutdown(SHUT_WR) it goes on reading); -ENOENT where no such
 * machine runs, or another -errno, with *error.
 */
int postern_console_open(
	const char *name, bool scrollback, int *ret_fd, struct postern_error *error);

/* The same for its virtio console, hvc0 in the guest; -ENODEV where it was launched without. */
int postern_virtio_console_open(
	const char *name, bool scrollback, int *ret_fd, struct postern_error *error);

struct postern_listener;

/*
 * Listens on a port of the host for a machine's guest, which reaches it as CID 2, or with name NULL
 * for any guest that the kernel's vhost-vsock serves. Does not block. 0; -EADDRINUSE where somebody
 * listens there already; -ENOENT where no such machine runs, or another -errno, with *error.
 * postern_listener_close() ends it.
 */
int postern_listener_open(const char *name, uint32_t port, struct postern_listener **ret_listener,
	struct postern_error *error);

/* For an event loop: can be read when a connection waits. Borrowed. */
int postern_listener_fd(const struct postern_listener *listener);

/* The next connection, a non-blocking stream that the caller owns; -EAGAIN where none waits, or
 * another -errno of accept(). Does not block. */
int postern_listener_accept(struct postern_listener *listener);

/* Ends it; a connection that waits finds nobody. NULL is allowed. */
void postern_listener_close(struct postern_listener *listener);

/* ---- Watch ---- */

/*
 * What happens to a machine itself. Subscriptions to what happens in the guest are subscribe.h's.
 *
 *   vm.state    {"state": "starting" | "booting" | "ready" | "paused" | "asleep" | "stopping" |
 * "ended"} vm.reset    {}: the guest boots again vm.share    {"tag", "what"}: added, removed, dead,
 * mounted, not mounted vm.memory   {"plugged_bytes"}: so much memory is plugged now; QEMU's
 * machines only vm.problem  {"problem", "help"}: something is wrong that the machine goes on with
 */
struct postern_vm_event {
	const char *topic;
	const char *payload; /* JSON text of an object, as above */
	uint64_t time_ns;    /* since 1970 */
	bool snapshot;       /* it was so when the watch began */
	uint64_t reserved[4];
};

struct postern_vm_watch;

/* Begins to watch a machine. With snapshot the first events are its state and its problems. 0;
 * -ENOENT where no such machine runs, or -errno with *error. postern_vm_watch_close() frees. */
int postern_vm_watch_open(const char *name, bool snapshot, struct postern_vm_watch **ret_watch,
	struct postern_error *error);

/* NULL is allowed. */
void postern_vm_watch_close(struct postern_vm_watch *watch);

/* For an event loop: can be read when there is something new; borrowed. Ask for events until there
 * is none first, and each time. */
int postern_vm_watch_fd(const struct postern_vm_watch *watch);

/* The next event, valid until the next call: 1. 0: none came within timeout_ms (0: none is here,
 * -1: for ever). -ECONNRESET once the supervisor is gone, which is after the state "ended" unless
 * it was killed; or -errno with *error. */
int postern_vm_watch_next(struct postern_vm_watch *watch, int timeout_ms,
	struct postern_vm_event *ret_event, struct postern_error *error);

/* ---- JSON ----
 *
 * Methods, topics and their fields have the names of the .proto files. 64-bit numbers are JSON
 * integers, enumerations their names, absent fields are left out; bytes are a string where they are
 * UTF-8 without NUL, else {"base64": "..."}. Text that comes out is one line of ASCII without
 * control characters, so that a terminal may see it. None of these functions blocks but
 * postern_json_call().
 */

/* Parameters for postern_call_start(): json (an object; NULL: an empty one) as the method's
 * message, packed. The caller frees *ret_params. 0; -EINVAL where there is no such method or no
 * such field, with *error; -ENOMEM. */
int postern_json_params(const char *method, const char *json, uint8_t **ret_params, size_t *ret_len,
	struct postern_error *error);

/* A method's result, or the payload of a topic, as JSON. The caller frees *ret_json. 0; -EINVAL for
 * a name that is none; -EBADMSG for bytes that are not its message, with *error; -ENOMEM. */
int postern_json_result(const char *method_or_topic, const uint8_t *result, size_t len,
	char **ret_json, struct postern_error *error);

/* One call to its end, as postern_call(), with JSON both ways; the arrays of an answer in parts are
 * joined. The caller frees *ret_json. 0, or -errno with *error, as postern_call() and the two
 * above. */
int postern_json_call(struct postern_client *client, const char *method, const char *json,
	uint32_t timeout_ms, char **ret_json, struct postern_error *error);

/* All that an error tells, the agent's details among it: who holds a mount that is busy. The caller
 * frees; NULL: out of memory. */
char *postern_json_error(const struct postern_error *error);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
