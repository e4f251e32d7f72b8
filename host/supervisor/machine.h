/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One virtual machine: its processes, its monitor, its state.
 *
 *   STARTING   postern-vsockd, virtiofsd and the VMM are being started
 *   BOOTING    the VMM runs; the agent has not answered yet, or not since the guest was reset
 *   READY      the agent answered a hello
 *   STOPPING   asked to end
 *   ENDED      the VMM has ended; why stands in end_*
 *
 * The VMM's end is the machine's. A helper's end is a problem that status names, with what helps.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/common/vm_config.h"
#include "host/supervisor/console.h"
#include "host/supervisor/control.h"
#include "host/supervisor/process.h"
#include "host/supervisor/ready.h"
#include "host/supervisor/remount.h"
#include "host/vmm/vmm.h"
#include "proto/loop.h"

enum machine_state {
	MACHINE_STARTING,
	MACHINE_BOOTING,
	MACHINE_READY,
	MACHINE_STOPPING,
	MACHINE_ENDED
};

#define SNAPSHOT_DIR_MAX 2048

enum share_state { SHARE_FREE, SHARE_PLUGGING, SHARE_PLUGGED, SHARE_UNPLUGGING };

/* A slot of the VMM, and the share in it. */
struct share {
	struct machine *machine;
	unsigned slot;
#define SNAPSHOT_DIR_MAX 2048

	enum share_state state;
	bool dead;      /* virtiofsd ended while the device was plugged */
	bool stuck;     /* and the guest cannot let go: somebody in it waits for an answer */
	bool unmounted; /* the guest was booted again, and could not mount it */
	struct share_config config; /* strings are owned */
	struct process virtiofsd;
	struct request *request; /* to be answered when the operation under way ends */
};

/* A slot of the VMM for disks, and what is in it. */
struct disk {
	struct machine *machine;
	unsigned slot;
	enum share_state state;
	char *path; /* owned */
	bool read_only;
	struct request *request; /* to be answered when the operation under way ends */
};

/* A snapshot that is being made. */
struct snapshot {
	char dir[SNAPSHOT_DIR_MAX];
	bool resume;                /* the machine ran before */
	struct postern_error error; /* what went wrong already */
};

struct stop {
	struct request *request; /* who waits for the end; NULL: a signal asked, or its peer left */
	const char *how;  /* the step that is under way: "agent", "powerdown", "quit", "kill" */
	uint64_t started; /* CLOCK_MONOTONIC ns */
	uint32_t powerdown_ms;
	struct loop_timer timer;
};

struct machine {
	struct loop loop;
	struct processes processes;
	struct control control;
	struct vm_config config;
	const struct vmm_driver *driver;
	char dir[PATH_MAX]; /* of this VM */
	int dir_fd;

	enum machine_state state;
	uint64_t started; /* CLOCK_BOOTTIME ns: uptime counts suspended time */
	bool answered;    /* an agent has, in this boot of the guest or an earlier one */
	uint64_t ready_after_ms;
	int64_t started_wall;   /* seconds since 1970 */
	char agent_version[64]; /* escaped; "" until the agent answered */
	uint8_t boot_id[16];
	bool silent; /* the agent did not answer in time, and the VM was to be kept */

	struct process vmm_process, vsockd;
	bool channel_lost;
	bool vmm_silent;
	bool paused;
	bool asleep;                /* by its own will */
	uint64_t plugged_bytes;     /* of memory, as the VMM told last */
	struct request *ballooning; /* the one that asks the VMM to move the balloon */
	uint64_t balloon_asked;     /* pages, by that one */
	struct balloon_watch balloon;
	struct loop_timer balloon_timer; /* armed while it is on its way */
	struct vmm *vmm;
	struct console console, virtio_console;
	struct ready ready;
	struct loop_timer ready_deadline;
	struct remount remount;
	struct request *pausing; /* the one that has it paused, resumed or saved */
	struct snapshot snapshot;
	struct share shares[VM_SHARES_MAX];
	struct disk disks[VM_DISKS_MAX];
	struct stop stop;
	struct request *waiting_start, *waiting_ready; /* for the VMM, for the agent */

