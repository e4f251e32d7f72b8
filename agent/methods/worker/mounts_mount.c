/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/methods/disk_serial.h"
#include "agent/methods/kmod_client.h"
#include "agent/methods/mount_call.h"
#include "agent/methods/mount_options.h"
#include "agent/methods/mount_remote.h"
#include "agent/methods/mount_source.h"
#include "agent/methods/place.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define RETRY_NS        20000000 /* between two looks for a device that is being plugged in */
#define TAKE_AWAY_TRIES 16       /* that may fail, of unmounting what somebody else is at too */

/* What the kernel wrote into the log of a file system context, if anything. */
static void kernel_words(int context, char *text, size_t size)
{
	ssize_t n = read(context, text, size - 1);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	/* "e virtiofs: tag <x> not found": the first letter is the level. */
	if (n > 2 && text[1] == ' ')
		memmove(text, text + 2, strlen(text + 2) + 1);
}

static int fail_config(struct call *call, int context, int r, const char *what)
{
	char words[256];

	kernel_words(context, words, sizeof(words));
	if (words[0] != '\0')
		return call_fail(
			call, code_of_errno(-r), -r, "%s: %s (%s)", what, strerror(-r), words);
	return call_fail_errno(call, r, "%s", what);
}

static int set_string(struct call *call, int context, const char *key, const char *value)
{
	return fsconfig(context, FSCONFIG_SET_STRING, key, value, 0) < 0
		       ? fail_config(call, context, -errno, key)
		       : 0;
}

static int set_option(struct call *call, int context, const Postern__V1__MountOption *option)
{
	char *value;

	if (!option->has_value || option->value.len == 0)
		return fsconfig(context, FSCONFIG_SET_FLAG, option->key, NULL, 0) < 0
			       ? fail_config(call, context, -errno, option->key)
			       : 0;
	value = call_string(call, true, &option->value, 4096, option->key);
	return value ? set_string(call, context, option->key, value) : -EINVAL;
}

/* What the caller does not give: what the type always has, a server's address and version. */
static int set_ours(struct call *call, int context, const struct mount_wish *wish)
{
	const char *value = wish->type->always ? strchr(wish->type->always, '=') : NULL;
	int r = 0;

	if (value) {
		char *key = arena_copy(
			call->arena, wish->type->always, (size_t)(value - wish->type->always));

		r = key ? set_string(call, context, key, value + 1) : -ENOMEM;
	}
	if (r == 0 && wish->address)
		r = set_string(call, context, wish->address_key, wish->address);
	if (r == 0 && wish->version)
		r = set_string(call, context, "vers", wish->version);
	if (r == 0 && wish->secret)
		r = set_string(call, context, wish->type->secret, wish->secret);
	return r;
}

