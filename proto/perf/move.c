/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/perf/perf.h"

/* Waits for what is asked for. 0 or -errno. */
static int wait_for(struct pollfd *fds, size_t n, const struct perf_wait *wait)
{
	int r;

	fds[n] = (struct pollfd){.fd = wait->life, .events = POLLIN};
	r = poll(fds, n + 1, wait->until_ns == UINT64_MAX ? -1 : ms_until(wait->until_ns));
	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	if (fds[n].revents)
		return -ECANCELED;
	return wait->until_ns != UINT64_MAX && monotonic_ns() >= wait->until_ns ? -ETIMEDOUT : 0;
}

/* What one send() or recv() did: bytes; 0 when it would wait; -errno. */
static ssize_t done(ssize_t n)
{
	if (n > 0)
		return n;
	if (n == 0 || errno == EPIPE)
		return -ECONNRESET;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

int perf_send(int fd, const void *bytes, size_t len, const struct perf_wait *wait)
{
	const uint8_t *at = bytes;

	while (len > 0) {
		struct pollfd fds[2] = {{.fd = fd, .events = POLLOUT}};
		ssize_t n = done(send(fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL));
		int r = n < 0 ? (int)n : n == 0 ? wait_for(fds, 1, wait) : 0;

		if (r < 0)
			return r;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int perf_take(int fd, void *bytes, size_t len, const struct perf_wait *wait)
{
	uint8_t *at = bytes;

	while (len > 0) {
		struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}};
		ssize_t n = done(recv(fd, at, len, MSG_DONTWAIT));
		int r = n < 0 ? (int)n : n == 0 ? wait_for(fds, 1, wait) : 0;

		if (r < 0)
			return r;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- many at once ---- */

static bool may_send(const struct perf_lane *lane, enum perf_order order)
{
	return lane->to_send > 0 && (order != PERF_TAKE_FIRST || lane->to_take == 0);
}

static bool may_take(const struct perf_lane *lane, enum perf_order order)
{
	return lane->to_take > 0 && (order != PERF_SEND_FIRST || lane->to_send == 0);
}

/* One direction is through: the other one's time begins. */
static void end_direction(
	struct perf_lane *lane, uint64_t *ret_when, enum perf_order order, uint64_t limit_ns)
{
	*ret_when = monotonic_ns();
	if (order != PERF_BOTH && limit_ns > 0)
		lane->until_ns = *ret_when + limit_ns;
}

/* Moves what goes without waiting, a block each way. Bytes, 0 or -errno. */
static ssize_t step(struct perf_lane *lane, enum perf_order order, uint64_t limit_ns)
{
	static const uint8_t zeros[PERF_BLOCK];
	uint8_t taken[PERF_BLOCK];
	ssize_t sent = 0, got = 0;

	if (may_send(lane, order)) {
		size_t len = lane->to_send < PERF_BLOCK ? (size_t)lane->to_send : PERF_BLOCK;

		sent = done(send(lane->fd, zeros, len, MSG_DONTWAIT | MSG_NOSIGNAL));
		if (sent < 0)
			return sent;
		lane->to_send -= (uint64_t)sent;
		if (lane->to_send == 0)
			end_direction(lane, &lane->sent_ns, order, limit_ns);
	}
	if (may_take(lane, order)) {
		size_t len = lane->to_take < PERF_BLOCK ? (size_t)lane->to_take : PERF_BLOCK;

		got = done(recv(lane->fd, taken, len, MSG_DONTWAIT));
		if (got < 0)
			return got;
		lane->to_take -= (uint64_t)got;
		if (lane->to_take == 0)
			end_direction(lane, &lane->taken_ns, order, limit_ns);
	}
	return sent + got;
}

/* Until one of those that are not through can go on. 1 when all are, 0, or -errno. */
static int wait_for_lanes(const struct perf_lane *lanes, size_t n, enum perf_order order, int life)
{
	struct pollfd fds[PERF_STREAMS + 1];
	struct perf_wait wait = {.until_ns = UINT64_MAX, .life = life};
	size_t busy = 0;

	for (size_t i = 0; i < n; i++) {
		short events = (short)((may_send(&lanes[i], order) ? POLLOUT : 0) |
				       (may_take(&lanes[i], order) ? POLLIN : 0));

		if (!events)
			continue;
		fds[busy++] = (struct pollfd){.fd = lanes[i].fd, .events = events};
		if (lanes[i].until_ns < wait.until_ns)
			wait.until_ns = lanes[i].until_ns;
	}
	return busy == 0 ? 1 : wait_for(fds, busy, &wait);
}

/* The lanes' clocks and whoever ends it are looked at only now and then while bytes flow. */
#define LOOK_EVERY 256

int perf_move(struct perf_lane *lanes, size_t n, enum perf_order order, uint64_t limit_ns, int life)
{
	unsigned int steps = 0;

	if (n > PERF_STREAMS)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		lanes[i].until_ns = limit_ns > 0 ? monotonic_ns() + limit_ns : UINT64_MAX;
	for (;;) {
		bool moved = false;
		int r = 0;

		for (size_t i = 0; i < n; i++) {
			ssize_t bytes = step(&lanes[i], order, limit_ns);

			if (bytes < 0)
				return (int)bytes;
			moved = moved || bytes > 0;
		}
		if (!moved || ++steps % LOOK_EVERY == 0)
			r = wait_for_lanes(lanes, n, order, life);
		if (r != 0)
			return r < 0 ? r : 0;
	}
}