	char guest_reason[32]; /* why the guest ended, as the VMM told: "guest-shutdown" */
	struct postern_error
		end; /* failure DONE: the machine was stopped, or the guest shut down */
};

/* Starts everything. 0, or -errno with machine->end; nothing runs then. */
int machine_start(struct machine *machine, int listener);

/* What happens to it, for machine_start(). */
void machine_vmm_event(void *ctx, enum vmm_event event, const char *text);
void machine_vmm_ended(struct process *process, int status);
void machine_vsockd_ended(struct process *process, int status);

/* Kills what runs, tells who waits, leaves the record of the end, removes the sockets. */
void machine_end(struct machine *machine);

/* Changes the state and tells the subscribers. */
void machine_enter(struct machine *machine, enum machine_state state);

/* Answers everybody in the list, with the error or the machine's state, and empties it. */
void machine_tell(
	struct machine *machine, struct request **list, const struct postern_error *error);

/* The path of a file in the VM's directory; at least PATH_MAX bytes; returns text. */
const char *machine_path(const struct machine *machine, char path[PATH_MAX], const char *name);

const char *machine_state_name(const struct machine *machine);

/* Asks for the end: how is the first step, "agent" (wait until the guest goes down by itself),
 * "powerdown" or "quit"; each step is followed by the next after its time. request may be NULL. */
void machine_stop(struct machine *machine, struct request *request, const char *how,
	uint32_t agent_ms, uint32_t powerdown_ms);

/* The state of things as an object; a new reference. */
json_t *machine_status(const struct machine *machine);

/* ---- Shares ---- */

/* Starts a virtiofsd for the share. 0 with a listening socket's path in *ret_socket (in the VM's
 * directory) or -errno with *error. */
int share_start(struct share *share, const struct share_config *config, char ret_socket[PATH_MAX],
	struct postern_error *error);

/* Takes a share that the VMM serves by itself from its start on (9p). 0 or -errno with *error. */
int share_take(struct share *share, const struct share_config *config, struct postern_error *error);

/* Where its virtiofsd listens until the VMM has connected; path has PATH_MAX bytes, and is
 * returned. */
const char *share_socket_path(const struct share *share, char path[PATH_MAX]);

/* Ends its virtiofsd, if it has one, and empties it. */
void share_stop(struct share *share);

/* Tells the subscribers what became of it. */
void share_event(struct share *share, const char *what);

/* Commands of the control socket. */
void share_add_command(void *ctx, struct request *request, const json_t *arguments);
void share_remove_command(void *ctx, struct request *request, const json_t *arguments);

/* The disks that are plugged, as a list; a new reference. */
json_t *disks_status(const struct machine *machine);

void disks_init(struct machine *machine);

/* Answers who waits for one, and forgets all. */
void disks_end(struct machine *machine, const struct postern_error *error);

/* True where one is plugged, or just being so. */
bool disks_any(const struct machine *machine);

void disk_add_command(void *ctx, struct request *request, const json_t *arguments);
void disk_remove_command(void *ctx, struct request *request, const json_t *arguments);
void disk_resize_command(void *ctx, struct request *request, const json_t *arguments);

void balloon_command(void *ctx, struct request *request, const json_t *arguments);
void balloon_stats_command(void *ctx, struct request *request, const json_t *arguments);
void memory_plug_command(void *ctx, struct request *request, const json_t *arguments);
void memory_stats_command(void *ctx, struct request *request, const json_t *arguments);

void pause_command(void *ctx, struct request *request, const json_t *arguments);
void resume_command(void *ctx, struct request *request, const json_t *arguments);
void snapshot_command(void *ctx, struct request *request, const json_t *arguments);

extern const struct control_command machine_commands[];
