/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What of a field a rule asks for. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FIELD_ALL   SIZE_MAX       /* its elements, or the one there is */
#define FIELD_COUNT (SIZE_MAX - 1) /* how many elements it has */

/* What "name", "name.5" (from 0) or "name.count" asks for: *ret_len of its bytes are the field's
 * name, *ret_part is an element, FIELD_ALL or FIELD_COUNT. */
void field_part(const char *text, size_t *ret_len, size_t *ret_part);
