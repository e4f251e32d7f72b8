/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/places.h"

const char place_sbin[] = POSTERN_SBIN_DIR;
const char place_libexec[] = POSTERN_LIBEXEC_DIR;
const char place_data[] = POSTERN_DATA_DIR;
