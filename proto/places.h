/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where `make install` puts what belongs together. Only places.c is compiled with the prefix: every
 * program of one build agrees on it.
 */
#pragma once

extern const char place_sbin[];    /* posternd, postern-init */
extern const char place_libexec[]; /* the programs that people do not call */
extern const char place_data[];    /* units; guest/ of the small guest */
