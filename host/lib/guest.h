/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a machine boots: a kernel, its modules, an initramfs. */
#pragma once

#include "host/lib/postern.h"

struct guest {
	char *kernel;  /* NULL: the image's firmware boots */
	char *modules; /* NULL: not known */
	char *initrd;  /* NULL: none */
	bool small;    /* the initrd is the small guest, made here */
};

/*
 * Finds or makes what the launch asks for. The kernel: launch->kernel; else, unless there is an
 * image, the newest vmlinuz-RELEASE that has its lib/modules/RELEASE, of $POSTERN_GUEST_DIR/boot,
 * of guest/boot beside the running program, of share/postern/guest/boot of the prefix, of /boot. 0
 * or -errno with *error; the caller frees with guest_done().
 */
int guest_prepare(
	const struct postern_launch *launch, struct guest *ret_guest, struct postern_error *error);

void guest_done(struct guest *guest);
