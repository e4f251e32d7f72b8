/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pressure on memory, told by the kernel (its documentation, accounting/psi.rst): nothing here
 * looks at a clock. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/watch/watch.h"
#include "proto/log.h"

/* Microseconds of waiting within a window, of 2 s since newer kernels let who has no rights have
 * multiples of that only. */
static const struct {
	const char *trigger;
	Postern__V1__MemoryPressureLevel level;
	enum watch_fd fd;
} thresholds[] = {
	{"some 300000 2000000", POSTERN__V1__MEMORY_PRESSURE_LEVEL__PRESSURE_SOME,
		WATCH_FD_MEMORY_SOME},
	{"full 200000 2000000", POSTERN__V1__MEMORY_PRESSURE_LEVEL__PRESSURE_FULL,
		WATCH_FD_MEMORY_FULL},
};

static double average(const char *text, const char *line)
{
	const char *at = strstr(text, line);
	double percent = 0;

	return at && sscanf(at + strlen(line), " avg10=%lf", &percent) == 1 ? percent : 0;
}

static bool read_text(int fd, char *text, size_t size)
{
	ssize_t n = pread(fd, text, size - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static void tell(struct watch *watch, size_t i, uint32_t events)
{
	Postern__V1__NotifyMemoryPressure notify = POSTERN__V1__NOTIFY_MEMORY_PRESSURE__INIT;
	char text[512];
	const char *available;

	/* The kernel has given it up, and would say so for ever. */
	if (events & EPOLLERR) {
		loop_io_del(&watch->pressure_io[i]);
		return;
	}
	notify.has_level = true;
	notify.level = thresholds[i].level;
	if (read_text(watch->fds[WATCH_FD_PSI_MEMORY], text, sizeof(text))) {
		notify.has_some_percent = notify.has_full_percent = true;
		notify.some_percent = average(text, "some");
		notify.full_percent = average(text, "full");
	}
	(void)read_text(watch->fds[WATCH_FD_MEMINFO], text, sizeof(text));
	available = strstr(text, "MemAvailable:");
	notify.has_available =
		available && sscanf(available, "MemAvailable: %" SCNu64, &notify.available) == 1;
	notify.available <<= 10;
	ring_add_message(watch, TOPIC_memory_pressure, &notify.base, NULL);
}

static void on_some(struct loop_io *io, uint32_t events)
{
	tell(container_of(io, struct watch, pressure_io[0]), 0, events);
}

static void on_full(struct loop_io *io, uint32_t events)
{
	tell(container_of(io, struct watch, pressure_io[1]), 1, events);
}

void pressure_start(struct watch *watch)
{
	for (size_t i = 0; i < ARRAY_SIZE(thresholds); i++) {
		const char *trigger = thresholds[i].trigger;
		int fd = watch->fds[thresholds[i].fd];

		if (fd < 0 || watch->pressure_io[i].loop)
			continue;
		watch->pressure_io[i].fn = i == 0 ? on_some : on_full;
		if (write(fd, trigger, strlen(trigger) + 1) < 0) {
			/* Older ones answer so where it is set already. */
			if (errno != EBUSY)
				log_warning("pressure on memory: %s", strerror(errno));
			continue;
		}
		if (loop_io_add(&watch->loop, &watch->pressure_io[i], fd, EPOLLPRI) < 0)
			log_warning("pressure on memory cannot be watched");
	}
}