/* A context with everything set but not created yet. */
static int configure(struct call *call, const struct mount_wish *wish, int *ret_context)
{
	AUTO_CLOSE int context = fsopen(wish->type->name, FSOPEN_CLOEXEC);
	const char *source = wish->source ? wish->source : wish->type->name;
	int r = 0;

	if (context < 0)
		return call_fail_errno(call, -errno, "%s", wish->type->name);
	if (fsconfig(context, FSCONFIG_SET_STRING, "source", source, 0) < 0)
		return fail_config(call, context, -errno, source);
	for (size_t i = 0; i < wish->n_options && r == 0; i++)
		if (!mount_attribute(wish->options[i]->key, NULL))
			r = set_option(call, context, wish->options[i]);
	if (r == 0 && mount_read_only(wish->options, wish->n_options) &&
		fsconfig(context, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0)
		r = fail_config(call, context, -errno, "ro");
	if (r == 0)
		r = set_ours(call, context, wish);
	if (r < 0)
		return r;
	*ret_context = take_fd(&context);
	return 0;
}

/* A tag that no device has yet: what each type answers then. And a disk that has a name already,
 * but cannot be opened yet. */
static bool is_missing(const struct mount_wish *wish, int r)
{
	if (wish->serial)
		return r == -ENXIO;
	return wish->type->source == SOURCE_TAG && (r == -EINVAL || r == -ENOENT || r == -ENODEV);
}

/* What the kernel says when there is no file system to be had. */
static int fail_create(struct call *call, const struct mount_wish *wish, int context, int r)
{
	const char *source = wish->source ? wish->source : wish->type->name;

	if (wish->type->source == SOURCE_REMOTE && r == -EACCES)
		return call_fail(call, POSTERN__V1__CODE__PERMISSION_DENIED, EACCES,
			"%s: the server refuses it: the user, the secret, or what this guest may "
			"have",
			source);
	return fail_config(call, context, r, source);
}

/* Creates the file system, waiting for its device as long as was asked. */
static int create(struct call *call, const struct mount_wish *wish, int *ret_context)
{
	uint64_t until = monotonic_ns() + wish->wait_ms * NSEC_PER_MSEC;

	for (;;) {
		AUTO_CLOSE int context = -EBADF;
		int r = configure(call, wish, &context);

		if (r < 0)
			return r;
		if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0) {
			*ret_context = take_fd(&context);
			return 0;
		}
		r = -errno;
		if (!is_missing(wish, r))
			return fail_create(call, wish, context, r);
		if (monotonic_ns() >= until && wish->serial)
			return fail_create(call, wish, context, r);
		if (monotonic_ns() >= until)
			return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENODEV,
				"no device offers the tag %s%s", wish->source,
				wish->wait_ms ? ", although it was waited for"
					      : "; wait_ms waits for one that is being plugged in");
		(void)nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
	}
}

/* Nothing is mounted over anything that stands there already. */
static int check_target(struct call *call, const struct mount_wish *wish)
{
	Postern__V1__MountEntry *there;
	int r;

	if (place_is_protected(wish->target))
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, 0,
			"%s is never mounted over", wish->target);
	r = mount_look(call, wish->target, &there);
	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	if (there)
		return call_fail(call, POSTERN__V1__CODE__ALREADY_EXISTS, EBUSY,
			"%s is a mount point already (%.64s, type %.32s); unmount it first",
			wish->target, there->has_source ? (char *)there->source.data : "-",
			(char *)there->type.data);
	return 0;
}

static int open_target(struct call *call, const struct mount_wish *wish, int *ret_target)
{
	int r = place_open(call, wish->target,
		PLACE_FOLDER | (wish->create_target ? PLACE_CREATE : 0), ret_target);

	if (r == -ENOENT)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENOENT,
			"%s: no such folder; create_target makes it", wish->target);
	return r;
}

/* All that comes before a mount exists: checks, module, device, the file system itself. */
static int make(struct call *call, const struct mount_wish *wish, int *ret_target, int *ret_context)
{
	struct mount_wish attempt = *wish;
	int r = check_target(call, wish);

	if (r == 0)
		r = kmod_need(call, wish->type);
	if (r == 0)
		r = mount_source_wait(call, &attempt);
	if (r == 0)
		r = open_target(call, wish, ret_target);
	if (r == 0)
		r = mount_source_touch(call, &attempt);
	if (r == 0)
		r = create(call, &attempt, ret_context);
	while (r == -EPROTONOSUPPORT && mount_remote_next(&attempt))
		r = create(call, &attempt, ret_context);
	if (r == 0)
		call->error = NULL;
	return r;
}

int mount_try(struct call *call, const struct mount_wish *wish)
{
	AUTO_CLOSE int target = -EBADF;
	AUTO_CLOSE int context = -EBADF;
	int r = make(call, wish, &target, &context);

	worker_touch_done(call);
	return r;
}

static int id_of(int mount)
{
	struct statx st;

	/* The file system is not asked. */
	if (statx(mount, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &st) < 0)
		return -errno;
	return st.stx_mask & STATX_MNT_ID ? (int)st.stx_mnt_id : -ENOSYS;
}

/* Takes the mount away with all that lies upon it: a path, even that of a descriptor, leads to the
 * topmost one. */
