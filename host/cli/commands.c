/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every command, in the order in which help shows them. */
#include "host/cli/command.h"

/* clang-format off */
#define COMMANDS(X) \
	X(launch) \
	X(list) \
	X(stop) \
	X(forget) \
	X(pause) \
	X(resume) \
	X(suspend) \
	X(snapshot) \
	X(restored) \
	X(info) \
	X(ping) \
	X(components) \
	X(methods) \
	X(cp) \
	X(exec) \
	X(vsh) \
	X(jobs_list) \
	X(jobs_attach) \
	X(jobs_signal) \
	X(jobs_wait) \
	X(jobs_forget) \
	X(mounts_list) \
	X(mounts_mount) \
	X(mounts_unmount) \
	X(fs_freeze) \
	X(fs_thaw) \
	X(fs_status) \
	X(fs_trim) \
	X(fs_sync) \
	X(time_show) \
	X(time_sync) \
	X(time_zone) \
	X(net_list) \
	X(net_routes) \
	X(net_neighbours) \
	X(net_link) \
	X(net_address) \
	X(net_route) \
	X(net_dns) \
	X(cpus_list) \
	X(cpus_set) \
	X(shares_list) \
	X(shares_add) \
	X(shares_remove) \
	X(disks_list) \
	X(disks_add) \
	X(disks_remove) \
	X(disks_attach) \
	X(disks_detach) \
	X(disks_grow) \
	X(disks_benchmark) \
	X(files_list) \
	X(files_stat) \
	X(files_cat) \
	X(files_sum) \
	X(files_put) \
	X(files_mkdir) \
	X(files_mv) \
	X(files_rm) \
	X(files_watch) \
	X(files_touched) \
	X(load) \
	X(metrics) \
	X(modules_list) \
	X(modules_info) \
	X(modules_load) \
	X(modules_unload) \
	X(ports) \
	X(forward) \
	X(socat) \
	X(socat_listen) \
	X(vsock_perf) \
	X(serial) \
	X(attach) \
	X(logs) \
	X(property_get) \
	X(property_list) \
	X(property_set) \
	X(property_remove) \
	X(property_watch) \
	X(heartbeat) \
	X(events) \
	X(call) \
	X(balloon) \
	X(balloon_stats) \
	X(mem_request_plugged) \
	X(mem_stats) \
	X(mem_blocks) \
	X(mem_set_blocks) \
	X(mem_reclaim)
/* clang-format on */

#define DECLARE(name) extern const struct command cmd_##name;
COMMANDS(DECLARE)

#define ROW(name) &cmd_##name,
const struct command *const commands[] = {COMMANDS(ROW) NULL};
