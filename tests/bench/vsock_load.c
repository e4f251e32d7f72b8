/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host's end of the transport benchmark: drives vsock_server through a hybrid vsock socket and
 * prints one line of numbers.
 *
 *   vsock_load UDS PORT rtt SIZE COUNT      p50 p99 min of an echo's round trip, microseconds
 *   vsock_load UDS PORT connect COUNT       p50 p99 min of connect, CONNECT and OK, microseconds
 *   vsock_load UDS PORT sink SIZE BYTES     host to guest, writes of SIZE, MiB/s
 *   vsock_load UDS PORT source SIZE BYTES   guest to host, the guest's writes of SIZE, MiB/s
 *
 * PORT is the server's port for what is measured. Exit status 1 when anything went wrong.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_SIZE (256U * 1024)

static uint8_t buffer[BUFFER_SIZE];

static void fail(const char *what)
{
	(void)fprintf(
		stderr, "vsock_load: %s: %s\n", what, errno ? strerror(errno) : "unexpected end");
	exit(1);
}

static double now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void write_all(int fd, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n <= 0)
			fail("write");
		at += n;
		len -= (size_t)n;
	}
}

static void read_all(int fd, void *data, size_t len)
{
	uint8_t *at = data;

	while (len > 0) {
		ssize_t n = read(fd, at, len);

		errno = n < 0 ? errno : 0;
		if (n <= 0)
			fail("read");
		at += n;
		len -= (size_t)n;
	}
}

static void read_line(int fd, char *line, size_t size)
{
	size_t len = 0;

	do {
		if (len + 1 >= size)
			fail("a line is too long");
		read_all(fd, line + len, 1);
	} while (line[len++] != '\n');
	line[len] = '\0';
}

static int dial(const char *uds, const char *port)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char line[64];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int len;

	if (fd < 0 || strlen(uds) >= sizeof(addr.sun_path))
		fail("socket");
	memcpy(addr.sun_path, uds, strlen(uds));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		fail(uds);
	len = snprintf(line, sizeof(line), "CONNECT %s\n", port);
	write_all(fd, line, (size_t)len);
	read_line(fd, line, sizeof(line));
	if (strncmp(line, "OK ", 3) != 0)
		fail("no OK");
	return fd;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_times(double *times, size_t count)
{
	qsort(times, count, sizeof(*times), by_value);
	(void)printf("%.1f %.1f %.1f\n", times[count / 2], times[count * 99 / 100], times[0]);
}

static double *new_times(size_t count)
{
	double *times = calloc(count, sizeof(*times));

	if (!times || count == 0)
		fail("COUNT");
	return times;
}

static void run_rtt(const char *uds, const char *port, size_t size, size_t count)
{
	double *times = new_times(count);
	int fd = dial(uds, port);

	for (size_t i = 0; i < count; i++) {
		double start = now_us();

		write_all(fd, buffer, size);
		read_all(fd, buffer, size);
		times[i] = now_us() - start;
	}
	print_times(times, count);
	free(times);
	(void)close(fd);
}

static void run_connect(const char *uds, const char *port, size_t count)
{
	double *times = new_times(count);

	for (size_t i = 0; i < count; i++) {
		double start = now_us();
		int fd = dial(uds, port);

		times[i] = now_us() - start;
		(void)close(fd);
	}
	print_times(times, count);
	free(times);
}

static void print_rate(uint64_t bytes, double start)
{
	(void)printf("%.1f\n", (double)bytes / 1048576.0 / ((now_us() - start) / 1e6));
}

static void run_sink(const char *uds, const char *port, size_t size, uint64_t bytes)
{
	int fd = dial(uds, port);
	uint64_t got;
	char line[64];
	double start;
	int len;

	len = snprintf(line, sizeof(line), "%" PRIu64 " 0\n", bytes);
	start = now_us();
	write_all(fd, line, (size_t)len);
	for (uint64_t left = bytes; left > 0; left -= left < size ? left : size)
		write_all(fd, buffer, left < size ? (size_t)left : size);
	/* The guest answers when it has read all of it. */
	read_line(fd, line, sizeof(line));
	if (sscanf(line, "%" SCNu64, &got) != 1 || got != bytes)
		fail("the guest counted otherwise");
	print_rate(bytes, start);
	(void)close(fd);
}

static void run_source(const char *uds, const char *port, size_t size, uint64_t bytes)
{
	int fd = dial(uds, port);
	uint64_t left = bytes;
	char line[64];
	double start;
	int len;

	len = snprintf(line, sizeof(line), "%" PRIu64 " %zu 0\n", bytes, size);
	start = now_us();
	write_all(fd, line, (size_t)len);
	while (left > 0) {
		ssize_t n = read(fd, buffer, sizeof(buffer));

		errno = n < 0 ? errno : 0;
		if (n <= 0 || (uint64_t)n > left)
			fail("read");
		left -= (uint64_t)n;
	}
	print_rate(bytes, start);
	(void)close(fd);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 3 ? argv[3] : "";
	uint64_t a = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
	uint64_t b = argc > 5 ? strtoull(argv[5], NULL, 10) : 0;
	bool sized = argc == 6 && a > 0 && a <= BUFFER_SIZE && b > 0;

	errno = 0;
	if (argc == 5 && strcmp(mode, "connect") == 0)
		run_connect(argv[1], argv[2], (size_t)a);
	else if (sized && strcmp(mode, "rtt") == 0)
		run_rtt(argv[1], argv[2], (size_t)a, (size_t)b);
	else if (sized && strcmp(mode, "sink") == 0)
		run_sink(argv[1], argv[2], (size_t)a, b);
	else if (sized && strcmp(mode, "source") == 0)
		run_source(argv[1], argv[2], (size_t)a, b);
	else
		mode = "";
	if (*mode == '\0') {
		(void)fputs(
			"usage: vsock_load UDS PORT {rtt SIZE COUNT | connect COUNT | sink SIZE "
			"BYTES | source SIZE BYTES}\n",
			stderr);
		return 2;
	}
	return 0;
}