static void take_away(struct call *call, int mount, int id)
{
	Postern__V1__MountEntry *entry;
	bool upon;
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", mount);
	for (int tries = 0;; tries += umount2(path, MNT_DETACH) < 0) {
		if (mount_look_id(call, id, &entry, &upon) < 0) {
			call->outcome = POSTERN__V1__OUTCOME__OUTCOME_UNKNOWN;
			return;
		}
		/* One fails when the topmost has just been taken away by its own maker. */
		if (!entry || tries == TAKE_AWAY_TRIES)
			break;
	}
	if (!entry)
		call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
}

/* What was opened was the top of another's mount, which has been taken away since. */
static bool has_gone(struct call *call, int target)
{
	Postern__V1__MountEntry *entry;
	bool upon;
	int id = id_of(target);

	return id >= 0 && mount_look_id(call, id, &entry, &upon) == 0 && !entry;
}

static int fail_raced(struct call *call, const struct mount_wish *wish)
{
	return call_fail(call, POSTERN__V1__CODE__ALREADY_EXISTS, EBUSY,
		"%s: somebody else mounted something there at the same moment", wish->target);
}

/* The place was free when it was looked at, but several may have looked: of those that came to lie
 * upon another, each takes itself away again. */
static int confirm(struct call *call, const struct mount_wish *wish, int mount,
	Postern__V1__MountEntry **ret_entry)
{
	bool upon = false;
	int id = id_of(mount);
	int r = id < 0 ? id : mount_look_id(call, id, ret_entry, &upon);

	if (r < 0)
		return call_fail_errno(
			call, r, "%s was mounted, but the mount table", wish->target);
	if (*ret_entry && !upon)
		return 0;
	take_away(call, mount, id);
	return fail_raced(call, wish);
}

int mount_do(struct call *call, const struct mount_wish *wish, Postern__V1__MountEntry **ret_entry)
{
	AUTO_CLOSE int target = -EBADF;
	AUTO_CLOSE int context = -EBADF;
	AUTO_CLOSE int mount = -EBADF;
	int r = make(call, wish, &target, &context);

	if (r < 0)
		return r;
	mount = fsmount(context, FSMOUNT_CLOEXEC, mount_attributes(wish->options, wish->n_options));
	if (mount < 0)
		return fail_config(call, context, -errno, wish->type->name);
	worker_changing(call);
	if (move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
		0) {
		r = -errno;
		call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
		if (has_gone(call, target))
			return fail_raced(call, wish);
		return call_fail_errno(call, r, "%s", wish->target);
	}
	call->outcome = POSTERN__V1__OUTCOME__DONE;
	worker_touch_done(call);
	return confirm(call, wish, mount, ret_entry);
}

int mounts_mount(struct call *call, const Postern__V1__MountsMountRequest *request,
	Postern__V1__MountsMountReply *reply)
{
	struct mount_wish wish = {.options = request->options,
		.n_options = request->n_options,
		.create_target = request->create_target,
		.wait_ms = request->wait_ms};
	int r;

	wish.target = call_path(call, request->has_target, &request->target, "target");
	if (!wish.target)
		return -EINVAL;
	r = mount_type_check(call, request->type, &wish.type);
	if (r == 0 && request->has_source_serial && request->has_source)
		r = call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"source, source_serial: expected one of them");
	else if (r == 0 && request->has_source_serial)
		r = mount_source_check_serial(
			call, &request->source_serial, request->source_partition, &wish);
	else if (r == 0)
		r = mount_source_check(call, request->has_source, &request->source, &wish);
	if (r == 0)
		r = mount_options_check(call, wish.type, wish.options, wish.n_options);
	if (r == 0)
		r = mount_remote_check(call, &wish);
	if (r == 0)
		r = mount_do(call, &wish, &reply->mount);
	if (r == 0 && wish.serial && reply->mount->has_source) {
		reply->source_size = disk_serial_size(call, (char *)reply->mount->source.data);
		reply->has_source_size = reply->source_size != 0;
	}
	return r;
}

int settle_mount(struct call *call, const ProtobufCMessage *message, Postern__V1__Outcome *ret)
{
	const Postern__V1__MountsMountRequest *request =
		(const Postern__V1__MountsMountRequest *)message;

	return mount_settle(call, request->has_target, &request->target, true, ret);
}
