/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/clock_step.h"
#include "agent/methods/hooks.h"
#include "agent/methods/place.h"
#include "agent/methods/prototypes.h"
#include "agent/methods/replace_alike.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define ENTROPY_LEAST 32
#define ENTROPY_MOST  4096
#define ID_BYTES      16
#define MACHINE_ID    "/etc/machine-id"

/* random(4): what is added is mixed in at once, and the generator made anew of the pool. No bits
 * are counted, so that a caller who knows them knows nothing of what comes out. */
static int reseed(struct call *call, const ProtobufCBinaryData *entropy)
{
	struct rand_pool_info *info = arena_alloc(call->arena, sizeof(*info) + entropy->len);
	AUTO_CLOSE int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);

	if (!info)
		return -ENOMEM;
	if (fd < 0)
		return -errno;
	info->buf_size = (int)entropy->len;
	memcpy(info->buf, entropy->data, entropy->len);
	if (ioctl(fd, RNDADDENTROPY, info) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		return -errno;
	explicit_bzero(info->buf, entropy->len);
	return 0;
}

/* machine-id(5). One that is no plain file of the guest's disk is somebody else's matter. */
static int renew_machine_id(struct call *call, Postern__V1__SystemRestoredReply *reply)
{
	AUTO_CLOSE int dir = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint8_t random[ID_BYTES];
	char line[ID_BYTES * 2 + 2];
	struct stat st;
	int r;

	if (dir < 0)
		return -errno;
	if (fstatat(dir, "machine-id", &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return -ENOENT;
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -errno;
	/* A random UUID (version 4), as sd_id128_randomize() makes one. */
	random[6] = (random[6] & 0x0f) | 0x40;
	random[8] = (random[8] & 0x3f) | 0x80;
	for (size_t i = 0; i < ID_BYTES; i++)
		(void)snprintf(line + 2 * i, 3, "%02x", random[i]);
	line[sizeof(line) - 2] = '\n';
	r = alike_replace(dir, "machine-id", 0444, line, sizeof(line) - 1);
	if (r < 0)
		return r;
	reply->has_machine_id = true;
	reply->machine_id = call_bytes(call, line, sizeof(line) - 2);
	return 0;
}

/* Random, and so another one: the broker has it from here, as do all who ask from now on. */
static int draw_generation(struct call *call, uint64_t *ret)
{
	*ret = 0;
	while (*ret == 0)
		if (getrandom(ret, sizeof(*ret), 0) != (ssize_t)sizeof(*ret))
			return -errno;
	worker_generation(call, *ret);
	return 0;
}

static void tell(struct call *call, const Postern__V1__SystemRestoredReply *reply)
{
	Postern__V1__NotifySystemRestored notify = POSTERN__V1__NOTIFY_SYSTEM_RESTORED__INIT;

	notify.has_generation = true;
	notify.generation = reply->generation;
	notify.has_adjusted_ns = reply->has_adjusted_ns;
	notify.adjusted_ns = reply->adjusted_ns;
	worker_notify(call, TOPIC_system_restored, &notify.base);
}

static int check(struct call *call, const Postern__V1__SystemRestoredRequest *request)
{
	if (request->entropy.len < ENTROPY_LEAST || request->entropy.len > ENTROPY_MOST)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"entropy: expected %d to %d bytes", ENTROPY_LEAST, ENTROPY_MOST);
	return worker_facts(call)->renew_machine_id ? place_check(call, MACHINE_ID, TOUCH_WRITE)
						    : 0;
}

int system_restored(struct call *call, const Postern__V1__SystemRestoredRequest *request,
	Postern__V1__SystemRestoredReply *reply)
{
	struct hook_result hooks;
	int r = check(call, request);

	if (r < 0)
		return r;
	/* First what all that is random from here on is made of. */
	worker_changing(call);
	r = reseed(call, &request->entropy);
	if (r < 0)
		return call_fail_errno(call, r, "the kernel's random numbers");
	if (request->has_adjust_ns)
		r = clock_step(call, request->adjust_ns);
	if (r < 0)
		return r;
	reply->has_adjusted_ns = request->has_adjust_ns;
	reply->adjusted_ns = request->adjust_ns;
	if (worker_facts(call)->renew_machine_id)
		r = renew_machine_id(call, reply);
	worker_touch_done(call);
	if (r < 0 && r != -ENOENT)
		return call_fail_errno(call, r, MACHINE_ID);
	reply->has_generation = true;
	r = draw_generation(call, &reply->generation);
	if (r < 0)
		return call_fail_errno(call, r, "a new generation");
	tell(call, reply);
	(void)hooks_call(call, HOOK_RESTORED, &hooks);
	if (hooks.end == HOOK_OK)
		return 0;
	(void)hooks_fail(call, HOOK_RESTORED, &hooks, "");
	reply->hook_problem = call->error ? call->error->message : NULL;
	call->error = NULL;
	return 0;
}
