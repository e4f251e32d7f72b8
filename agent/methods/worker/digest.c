/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* By libmd, which needs neither a module of the kernel nor a library of the guest: a small guest
 * has neither. */
#include "agent/methods/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/cleanup.h"

#define BUFFER_SIZE (128u << 10)
#define BYTES_MAX   SHA512_DIGEST_LENGTH

#define ALGORITHM(function, member)                                                                \
	static void init_##function(union digest_context *context)                                 \
	{                                                                                          \
		function##Init(&context->member);                                                  \
	}                                                                                          \
	static void update_##function(                                                             \
		union digest_context *context, const uint8_t *bytes, size_t len)                   \
	{                                                                                          \
		function##Update(&context->member, bytes, len);                                    \
	}                                                                                          \
	static void final_##function(uint8_t *digest, union digest_context *context)               \
	{                                                                                          \
		function##Final(digest, &context->member);                                         \
	}
ALGORITHM(SHA256, sha2)
ALGORITHM(SHA512, sha2)
ALGORITHM(SHA384, sha2)
ALGORITHM(SHA1, sha1)
ALGORITHM(MD5, md5)
ALGORITHM(RMD160, rmd160)

#define NAMES "sha256, sha512, sha384, sha1, md5, rmd160"

static const struct digest_algorithm algorithms[] = {
#define ROW(name, function, len)                                                                   \
	{                                                                                          \
		name, len, init_##function, update_##function, final_##function                    \
	}
	ROW("sha256", SHA256, SHA256_DIGEST_LENGTH),
	ROW("sha512", SHA512, SHA512_DIGEST_LENGTH),
	ROW("sha384", SHA384, SHA384_DIGEST_LENGTH),
	ROW("sha1", SHA1, SHA1_DIGEST_LENGTH),
	ROW("md5", MD5, MD5_DIGEST_LENGTH),
	ROW("rmd160", RMD160, RMD160_DIGEST_LENGTH),
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

void digest_begin(struct digest *digest, const struct digest_algorithm *algorithm)
{
	digest->algorithm = algorithm;
	algorithm->init(&digest->context);
}

void digest_add(struct digest *digest, const void *bytes, size_t len)
{
	digest->algorithm->update(&digest->context, bytes, len);
}

void digest_end(struct digest *digest, char ret_text[DIGEST_TEXT_MAX])
{
	uint8_t bytes[BYTES_MAX];

	digest->algorithm->final(bytes, &digest->context);
	for (size_t i = 0; i < digest->algorithm->len; i++)
		(void)snprintf(ret_text + 2 * i, 3, "%02x", bytes[i]);
}

int digest_file(const struct digest_algorithm *algorithm, int fd, char ret_text[DIGEST_TEXT_MAX],
	uint64_t *ret_size)
{
	AUTO_FREE uint8_t *buffer = malloc(BUFFER_SIZE);
	struct digest digest;
	ssize_t n;

	if (!buffer)
		return -ENOMEM;
	*ret_size = 0;
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	digest_begin(&digest, algorithm);
	while ((n = read(fd, buffer, BUFFER_SIZE)) > 0) {
		digest_add(&digest, buffer, (size_t)n);
		*ret_size += (uint64_t)n;
	}
	if (n < 0)
		return -errno;
	digest_end(&digest, ret_text);
	return 0;
}
