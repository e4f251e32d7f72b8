/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kernel modules through libkmod, by name. The commands that modprobe.d may hold are never run. */
#pragma once

#include "kmod-helpers/wire.h"

/* Answers one request. What is not allowed, or not clean, is refused before libkmod sees it. */
void module_answer(const struct kmod_request *request, struct kmod_reply *ret_reply);

/* Loads the modules of the boot list. Returns how many that are needed could not be had. */
int module_load_boot_list(void);
