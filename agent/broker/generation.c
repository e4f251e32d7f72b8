/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/generation.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define JUMP_NS (INT64_C(5) * 1000000000)

/* What run_dir/generation holds. */
struct record {
	uint8_t boot_id[16];
	uint64_t generation;
	int64_t clock_offset_ns;
};

static int64_t clock_offset(void)
{
	return (int64_t)clock_ns(CLOCK_REALTIME) - (int64_t)clock_ns(CLOCK_BOOTTIME);
}

/* "01234567-89ab-..." of the kernel as 16 bytes. */
static int read_boot_id(uint8_t ret[16])
{
	AUTO_FILE FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	size_t nibbles = 0;
	int c;

	if (!file)
		return -errno;
	memset(ret, 0, 16);
	while (nibbles < 32 && (c = fgetc(file)) != EOF) {
		const char *digits = "0123456789abcdef", *digit = strchr(digits, c);

		if (!digit || c == '\0')
			continue;
		ret[nibbles / 2] = (uint8_t)(ret[nibbles / 2] << 4 | (digit - digits));
		nibbles++;
	}
	return nibbles == 32 ? 0 : -EIO;
}

static int draw(struct broker *broker)
{
	uint64_t generation = 0;

	while (generation == 0)
		if (getrandom(&generation, sizeof(generation), 0) != (ssize_t)sizeof(generation))
			return -errno;
	broker->facts.generation = generation;
	return 0;
}

static void write_record(struct broker *broker)
{
	struct record record = {
		.generation = broker->facts.generation, .clock_offset_ns = broker->clock_offset_ns};
	AUTO_CLOSE int fd = -EBADF;
	char path[512];

	memcpy(record.boot_id, broker->facts.boot_id, sizeof(record.boot_id));
	(void)snprintf(path, sizeof(path), "%s/generation", broker->config.run_dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write(fd, &record, sizeof(record)) != (ssize_t)sizeof(record))
		log_warning("%s: %s", path, strerror(errno));
}

static bool read_record(const struct broker *broker, struct record *ret)
{
	AUTO_CLOSE int fd = -EBADF;
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/generation", broker->config.run_dir);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 && read(fd, ret, sizeof(*ret)) == (ssize_t)sizeof(*ret) &&
	       memcmp(ret->boot_id, broker->facts.boot_id, sizeof(ret->boot_id)) == 0;
}

int generation_init(struct broker *broker)
{
	struct record record;
	int r = read_boot_id(broker->facts.boot_id);

	broker->clock_offset_ns = clock_offset();
	if (r == 0 && read_record(broker, &record)) {
		broker->facts.generation = record.generation;
		broker->clock_offset_ns = record.clock_offset_ns;
		generation_check(broker);
		return 0;
	}
	if (r == 0)
		r = draw(broker);
	if (r < 0) {
		log_error("no boot id or no random bits: %s", strerror(-r));
		return r;
	}
	write_record(broker);
	return 0;
}

void generation_check(struct broker *broker)
{
	int64_t now = clock_offset(), jump = now - broker->clock_offset_ns;

	if (jump <= JUMP_NS && jump >= -JUMP_NS)
		return;
	broker->clock_offset_ns = now;
	if (draw(broker) < 0)
		return;
	log_info("the clocks jumped by %" PRId64 " s: a new generation", jump / 1000000000);
	write_record(broker);
}

void generation_set(struct broker *broker, uint64_t generation)
{
	if (generation == 0)
		return;
	/* The clock may have been set just now: that is no reason for one more. */
	broker->clock_offset_ns = clock_offset();
	broker->facts.generation = generation;
	log_info("the guest was restored: a new generation");
	write_record(broker);
}
