/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/lib/accel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/lib/proofs.h"
#include "proto/cleanup.h"

#define TRIAL_MS 20000

/* What a proof holds for: another boot, QEMU or kernel is another matter. */
static char *proof_key(const char *qemu, const char *kernel)
{
	AUTO_FREE char *boot_id = NULL, *vmm = proof_of_file(qemu), *image = proof_of_file(kernel);
	size_t len;

	if (!vmm || !image ||
		file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot_id, &len) < 0)
		return NULL;
	return text_format("%.36s %s %s", boot_id, vmm, image);
}

enum verdict { UNTRIED, FAILS, WORKS };

/* Boots the small guest under acceleration and waits for its agent's hello. */
static enum verdict trial(const struct guest *guest)
{
	char name[32], how[16];
	struct postern_launch launch = {
		.name = name,
		.kernel = guest->kernel,
		.modules = guest->modules,
		.accel = POSTERN_ACCEL_KVM,
		.timeout_ms = TRIAL_MS,
	};
	struct postern_stop stop = {.force = true};
	struct postern_error error = {0};
	struct postern_vm *vm = NULL;
	enum verdict verdict;
	uint64_t ms;

	(void)snprintf(name, sizeof(name), "trial-%d", (int)getpid());
	if (postern_launch(&launch, &vm, &error) == 0)
		verdict = WORKS;
	else
		verdict = vm ? FAILS : UNTRIED; /* no record: it did not come to a boot */
	if (verdict == WORKS)
		(void)postern_stop(name, &stop, how, &ms, NULL);
	(void)postern_forget(name, NULL);
	postern_vm_free(vm);
	postern_error_clear(&error);
	return verdict;
}

static bool is_proved(
	const struct postern_launch *launch, const struct guest *guest, const char *qemu)
{
	AUTO_FREE char *key = NULL;
	enum verdict verdict;
	int known;

	if (!guest->kernel || !guest->modules || access("/dev/kvm", R_OK | W_OK) < 0)
		return false;
	key = proof_key(qemu, guest->kernel);
	if (!key)
		return false;
	known = proof_find(key);
	if (known >= 0)
		return known;
	if (launch->progress)
		launch->progress(launch->ctx, "proving acceleration");
	verdict = trial(guest);
	if (verdict != UNTRIED)
		proof_keep(key, verdict == WORKS);
	if (verdict == FAILS && launch->progress)
		launch->progress(launch->ctx, "emulating");
	return verdict == WORKS;
}

int accel_choose(const struct postern_launch *launch, const struct vmm_kind *kind,
	const struct guest *guest, struct vm_config *config, struct postern_error *error)
{
	const char *word = getenv("POSTERN_ACCEL");
	enum postern_accel accel = launch->accel;

	if (accel == POSTERN_ACCEL_AUTO && word && strcmp(word, "auto") != 0) {
		if (strcmp(word, "kvm") != 0 && strcmp(word, "tcg") != 0)
			return fail(
				error, POSTERN_USAGE, EINVAL, "POSTERN_ACCEL is auto, kvm or tcg");
		accel = strcmp(word, "kvm") == 0 ? POSTERN_ACCEL_KVM : POSTERN_ACCEL_TCG;
	}
	config->kvm = accel == POSTERN_ACCEL_KVM;
	if (accel != POSTERN_ACCEL_AUTO)
		return 0;
	if (!kind->cannot[VMM_EMULATE])
		config->kvm = is_proved(launch, guest, config->vmm);
	else if (access("/dev/kvm", R_OK | W_OK) < 0)
		return fail_errno(error, POSTERN_ABSENT, errno,
			"%s needs hardware virtualisation: /dev/kvm", kind->title);
	else
		config->kvm = true;
	return 0;
}
