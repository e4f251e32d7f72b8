/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The last bytes of a stream: a ring that forgets the oldest. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct spool {
	uint8_t *bytes; /* owned; NULL while nothing was kept */
	size_t size;    /* most that is kept; 0: nothing is */
	uint64_t total; /* bytes that ever came */
};

/* Keeps bytes[0..len). Without memory for the ring nothing is kept. */
void spool_add(struct spool *spool, const void *bytes, size_t len);

/* How many bytes of the stream are gone. */
uint64_t spool_dropped(const struct spool *spool);

/* Copies what is kept from byte `from` of the stream on (not before spool_dropped()), at most room
 * bytes. Returns how many. */
size_t spool_read(const struct spool *spool, uint64_t from, void *bytes, size_t room);

/* Frees the memory. */
void spool_done(struct spool *spool);
