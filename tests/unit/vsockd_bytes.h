/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams full of known bytes. */
#pragma once

#include "tests/unit/vsockd_mock.h"

static inline uint8_t *blob(void)
{
	static uint8_t bytes[66000];

	if (bytes[1] == 0)
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)(i * 7 + (i >> 8));
	return bytes;
}

/* Guest to host until the client, which does not read, and the buffer for it are full. */
static inline uint32_t fill_host(struct mock *m, uint32_t port)
{
	struct mock_packet packet;
	uint32_t sent = 0, acknowledged = 0;

	while (sent - acknowledged + 16384 <= CREDIT_BUF_ALLOC) {
		mock_send_data(m, 1000, port, blob(), 16384);
		sent += 16384;
		while (mock_next(m, &packet)) {
			assert_int_equal(packet.header.op, OP_CREDIT_UPDATE);
			acknowledged = packet.header.fwd_cnt;
		}
	}
	return sent;
}

/* Reads and checks what fill_host() sent, until `bytes` are there. */
static inline void drain_host(struct mock *m, int fd, uint32_t bytes)
{
	static uint8_t got[65536];
	uint32_t total = 0;

	for (unsigned idle = 0; total < bytes && idle < 100;) {
		ssize_t n = mock_read(fd, got, sizeof(got));

		mock_run(m);
		if (n <= 0) {
			idle++;
			continue;
		}
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(got[i], blob()[(total + (uint32_t)i) % 16384]);
		total += (uint32_t)n;
	}
	assert_int_equal(total, bytes);
}
