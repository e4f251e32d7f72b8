/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two small files in the run folder that the watcher writes and sessions read with pread(): the
 * load history, a ring of 64-byte samples after a 64-byte head, and the latest rates. Byte order
 * and layout are the machine's own; a file of another layout is started anew.
 */
#pragma once

#include <stdint.h>

#define HISTORY_MAGIC 0x31484c50u
#define RATES_MAGIC   0x31524c50u

struct load_sample {
	uint32_t time_s;      /* since 1970 */
	uint16_t load[3];     /* load averages, hundredths */
	uint16_t cpu;         /* busy share, hundredths of a percent */
	uint16_t pressure[3]; /* some avg10 of cpu, memory, io, hundredths of a percent */
	uint16_t reserved[3];
	uint64_t memory_total; /* bytes */
	uint64_t memory_available;
	uint64_t swap_used;
	float disk_read; /* bytes a second */
	float disk_write;
	float link_rx;
	float link_tx;
};
_Static_assert(sizeof(struct load_sample) == 64, "samples are 64 bytes");

struct history_head {
	uint32_t magic;
	uint32_t interval_s; /* between samples */
	uint32_t capacity;   /* samples that the ring holds */
	uint32_t reserved;
	uint64_t written; /* samples ever written; the newest stands at (written - 1) % capacity */
	uint64_t unused[5];
};
_Static_assert(sizeof(struct history_head) == 64, "the head is as large as a sample");

#define RATES_MAX 64

struct disk_rate {
	char name[32];
	double read_bytes, write_bytes; /* a second */
	double reads, writes;
	double busy_percent;
};

struct link_rate {
	char name[16];
	double rx_bytes, tx_bytes; /* a second */
	double rx_packets, tx_packets;
	double errors;
};

/* Written with one pwrite(); begin and end differ where a reader met it half-way. */
struct rates {
	uint32_t magic;
	uint32_t begin;
	uint64_t interval_ns; /* that the rates cover; 0: there was only one sample yet */
	uint32_t disks, links;
	struct disk_rate disk[RATES_MAX];
	struct link_rate link[RATES_MAX];
	uint32_t reserved;
	uint32_t end;
};
