/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done to a running machine. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/json_line.h"
#include "host/common/vm_files.h"
#include "host/lib/control_client.h"
#include "host/lib/postern.h"
#include "host/lib/registry.h"
#include "host/vmm/balloon.h"
#include "host/vmm/memory.h"
#include "host/vmm/vmm_kind.h"
#include "power.pb-c.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/encode.h"

#define AGENT_MS_DEFAULT     10000
#define POWERDOWN_MS_DEFAULT 5000
#define ASK_MS               3000   /* for the agent to answer at all */
#define END_MS               10000  /* beyond the steps' own times: quit, kill, clean-up */
#define VMM_MS               15000  /* more than a monitor has for an answer */
#define STATS_MS             25000  /* several, and the guest has two seconds */
#define SNAPSHOT_MS          660000 /* the guest's memory goes to a disk */

/* Whether the machine's VMM ends with a reboot of its guest, and only so. */
static bool reboot_is_end(const char *name)
{
	AUTO_CLOSE int dir_fd = -EBADF;
	AUTO_JSON json_t *config = NULL;
	const struct vmm_kind *kind;
	char dir[PATH_MAX];
	bool live;

	if (registry_open(name, dir, &dir_fd, &live, NULL) < 0 ||
		file_read_json(dir_fd, VM_FILE_CONFIG, &config) < 0)
		return false;
	kind = vmm_kind_find(json_field_string(config, "driver", ""));
	return kind && kind->reboot_is_end;
}

/* True once the agent has said that it shuts the guest down. One that answers has its time to: its
 * process 1 may be busy. */
static bool ask_agent(const char *name, uint32_t agent_ms)
{
	struct postern_options options = {.name = "postern", .connect_ms = ASK_MS};
	Postern__V1__PowerShutdownRequest request = POSTERN__V1__POWER_SHUTDOWN_REQUEST__INIT;
	struct postern_client *client = NULL;
	struct postern_error error = {0};
	AUTO_FREE char *address = NULL;
	uint8_t packed[16 + ENCODE_SLACK], *end = packed + sizeof(packed);
	size_t len;
	int r = postern_vm_address(name, &address, &error);

	request.has_mode = 1;
	request.mode = reboot_is_end(name) ? POSTERN__V1__SHUTDOWN_MODE__REBOOT
					   : POSTERN__V1__SHUTDOWN_MODE__POWER_OFF;
	len = encode_before(packed, end, &request.base);
	if (r == 0)
		r = postern_client_open(address, &options, &client, &error);
	if (r == 0)
		r = postern_call(
			client, "power.shutdown", end - len, len, agent_ms, NULL, NULL, &error);
	postern_client_close(client);
	postern_error_clear(&error);
	return r == 0;
}

int postern_stop(const char *name, const struct postern_stop *stop, char ret_how[16],
	uint64_t *ret_ms, struct postern_error *error)
{
	uint32_t agent_ms = stop && stop->agent_ms ? stop->agent_ms : AGENT_MS_DEFAULT;
	uint32_t powerdown_ms =
		stop && stop->powerdown_ms ? stop->powerdown_ms : POWERDOWN_MS_DEFAULT;
	uint64_t start = monotonic_ns();
	const char *how = "quit";
	AUTO_JSON json_t *result = NULL;
	int r;

	if (!stop || !stop->force) {
		/* Nobody in a paused guest would hear of it. */
		(void)postern_resume(name, NULL);
		how = ask_agent(name, agent_ms) ? "agent" : "powerdown";
	}
	r = control_call_vm(name, "stop",
		json_pack("{s:s, s:i, s:i}", "how", how, "agent_ms", (int)agent_ms, "powerdown_ms",
			(int)powerdown_ms),
		(int)(agent_ms + powerdown_ms + END_MS), &result, error);
	/* The guest was faster than we. */
	if (strcmp(how, "agent") == 0 &&
		(r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET || r == -EPIPE))
		r = 0;
	if (r < 0)
		return r;
	(void)snprintf(ret_how, 16, "%.15s", json_field_string(result, "how", how));
	*ret_ms = (monotonic_ns() - start) / NSEC_PER_MSEC;
	return 0;
}

