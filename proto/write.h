/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/* Writes all of it to a blocking descriptor, also over short writes. 0 or -errno. */
int write_all(int fd, const void *data, size_t len);
