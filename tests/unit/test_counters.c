/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's counters from its own texts, and the rates between two of them. */
/* needs: agent/watch/counters.c */
#include "tests/unit/unit.h"

#include "agent/inner.h"
#include "agent/watch/counters.h"

static struct counters then, now;

/* Reads the texts given by descriptor; what is not given is not there. */
static void read_texts(struct counters *ret, const char *const texts[WATCH_FD_COUNT])
{
	int fds[WATCH_FD_COUNT];

	for (int i = 0; i < WATCH_FD_COUNT; i++) {
		fds[i] = -EBADF;
		if (!texts[i])
			continue;
		fds[i] = memfd_create("text", 0);
		assert_int_equal(write(fds[i], texts[i], strlen(texts[i])), strlen(texts[i]));
	}
	counters_read(fds, ret);
	for (int i = 0; i < WATCH_FD_COUNT; i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
}

#define TEXTS(...) ((const char *const[WATCH_FD_COUNT]){__VA_ARGS__})

UNIT(every_text_is_understood)
{
	read_texts(&now,
		TEXTS([WATCH_FD_LOADAVG] = "0.52 1.25 20.00 2/345 6789\n",
			[WATCH_FD_STAT] = "cpu  100 20 30 1000 50 6 7 8 9 10\n"
					  "cpu0 100 20 30 1000 50 6 7 8 9 10\nintr 1\n",
			[WATCH_FD_MEMINFO] = "MemTotal:        2048 kB\nMemFree:  512 kB\n"
					     "MemAvailable:    1024 kB\nSwapCached: 9 kB\n"
					     "SwapTotal:       4096 kB\nSwapFree:  1096 kB\n",
			[WATCH_FD_PSI_CPU] = "some avg10=1.50 avg60=0.00 avg300=0.00 total=9\n",
			[WATCH_FD_PSI_MEMORY] = "some avg10=2.25 avg60=0 avg300=0 total=9\n"
						"full avg10=7.00 avg60=0 avg300=0 total=9\n",
			[WATCH_FD_PSI_IO] = "some avg10=99.99 avg60=0 avg300=0 total=9\n"));
	assert_true(now.taken_ns > 0);
	assert_true(now.load[0] == 0.52 && now.load[1] == 1.25 && now.load[2] == 20.0);
	/* Waiting for a disk is not being busy; a guest's time is in the user's already. */
	assert_int_equal(now.cpu_total, 100 + 20 + 30 + 1000 + 50 + 6 + 7 + 8);
	assert_int_equal(now.cpu_busy, 100 + 20 + 30 + 6 + 7 + 8);
	assert_int_equal(now.memory_total, 2048 << 10);
	assert_int_equal(now.memory_available, 1024 << 10);
	assert_int_equal(now.swap_used, 3000 << 10);
	assert_true(now.pressure[0] == 1.5 && now.pressure[1] == 2.25 && now.pressure[2] == 99.99);
}

UNIT(what_is_not_there_is_nothing)
{
	read_texts(&now, TEXTS([WATCH_FD_MOUNTINFO] = NULL));
	assert_int_equal(now.cpu_total + now.memory_total + now.swap_used, 0);
	assert_int_equal(now.disks + now.links, 0);
	assert_true(now.load[0] == 0 && now.pressure[2] == 0);
}

static const char disks_then[] = " 254       0 vda 100 5 2000 70 50 6 4000 80 0 900 150 0 0 0 0\n"
				 " 254       1 vda1 90 5 1800 60 40 6 3800 70 0 800 130\n"
				 "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
				 "   8       0 sda 1000 0 9000 0 0 0 0 0 0 10 0\n";
static const char disks_now[] = " 254       0 vda 120 5 2200 70 90 6 4400 80 0 1900 150 0 0 0 0\n"
				"   8       0 sda 1 0 8 0 0 0 0 0 0 1 0\n"
				"   8      16 sdb 7 0 56 0 0 0 0 0 0 1 0\n";

UNIT(disks_have_rates)
{
	struct disk_rate rate;

	read_texts(&then, TEXTS([WATCH_FD_DISKSTATS] = disks_then));
	read_texts(&now, TEXTS([WATCH_FD_DISKSTATS] = disks_now));
	/* One that was never used is left out, or there would be no place for the others. */
	assert_int_equal(then.disks, 3);
	assert_string_equal(then.disk[2].name, "sda");
	assert_true(counters_disk_rate(&then, &now.disk[0], 2.0, &rate));
	assert_string_equal(rate.name, "vda");
	assert_true(rate.reads == 10 && rate.writes == 20);
	assert_true(rate.read_bytes == 200 * 512 / 2.0 && rate.write_bytes == 400 * 512 / 2.0);
	assert_true(rate.busy_percent == 50);
	/* Another disk of the same name: its counters began anew. */
	assert_true(counters_disk_rate(&then, &now.disk[1], 2.0, &rate));
	assert_true(rate.reads == 0 && rate.read_bytes == 0 && rate.busy_percent == 0);
	/* One that was not there has none yet. */
	assert_false(counters_disk_rate(&then, &now.disk[2], 2.0, &rate));
}

#define LINKS_HEAD                                                                                 \
	"Inter-|   Receive                                                |  Transmit\n"           \
	" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs " \
	"drop fifo colls carrier compressed\n"

static const char links_then[] = LINKS_HEAD "    lo: 1000 10 0 0 0 0 0 0 1000 10 0 0 0 0 0 0\n"
					    "eth0:5000 50 1 0 0 0 0 0 6000 60 2 0 0 0 0 0\n";
static const char links_now[] = LINKS_HEAD "    lo: 1000 10 0 0 0 0 0 0 1000 10 0 0 0 0 0 0\n"
					   "eth0:9000 70 3 0 0 0 0 0 7000 64 4 0 0 0 0 0\n";

UNIT(links_have_rates)
{
	struct link_rate rate;

	read_texts(&then, TEXTS([WATCH_FD_NETDEV] = links_then));
	read_texts(&now, TEXTS([WATCH_FD_NETDEV] = links_now));
	assert_int_equal(now.links, 2);
	assert_true(counters_link_rate(&then, &now.link[1], 4.0, &rate));
	assert_string_equal(rate.name, "eth0");
	assert_true(rate.rx_bytes == 1000 && rate.tx_bytes == 250);
	assert_true(rate.rx_packets == 5 && rate.tx_packets == 1 && rate.errors == 1);
	assert_true(counters_link_rate(&then, &now.link[0], 4.0, &rate));
	assert_true(rate.rx_bytes == 0 && rate.tx_packets == 0);
}

UNIT(no_more_disks_than_there_is_room_for)
{
	static char text[200 * 64];
	size_t len = 0;

	for (unsigned int i = 0; i < 200; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
			"254 %u disk%u 1 0 8 0 0 0 0 0 0 1 0\n", i, i);
	read_texts(&now, TEXTS([WATCH_FD_DISKSTATS] = text));
	assert_int_equal(now.disks, RATES_MAX);
	assert_string_equal(now.disk[0].name, "disk0");
}

UNIT(bytes_are_counted_at_the_disk_alone)
{
	static const char *const whole[] = {"vda", "sda", "nvme0n1", "mmcblk0", "sr0", "xvda"};
	static const char *const derived[] = {"vda1", "sda15", "nvme0n1p1", "mmcblk0p2", "loop0",
		"ram0", "dm-0", "md127", "zram0", ""};

	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
		assert_true(counters_is_whole_disk(whole[i]));
	for (size_t i = 0; i < sizeof(derived) / sizeof(derived[0]); i++)
		assert_false(counters_is_whole_disk(derived[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(every_text_is_understood),
		RUN(what_is_not_there_is_nothing),
		RUN(disks_have_rates),
		RUN(links_have_rates),
		RUN(no_more_disks_than_there_is_room_for),
		RUN(bytes_are_counted_at_the_disk_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
