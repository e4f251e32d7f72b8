/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Why a method cannot work in this guest: AVAILABLE, or MISSING_FEATURE or MISSING_PROGRAM with the
 * reason, a phrase for a person with the next step, in reason[0..size). Run in a reader.
 */
#pragma once

#include <stddef.h>

#include "messages.h"

Postern__V1__Availability needs_nothing(char *reason, size_t size);
Postern__V1__Availability needs_vsock_diag(char *reason, size_t size);
Postern__V1__Availability needs_known_init(char *reason, size_t size);
Postern__V1__Availability needs_sleep(char *reason, size_t size);
Postern__V1__Availability needs_modules(char *reason, size_t size);
Postern__V1__Availability needs_log(char *reason, size_t size);
Postern__V1__Availability needs_vsock(char *reason, size_t size);
