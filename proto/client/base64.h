/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RFC 4648, section 4, with padding. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* New text, freed by the caller; NULL: no memory. */
char *base64_encode(const uint8_t *bytes, size_t len);

/* New bytes, freed by the caller. 0, -EINVAL or -ENOMEM. */
int base64_decode(const char *text, uint8_t **ret_bytes, size_t *ret_len);
