/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/methods/place.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define ANSWER_MS 1000
#define REAP_MS   50

/* One answer in the pipe, in the order of the questions. */
struct answer {
	int error; /* errno; 0: usage is valid */
	uint64_t block_size, blocks, blocks_free, blocks_available, files, files_free;
};

static bool same_device(const Postern__V1__MountEntry *a, const Postern__V1__MountEntry *b)
{
	return a->major == b->major && a->minor == b->minor;
}

/* The first entry of the same device: the one that is asked. */
static size_t first_of_device(Postern__V1__MountEntry **entries, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (same_device(entries[j], entries[i]))
			return j;
	return i;
}

static bool is_asked(Postern__V1__MountEntry **entries, size_t i)
{
	return first_of_device(entries, i) == i &&
	       entries[i]->state != POSTERN__V1__MOUNT_STATE__NOT_RESPONDING;
}

static int ask_one(struct call *call, const struct mount_map *map,
	const Postern__V1__MountEntry *entry, struct statfs *ret)
{
	AUTO_CLOSE int fd = -EBADF;
	int r = place_open_in(call, map, (const char *)entry->target.data, 0, &fd);

	if (r < 0)
		return r;
	return fstatfs(fd, ret) < 0 ? -errno : 0;
}

/* The process that may hang: asks from entry `from` on. */
static void ask(struct call *call, const struct mount_map *map, Postern__V1__MountEntry **entries,
	size_t from, size_t n, int pipe)
{
	for (size_t i = from; i < n; i++) {
		struct answer answer = {0};
		struct statfs fs;

		if (!is_asked(entries, i))
			continue;
		answer.error = -ask_one(call, map, entries[i], &fs);
		call->error = NULL;
		if (answer.error == 0)
			answer = (struct answer){.block_size = (uint64_t)fs.f_bsize,
				.blocks = fs.f_blocks,
				.blocks_free = fs.f_bfree,
				.blocks_available = fs.f_bavail,
				.files = fs.f_files,
				.files_free = fs.f_ffree};
		if (write(pipe, &answer, sizeof(answer)) != (ssize_t)sizeof(answer))
			return;
	}
}

static int take_answer(
	struct call *call, const struct answer *answer, Postern__V1__MountEntry *entry)
{
	Postern__V1__MountUsage *usage;

	/* Nothing to tell of a file system without blocks, or of one that may not be asked. */
	if (answer->error != 0 || answer->blocks == 0)
		return 0;
	usage = arena_alloc(call->arena, sizeof(*usage));
	if (!usage)
		return -ENOMEM;
	postern__v1__mount_usage__init(usage);
	usage->has_total = usage->has_used = usage->has_available = true;
	usage->total = answer->blocks * answer->block_size;
	usage->used = (answer->blocks - answer->blocks_free) * answer->block_size;
	usage->available = answer->blocks_available * answer->block_size;
	usage->has_files = usage->has_files_free = true;
	usage->files = answer->files;
	usage->files_free = answer->files_free;
	entry->usage = usage;
	return 0;
}

/* Ends the asking process. True when it is gone. */
static bool end_child(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	for (int i = 0; i < REAP_MS; i++) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return true;
		(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return false;
}

/* Takes answers until the end or until one does not come. Returns the entry to go on with. */
static int take_answers(struct call *call, Postern__V1__MountEntry **entries, size_t *at, size_t n,
	int pipe, bool *ret_silent)
{
	*ret_silent = false;
	for (; *at < n; ++*at) {
		struct pollfd wait = {.fd = pipe, .events = POLLIN};
		struct answer answer;
		int r;

		if (!is_asked(entries, *at))
			continue;
		if (poll(&wait, 1, ANSWER_MS) != 1) {
			*ret_silent = true;
			return 0;
		}
		if (read(pipe, &answer, sizeof(answer)) != (ssize_t)sizeof(answer))
			return -EPIPE;
		r = take_answer(call, &answer, entries[*at]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The one at entry `at` did not answer. What hangs may also be a file system on the way to it. */
static void give_up(struct call *call, Postern__V1__MountEntry **entries, size_t at, size_t n,
	pid_t pid, dev_t hung)
{
	worker_hung(call, end_child(pid) ? 0 : pid, hung);
	entries[at]->state = POSTERN__V1__MOUNT_STATE__NOT_RESPONDING;
	for (size_t i = 0; i < n; i++)
		if (makedev(entries[i]->major, entries[i]->minor) == hung)
			entries[i]->state = POSTERN__V1__MOUNT_STATE__NOT_RESPONDING;
}

/* One process, as far as it gets. */
static int run(struct call *call, const struct mount_map *map, Postern__V1__MountEntry **entries,
	size_t *at, size_t n, struct touched *touch)
{
	struct worker *worker = call->program;
	AUTO_CLOSE int ours = -EBADF;
	int ends[2], r;
	bool silent;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	ours = ends[0];
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		worker->touch = touch;
		ask(call, map, entries, *at, n, ends[1]);
		_exit(0);
	}
	(void)close(ends[1]);
	if (pid < 0)
		return -errno;
	r = take_answers(call, entries, at, n, ours, &silent);
	if (r == 0 && silent)
		give_up(call, entries, *at, n, pid,
			__atomic_load_n(&touch->device, __ATOMIC_RELAXED));
	else
		/* One that answered everything is only slow to go; our own end takes it along. */
		(void)end_child(pid);
	return r;
}

static int run_all(struct call *call, Postern__V1__MountEntry **entries, size_t n)
{
	struct mount_map map;
	struct touched *touch;
	size_t at = 0;
	int r = mount_map_own(&map);

	if (r < 0)
		return r;
	touch = mmap(
		NULL, sizeof(*touch), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (touch == MAP_FAILED)
		r = -errno;
	while (at < n && r == 0)
		r = run(call, &map, entries, &at, n, touch);
	if (touch != MAP_FAILED)
		(void)munmap(touch, sizeof(*touch));
	mount_map_done(&map);
	return r;
}

int probe_usage(struct call *call, Postern__V1__MountEntry **entries, size_t n)
{
	int r = run_all(call, entries, n);

	for (size_t i = 0; i < n; i++) {
		const Postern__V1__MountEntry *asked = entries[first_of_device(entries, i)];

		entries[i]->usage = asked->usage;
		entries[i]->state = asked->state;
	}
	return r;
}
