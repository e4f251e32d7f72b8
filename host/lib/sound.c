/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/sound.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/common/device.h"
#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/run.h"
#include "host/lib/proofs.h"
#include "host/vmm/qemu.h"
#include "proto/cleanup.h"

#define PROBE_MS 10000

/* Asked for help with a device that it has not QEMU says nothing, but where errors go. */
static bool ask(const char *qemu)
{
	const char *const argv[] = {qemu, "-device", QEMU_SOUND ",help", NULL};
	char said[64] = "", problem[256];

	(void)run_output(argv, PROBE_MS, said, sizeof(said), problem, sizeof(problem));
	return strncmp(said, QEMU_SOUND, strlen(QEMU_SOUND)) == 0;
}

static bool has_sound(const char *qemu)
{
	AUTO_FREE char *file = proof_of_file(qemu);
	AUTO_FREE char *key = file ? text_format("sound %s", file) : NULL;
	int known = key ? proof_find(key) : -ENOENT;

	if (known < 0) {
		known = ask(qemu);
		if (key)
			proof_keep(key, known);
	}
	return known;
}

int sound_check(struct vm_config *config, bool asked, struct postern_error *error)
{
	if (!(config->devices & DEVICE_SOUND) || has_sound(config->vmm))
		return 0;
	if (asked)
		return fail(error, POSTERN_USAGE, EOPNOTSUPP,
			"virtio-sound: this QEMU has no such device (" QEMU_SOUND
			", since version 8.2)");
	config->devices &= ~(uint32_t)DEVICE_SOUND;
	return 0;
}
