/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A closed loop on one connection: sends a fixed request, reads until its answer is whole, again.
 *
 *   roundtrip UDS PORT MODE PRELUDE REQUEST [UNDO]
 *
 * UDS      a hybrid vsock socket, dialled with "CONNECT PORT"
 * MODE     when an answer is whole: exact (as long as the request), frame (a varint with the
 * length, then so many bytes), line (up to a line feed) PRELUDE  hex, sent once, answered once;
 * "-": none REQUEST  hex, what is timed UNDO     hex, sent after each request and not timed
 *
 * For each line with a number that it reads it makes so many round trips, and prints one line with
 * their times in microseconds, in order: so programs can be measured in turn, a few trips each. At
 * the end of its input it prints every answer as it was read, for the caller to check. Exit status
 * 1 when anything went wrong.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MAX  4096
#define ANSWER_MAX   (1024U * 1024)
#define DIAL_TRIES   100 /* a server of one connection at a time may still be closing the last */
#define DIAL_WAIT_NS 50000000

enum mode { MODE_EXACT, MODE_FRAME, MODE_LINE };

struct bytes {
	uint8_t data[REQUEST_MAX];
	size_t len;
};

static uint8_t answer[ANSWER_MAX];
static FILE *answers;
static char *answers_text;
static size_t answers_len;

static void fail(const char *what)
{
	(void)fprintf(stderr, "roundtrip: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
	exit(1);
}

static double now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void parse_hex(const char *text, struct bytes *ret)
{
	size_t digits = strlen(text);

	ret->len = digits / 2;
	if (digits % 2 != 0 || ret->len > sizeof(ret->data))
		fail("hex");
	for (size_t i = 0; i < ret->len; i++) {
		unsigned value;

		if (sscanf(text + 2 * i, "%2x", &value) != 1)
			fail("hex");
		ret->data[i] = (uint8_t)value;
	}
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

/* Bytes that are missing up to the end of an answer of which len are there; at least 1 when that is
 * not known yet, 0 when it is whole. */
static size_t missing(enum mode mode, size_t len, size_t exact)
{
	size_t body = 0;

	if (mode == MODE_EXACT)
		return exact - len;
	if (mode == MODE_LINE)
		return len > 0 && answer[len - 1] == '\n' ? 0 : 1;
	for (size_t i = 0; i < len && i < 5; i++) {
		body |= (size_t)(answer[i] & 0x7f) << (7 * i);
		if (!(answer[i] & 0x80))
			return i + 1 + body - len;
	}
	return 1;
}

/* One request and its answer. Returns microseconds. */
static double trip(int fd, enum mode mode, const struct bytes *request, bool keep)
{
	double start = now_us(), end;
	size_t len = 0, more;

	write_all(fd, request->data, request->len);
	while ((more = missing(mode, len, request->len)) > 0) {
		/* An answer is all that can come: what is read beyond it would show in the check.
		 */
		size_t room = mode == MODE_EXACT ? more : sizeof(answer) - len;
		ssize_t n = room < more ? 0 : read(fd, answer + len, room);

		errno = n < 0 ? errno : 0;
		if (n <= 0)
			fail("read");
		len += (size_t)n;
		if (mode == MODE_FRAME && missing(mode, len, 0) > sizeof(answer))
			fail("more than the answer");
	}
	end = now_us();
	if (keep && fwrite(answer, 1, len, answers) != len)
		fail("memory");
	return end - start;
}

static bool dial_once(const char *uds, const char *port, int *ret_fd)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char line[64];
	size_t len = 0;

	if (fd < 0 || strlen(uds) >= sizeof(addr.sun_path))
		fail("socket");
	memcpy(addr.sun_path, uds, strlen(uds));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		fail(uds);
	write_all(fd, line, (size_t)snprintf(line, sizeof(line), "CONNECT %s\n", port));
	while (len < sizeof(line) && read(fd, line + len, 1) == 1)
		if (line[len++] == '\n')
			break;
	if (len > 3 && strncmp(line, "OK ", 3) == 0) {
		*ret_fd = fd;
		return true;
	}
	(void)close(fd);
	return false;
}

static int dial(const char *uds, const char *port)
{
	struct timespec wait = {.tv_nsec = DIAL_WAIT_NS};
	int fd;

	for (int i = 0; i < DIAL_TRIES; i++) {
		if (dial_once(uds, port, &fd))
			return fd;
		(void)nanosleep(&wait, NULL);
	}
	errno = ECONNREFUSED;
	fail(port);
	return -1;
}

static enum mode parse_mode(const char *text)
{
	if (strcmp(text, "exact") == 0)
		return MODE_EXACT;
	if (strcmp(text, "frame") == 0)
		return MODE_FRAME;
	if (strcmp(text, "line") != 0)
		fail("MODE");
	return MODE_LINE;
}

static void take_turn(int fd, enum mode mode, unsigned long count, const struct bytes *request,
	const struct bytes *undo)
{
	double *times = calloc(count, sizeof(*times));

	if (count == 0 || !times)
		fail("count");
	for (unsigned long i = 0; i < count; i++) {
		times[i] = trip(fd, mode, request, true);
		if (undo->len > 0)
			(void)trip(fd, mode, undo, true);
	}
	for (unsigned long i = 0; i < count; i++)
		(void)printf("%s%.1f", i ? " " : "", times[i]);
	(void)printf("\n");
	if (fflush(stdout) != 0)
		fail("output");
	free(times);
}

int main(int argc, char **argv)
{
	static struct bytes prelude, request, undo;
	enum mode mode;
	char line[32];
	int fd;

	if (argc != 6 && argc != 7) {
		(void)fputs("usage: roundtrip UDS PORT {exact|frame|line} PRELUDE REQUEST [UNDO]\n",
			stderr);
		return 2;
	}
	errno = 0;
	mode = parse_mode(argv[3]);
	if (strcmp(argv[4], "-") != 0)
		parse_hex(argv[4], &prelude);
	parse_hex(argv[5], &request);
	if (argc == 7)
		parse_hex(argv[6], &undo);
	answers = open_memstream(&answers_text, &answers_len);
	if (!answers)
		fail("memory");
	fd = dial(argv[1], argv[2]);
	if (prelude.len > 0)
		(void)trip(fd, mode, &prelude, false);
	while (fgets(line, sizeof(line), stdin))
		take_turn(fd, mode, strtoul(line, NULL, 10), &request, &undo);
	(void)close(fd);
	if (fclose(answers) != 0 || fwrite(answers_text, 1, answers_len, stdout) != answers_len)
		fail("output");
	return fflush(stdout) != 0;
}