int postern_pause(const char *name, struct postern_error *error)
{
	return control_call_vm(name, "pause", NULL, VMM_MS, NULL, error);
}

int postern_resume(const char *name, struct postern_error *error)
{
	return control_call_vm(name, "resume", NULL, VMM_MS, NULL, error);
}

int postern_snapshot(const char *name, const char *dir, struct postern_error *error)
{
	AUTO_FREE char *here = NULL, *path = NULL;
	json_t *arguments;

	if (dir[0] != '/')
		here = getcwd(NULL, 0);
	path = dir[0] == '/' ? strdup(dir) : text_format("%s/%s", here ? here : ".", dir);
	arguments = path ? json_pack("{s:s}", "dir", path) : NULL;
	if (!arguments)
		return fail(error, POSTERN_USAGE, EILSEQ, "the folder's path is not UTF-8");
	return control_call_vm(name, "snapshot", arguments, SNAPSHOT_MS, NULL, error);
}

int postern_forget(const char *name, struct postern_error *error)
{
	return registry_drop(name, error);
}

int postern_balloon(const char *name, uint64_t pages, struct postern_error *error)
{
	if (pages > INT64_MAX)
		return fail(error, POSTERN_USAGE, ERANGE, "that many pages no guest has");
	return control_call_vm(name, "balloon", json_pack("{s:I}", "pages", (json_int_t)pages),
		VMM_MS, NULL, error);
}

int postern_balloon_stats(const char *name, struct postern_stat ret_stats[POSTERN_BALLOON_STATS],
	struct postern_error *error)
{
	AUTO_JSON json_t *result = NULL;
	struct balloon_stats stats;
	int r = control_call_vm(name, "balloon-stats", NULL, STATS_MS, &result, error);

	_Static_assert(
		POSTERN_BALLOON_STATS == BALLOON_STATS + 2, "the public header counts them too");
	if (r < 0)
		return r;
	balloon_stats_from_json(result, &stats);
	(void)strcpy(ret_stats[0].label, "current-pages");
	ret_stats[0].value = stats.current_pages;
	(void)strcpy(ret_stats[1].label, "requested-pages");
	ret_stats[1].value = stats.requested_pages;
	for (int i = 0; i < BALLOON_STATS; i++) {
		(void)snprintf(ret_stats[i + 2].label, sizeof(ret_stats[0].label), "%s",
			balloon_stat_name((enum balloon_stat)i));
		ret_stats[i + 2].value = stats.values[i];
	}
	return 0;
}

int postern_memory_plug(const char *name, uint64_t bytes, struct postern_error *error)
{
	if (bytes > INT64_MAX)
		return fail(error, POSTERN_USAGE, ERANGE, "so much memory no guest has");
	return control_call_vm(name, "memory-plug", json_pack("{s:I}", "bytes", (json_int_t)bytes),
		VMM_MS, NULL, error);
}

int postern_memory_stats(const char *name, struct postern_stat ret_stats[POSTERN_MEMORY_STATS],
	struct postern_error *error)
{
	AUTO_JSON json_t *result = NULL;
	struct memory_stats stats;
	int r = control_call_vm(name, "memory-stats", NULL, VMM_MS, &result, error);

	_Static_assert(POSTERN_MEMORY_STATS == MEMORY_STATS, "the public header counts them too");
	if (r < 0)
		return r;
	memory_stats_from_json(result, &stats);
	for (int i = 0; i < MEMORY_STATS; i++) {
		(void)snprintf(
			ret_stats[i].label, sizeof(ret_stats[i].label), "%s", memory_stat_names[i]);
		ret_stats[i].value = *memory_stat(&stats, i);
	}
	return 0;
}
