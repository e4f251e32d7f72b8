/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* By libmd, which is linked in and so is in the smallest guest. Large files by the guest's
 * libcrypto, if it has one and it is faster: that knows the processor's own instructions, and may
 * be many times as fast; but in a guest that is emulated they are the slower way, which its first
 * pieces show. Of it no more than the bare functions are used, which read no configuration. (The
 * kernel's AF_ALG would need modules, and a family of sockets that a worker must not open.) */
#include "agent/methods/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/types.h>

#include <md5.h>
#include <rmd160.h>
#include <sha1.h>
#include <sha2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/library.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define BUFFER_SIZE (32u << 10) /* stays in the processor's cache while it is worked on */
#define BYTES_MAX   SHA512_DIGEST_LENGTH
#define LARGE       (UINT64_C(4) << 20) /* bytes: less is done before a library is opened */
#define TRIAL       (256u << 10)        /* bytes that show which library is faster */
#define LIBCRYPTO   "libcrypto.so.3"

struct digest_algorithm {
	const char *name;
	size_t len; /* bytes */
	struct digest_functions functions;
	const char *init, *update, *final; /* the same of libcrypto */
};

#define ALGORITHM(function, type)                                                                  \
	static int init_##function(void *context)                                                  \
	{                                                                                          \
		_Static_assert(                                                                    \
			sizeof(type) <= sizeof(((struct digest_work *)0)->context), "room");       \
		function##Init((type *)context);                                                   \
		return 1;                                                                          \
	}                                                                                          \
	static int update_##function(void *context, const void *bytes, size_t len)                 \
	{                                                                                          \
		function##Update((type *)context, bytes, len);                                     \
		return 1;                                                                          \
	}                                                                                          \
	static int final_##function(unsigned char *digest, void *context)                          \
	{                                                                                          \
		function##Final(digest, (type *)context);                                          \
		return 1;                                                                          \
	}
ALGORITHM(SHA256, SHA2_CTX)
ALGORITHM(SHA512, SHA2_CTX)
ALGORITHM(SHA384, SHA2_CTX)
ALGORITHM(SHA1, SHA1_CTX)
ALGORITHM(MD5, MD5_CTX)
ALGORITHM(RMD160, RMD160_CTX)

#define NAMES "sha256, sha512, sha384, sha1, md5, rmd160"

static const struct digest_algorithm algorithms[] = {
#define ROW(name, function, len, other)                                                            \
	{                                                                                          \
		name, len, {init_##function, update_##function, final_##function}, other "_Init",  \
			other "_Update", other "_Final"                                            \
	}
	ROW("sha256", SHA256, SHA256_DIGEST_LENGTH, "SHA256"),
	ROW("sha512", SHA512, SHA512_DIGEST_LENGTH, "SHA512"),
	ROW("sha384", SHA384, SHA384_DIGEST_LENGTH, "SHA384"),
	ROW("sha1", SHA1, SHA1_DIGEST_LENGTH, "SHA1"),
	ROW("md5", MD5, MD5_DIGEST_LENGTH, "MD5"),
	ROW("rmd160", RMD160, RMD160_DIGEST_LENGTH, "RIPEMD160"),
#undef ROW
};

const struct digest_algorithm *digest_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++)
		if (strcmp(algorithms[i].name, name) == 0)
			return &algorithms[i];
	return NULL;
}

const char *digest_names(void)
{
	return NAMES;
}

const char *digest_name(const struct digest_algorithm *algorithm)
{
	return algorithm->name;
}

/* False, and nothing changed: the guest has none, or it lacks this algorithm. */
static bool use_libcrypto(const struct digest_algorithm *algorithm, struct digest_functions *ret)
{
	struct digest_functions found;
	const struct library_symbol symbols[] = {{algorithm->init, &found.init},
		{algorithm->update, &found.update}, {algorithm->final, &found.final}};

	if (library_load(LIBCRYPTO, symbols, ARRAY_SIZE(symbols)) < 0)
		return false;
	*ret = found;
	return true;
}

void digest_begin(struct digest *digest, const struct digest_algorithm *algorithm, uint64_t size)
{
	digest->algorithm = algorithm;
	digest->bytes = 0;
	digest->works = 1;
	digest->work[0].functions = algorithm->functions;
	if (size >= LARGE && use_libcrypto(algorithm, &digest->work[1].functions))
		digest->works = 2;
	for (size_t i = 0; i < digest->works; i++) {
		digest->work[i].spent_ns = 0;
		(void)digest->work[i].functions.init(digest->work[i].context);
	}
}

/* The same piece by each of them. The first one is not counted: it may be that a library's pages
 * come from the disk. */
static void try_each(struct digest *digest, const void *bytes, size_t len)
{
	for (size_t i = 0; i < digest->works; i++) {
		struct digest_work *work = &digest->work[i];
		uint64_t start = monotonic_ns();

		(void)work->functions.update(work->context, bytes, len);
		if (digest->bytes > 0)
			work->spent_ns += monotonic_ns() - start;
	}
	if (digest->bytes + len < TRIAL)
		return;
	if (digest->work[1].spent_ns < digest->work[0].spent_ns)
		digest->work[0] = digest->work[1];
	digest->works = 1;
}

void digest_add(struct digest *digest, const void *bytes, size_t len)
{
	struct digest_work *work = &digest->work[0];

	if (digest->works > 1)
		try_each(digest, bytes, len);
	else
		(void)work->functions.update(work->context, bytes, len);
	digest->bytes += len;
}

void digest_end(struct digest *digest, char ret_text[DIGEST_TEXT_MAX])
{
	uint8_t bytes[BYTES_MAX];

	(void)digest->work[0].functions.final(bytes, digest->work[0].context);
	for (size_t i = 0; i < digest->algorithm->len; i++)
		(void)snprintf(ret_text + 2 * i, 3, "%02x", bytes[i]);
}

int digest_file(const struct digest_algorithm *algorithm, int fd, char ret_text[DIGEST_TEXT_MAX],
	uint64_t *ret_size)
{
	AUTO_FREE uint8_t *buffer = malloc(BUFFER_SIZE);
	struct digest digest;
	struct stat st;
	ssize_t n;

	if (!buffer)
		return -ENOMEM;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_size = 0;
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	digest_begin(&digest, algorithm, (uint64_t)st.st_size);
	while ((n = read(fd, buffer, BUFFER_SIZE)) > 0) {
		digest_add(&digest, buffer, (size_t)n);
		*ret_size += (uint64_t)n;
	}
	if (n < 0)
		return -errno;
	digest_end(&digest, ret_text);
	return 0;
}
