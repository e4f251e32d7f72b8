/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's counters at one moment, read through descriptors that the broker lent. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/history.h"

struct disk_counters {
	char name[32];
	uint64_t reads, writes;               /* requests */
	uint64_t read_sectors, write_sectors; /* of 512 bytes */
	uint64_t busy_ms;
};

struct link_counters {
	char name[16];
	uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets, errors;
};

struct counters {
	uint64_t taken_ns; /* CLOCK_MONOTONIC */
	double load[3];
	uint64_t cpu_busy, cpu_total;                       /* ticks of all cores */
	uint64_t memory_total, memory_available, swap_used; /* bytes */
	double pressure[3];                                 /* some avg10: cpu, memory, io */
	uint32_t disks, links;
	struct disk_counters disk[RATES_MAX];
	struct link_counters link[RATES_MAX];
};

/* Reads everything; what is not there stays 0. fds is indexed by enum watch_fd. */
void counters_read(const int *fds, struct counters *ret);

/* The rate of one disk or link since then, over s seconds. False where it was not there then. */
bool counters_disk_rate(const struct counters *then, const struct disk_counters *now, double s,
	struct disk_rate *ret);
bool counters_link_rate(const struct counters *then, const struct link_counters *now, double s,
	struct link_rate *ret);

/* False for partitions, loop, RAM and mapped devices, whose bytes their disks count too. */
bool counters_is_whole_disk(const char *name);
