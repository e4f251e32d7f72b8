/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One question and one answer on a SOCK_SEQPACKET connection to postern-kmod, both of fixed layout.
 * It is started with the connection as descriptor 3, or by its socket unit, and serves root only.
 */
#pragma once

#include <stdint.h>

#define KMOD_NAME_MAX       64
#define KMOD_PARAMETERS_MAX 8

enum kmod_kind {
	KMOD_LOAD_FOR_TYPE = 1, /* name is a file system type of types.c */
	KMOD_LOAD,              /* name is a module of the allow list */
	KMOD_UNLOAD,
	KMOD_INFO,
	KMOD_ONLY_INFO, /* from here on this connection answers nothing but KMOD_INFO; no answer */
};

struct kmod_request {
	uint32_t kind;
	uint32_t parameters;
	char name[KMOD_NAME_MAX]; /* NUL-terminated */
	struct {
		char name[KMOD_NAME_MAX];
		char value[256];
	} parameter[KMOD_PARAMETERS_MAX];
};

#define KMOD_DEPENDS_MAX 16
#define KMOD_DESCRIBED   48

struct kmod_reply {
	int32_t error;     /* errno; 0: done */
	uint8_t changed;   /* it was loaded or unloaded by this request */
	uint8_t allowed;   /* KMOD_INFO: KMOD_LOAD takes it */
	uint8_t loaded;    /* KMOD_INFO: loaded or built in */
	uint8_t builtin;   /* KMOD_INFO */
	char message[256]; /* why not, a phrase for a person */
	char description[256];
	char license[64];
	uint32_t depends;
	char depend[KMOD_DEPENDS_MAX][KMOD_NAME_MAX];
	uint32_t parameters;
	struct {
		char name[KMOD_NAME_MAX];
		char description[160];
		uint8_t allowed;
	} parameter[KMOD_DESCRIBED];
};
