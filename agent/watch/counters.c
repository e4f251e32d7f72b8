/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/watch/counters.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/inner.h"
#include "proto/clock.h"

#define TEXT_SIZE 32768

/* As much of the file as fits, from its beginning; "" where there is none. */
static const char *read_text(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (fd >= 0 && len < size - 1 &&
		(n = pread(fd, text + len, size - 1 - len, (off_t)len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return text;
}

/* proc_stat(5): user nice system idle iowait irq softirq steal. */
static void parse_stat(const char *text, struct counters *c)
{
	uint64_t ticks[8] = {0};

	(void)sscanf(text,
		"cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		" %" SCNu64 " %" SCNu64,
		&ticks[0], &ticks[1], &ticks[2], &ticks[3], &ticks[4], &ticks[5], &ticks[6],
		&ticks[7]);
	for (int i = 0; i < 8; i++)
		c->cpu_total += ticks[i];
	c->cpu_busy = c->cpu_total - ticks[3] - ticks[4];
}

static uint64_t meminfo(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoull(at + strlen(name), NULL, 10) << 10 : 0;
}

/* Documentation/admin-guide/iostats.rst: fields after the name. */
static void parse_disks(const char *text, struct counters *c)
{
	while (*text && c->disks < RATES_MAX) {
		struct disk_counters *disk = &c->disk[c->disks];

		if (sscanf(text,
			    "%*u %*u %31s %" SCNu64 " %*u %" SCNu64 " %*u %" SCNu64 " %*u %" SCNu64
			    " %*u %*u %" SCNu64,
			    disk->name, &disk->reads, &disk->read_sectors, &disk->writes,
			    &disk->write_sectors, &disk->busy_ms) == 6 &&
			disk->reads + disk->writes > 0)
			c->disks++;
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
}

/* proc_pid_net(5), dev: two lines of head, then NAME: 8 received and 8 sent fields. */
static void parse_links(const char *text, struct counters *c)
{
	while (*text && c->links < RATES_MAX) {
		struct link_counters *link = &c->link[c->links];
		uint64_t rx_errors, tx_errors;

		if (sscanf(text,
			    " %15[^: ]: %" SCNu64 " %" SCNu64 " %" SCNu64
			    " %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64 " %" SCNu64,
			    link->name, &link->rx_bytes, &link->rx_packets, &rx_errors,
			    &link->tx_bytes, &link->tx_packets, &tx_errors) == 7) {
			link->errors = rx_errors + tx_errors;
			c->links++;
		}
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
}

void counters_read(const int *fds, struct counters *ret)
{
	static const int psi[] = {WATCH_FD_PSI_CPU, WATCH_FD_PSI_MEMORY, WATCH_FD_PSI_IO};
	static char text[TEXT_SIZE]; /* not on the stack: its pages would stay touched */

	memset(ret, 0, sizeof(*ret));
	ret->taken_ns = monotonic_ns();
	(void)sscanf(read_text(fds[WATCH_FD_LOADAVG], text, sizeof(text)), "%lf %lf %lf",
		&ret->load[0], &ret->load[1], &ret->load[2]);
	/* Only the first line is wanted of a file that can be long. */
	parse_stat(read_text(fds[WATCH_FD_STAT], text, 512), ret);
	(void)read_text(fds[WATCH_FD_MEMINFO], text, sizeof(text));
	ret->memory_total = meminfo(text, "MemTotal:");
	ret->memory_available = meminfo(text, "MemAvailable:");
	ret->swap_used = meminfo(text, "SwapTotal:") - meminfo(text, "SwapFree:");
	for (int i = 0; i < 3; i++)
		(void)sscanf(read_text(fds[psi[i]], text, sizeof(text)), "some avg10=%lf",
			&ret->pressure[i]);
	parse_disks(read_text(fds[WATCH_FD_DISKSTATS], text, sizeof(text)), ret);
	parse_links(read_text(fds[WATCH_FD_NETDEV], text, sizeof(text)), ret);
}

/* A counter that went back belongs to a device plugged in anew: no rate then. */
static double rate(uint64_t then, uint64_t now, double s)
{
	return now >= then ? (double)(now - then) / s : 0;
}

bool counters_disk_rate(const struct counters *then, const struct disk_counters *now, double s,
	struct disk_rate *ret)
{
	for (uint32_t i = 0; i < then->disks; i++) {
		const struct disk_counters *old = &then->disk[i];

		if (strcmp(old->name, now->name) != 0)
			continue;
		*ret = (struct disk_rate){
			.read_bytes = rate(old->read_sectors, now->read_sectors, s) * 512,
			.write_bytes = rate(old->write_sectors, now->write_sectors, s) * 512,
			.reads = rate(old->reads, now->reads, s),
			.writes = rate(old->writes, now->writes, s),
			.busy_percent = rate(old->busy_ms, now->busy_ms, s) / 10,
		};
		memcpy(ret->name, now->name, sizeof(ret->name));
		return true;
	}
	return false;
}

bool counters_link_rate(const struct counters *then, const struct link_counters *now, double s,
	struct link_rate *ret)
{
	for (uint32_t i = 0; i < then->links; i++) {
		const struct link_counters *old = &then->link[i];

		if (strcmp(old->name, now->name) != 0)
			continue;
		*ret = (struct link_rate){
			.rx_bytes = rate(old->rx_bytes, now->rx_bytes, s),
			.tx_bytes = rate(old->tx_bytes, now->tx_bytes, s),
			.rx_packets = rate(old->rx_packets, now->rx_packets, s),
			.tx_packets = rate(old->tx_packets, now->tx_packets, s),
			.errors = rate(old->errors, now->errors, s),
		};
		memcpy(ret->name, now->name, sizeof(ret->name));
		return true;
	}
	return false;
}

bool counters_is_whole_disk(const char *name)
{
	static const char *const derived[] = {"loop", "ram", "dm-", "md", "zram"};
	size_t len = strlen(name);

	for (size_t i = 0; i < sizeof(derived) / sizeof(derived[0]); i++)
		if (strncmp(name, derived[i], strlen(derived[i])) == 0)
			return false;
	/* vda1, sda1 are partitions; nvme0n1, mmcblk0 are disks, nvme0n1p1, mmcblk0p1 are not. */
	if (strncmp(name, "nvme", 4) == 0 || strncmp(name, "mmcblk", 6) == 0)
		return strrchr(name, 'p') == NULL;
	return len > 0 &&
	       (name[len - 1] < '0' || name[len - 1] > '9' || strncmp(name, "sr", 2) == 0);
}
