/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small texts that people type: names, tags, sizes, times. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VM_NAME_MAX   63
#define SHARE_TAG_MAX 36 /* virtio 1.2, 5.11.4: the tag field of a file system device */

/* A VM's name: [a-z0-9][a-z0-9._-]{0,62}. */
bool vm_name_valid(const char *name);

/* A share's tag: [A-Za-z0-9._-], 1 to 36 bytes. */
bool share_tag_valid(const char *tag);

/* An unsigned decimal number with nothing around it. 0, -EINVAL, or -ERANGE over `highest`. */
int parse_number(const char *text, uint64_t highest, uint64_t *ret_value);

/* A vsock port: a number below VMADDR_PORT_ANY (vsock(7)). 0 or -EINVAL. */
int parse_port(const char *text, uint32_t *ret_port);

/*
 * A size: a number and a unit B, K, M, G or T (KiB, MiB, ... and lower case too), powers of 1024. A
 * bare number counts `bare_unit` bytes; 0 refuses bare numbers. 0 with bytes, -EINVAL or -ERANGE.
 */
int parse_size(const char *text, uint64_t bare_unit, uint64_t *ret_bytes);

/*
 * A time: a number, with a fraction or not, and a unit ms, s, m, h or d; a bare number counts
 * seconds. What is less than a millisecond is dropped. 0 with milliseconds, -EINVAL or -ERANGE.
 */
int parse_duration(const char *text, uint64_t *ret_ms);

/* "512 MiB", "1.5 GiB": into text, at least 24 bytes; returns text. */
const char *format_size(uint64_t bytes, char text[24]);
