/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a disk can do, without harm: a disk itself is opened for reading alone, and what is written
 * goes into a file that never has a name (O_TMPFILE), so that the kernel frees it whatever becomes
 * of this process, and that leaves room over for others.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/methods/disk_measure.h"
#include "agent/methods/disk_place.h"
#include "agent/methods/file_work.h"
#include "agent/methods/prototypes.h"
#include "proto/clock.h"
#include "proto/openat2.h"

#define MIB            (UINT64_C(1) << 20)
#define SIZE_DEFAULT   (256 * MIB)
#define SIZE_MOST      (4096 * MIB)
#define ROOM_LEAST     (64 * MIB) /* for others */
#define ROOM_SHARE     20         /* ... or this part of the file system, if it is more */
#define DURATION_MS    3000
#define DURATION_LEAST 10
#define DURATION_MOST  60000
#define ALIGNMENT      4096
#define PHASES_MAX     4

#define PHASE(name) POSTERN__V1__BENCHMARK_PHASE__##name
#define STATE(name) POSTERN__V1__BENCHMARK_STATE__##name

struct benchmark {
	struct call *call;
	const Postern__V1__DisksBenchmarkRequest *request;
	Postern__V1__DisksBenchmarkReply *reply; /* for its parts too */
	struct disk_measure measure;
	const char *what; /* for a person */
	uint64_t wanted;  /* size of the file */
	int fd;           /* owned */
	size_t phase, n_phases;
};

static void benchmark_close(struct benchmark *benchmark)
{
	benchmark->fd = fd_close(benchmark->fd);
	free(benchmark->measure.buffer);
	benchmark->measure.buffer = NULL;
}

static int check(struct call *call, struct benchmark *benchmark)
{
	const Postern__V1__DisksBenchmarkRequest *request = benchmark->request;
	uint32_t duration = request->has_duration_ms ? request->duration_ms : DURATION_MS;

	benchmark->wanted = request->has_size ? request->size : SIZE_DEFAULT;
	if (duration < DURATION_LEAST || duration > DURATION_MOST)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"duration_ms: %d to %d", DURATION_LEAST, DURATION_MOST);
	if (benchmark->wanted < MIB || benchmark->wanted > SIZE_MOST)
		return call_fail(
			call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "size: 1 to 4096 MiB");
	if (request->has_size && !request->write)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"size: of a file that is written (write)");
	benchmark->measure.duration_ns = duration * NSEC_PER_MSEC;
	return 0;
}

/* ---- a disk ---- */

/* The node is looked at before it is opened: the same disk, and nothing that a name leads to. 0 or
 * -errno. */
static int open_node(const Postern__V1__Disk *disk, const char *path, int *ret_fd)
{
	AUTO_CLOSE int at = path_open(AT_FDCWD, path, O_PATH | O_NOFOLLOW, 0,
		RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
	char own[32];
	struct stat st;

	if (at < 0)
		return at;
	if (fstat(at, &st) < 0)
		return -errno;
	if (!S_ISBLK(st.st_mode) || major(st.st_rdev) != disk->major ||
		minor(st.st_rdev) != disk->minor)
		return -ENODEV;
	(void)snprintf(own, sizeof(own), "/proc/self/fd/%d", at);
	*ret_fd = open(own, O_RDONLY | O_DIRECT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

static int open_disk(struct call *call, struct benchmark *benchmark)
{
	Postern__V1__Disk *disk = NULL;
	dev_t device;
	char *path;
	int r = disk_find(call, benchmark->request->has_disk, &benchmark->request->disk, &disk);

	if (r < 0)
		return r;
	path = arena_printf(
		call->arena, "/dev/%.*s", (int)disk->name.len, (const char *)disk->name.data);
	if (!path)
		return -ENOMEM;
	benchmark->what = path;
	device = makedev(disk->major, disk->minor);
	if (worker_is_quarantined(call, device, TOUCH_LOOK))
		return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, EHOSTDOWN,
			"%s: does not respond; somebody waits for it already", path);
	worker_touch(call, device, TOUCH_LOOK);
	r = open_node(disk, path, &benchmark->fd);
	if (r == 0 && ioctl(benchmark->fd, BLKGETSIZE64, &benchmark->measure.size) < 0)
		r = -errno;
	if (r == 0 && benchmark->measure.size < MEASURE_LARGE)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, ENOMEDIUM,
			"%s: has %llu bytes, too few to measure, or no medium", path,
			(unsigned long long)benchmark->measure.size);
	benchmark->measure.direct = true;
	benchmark->reply->has_name = true;
	benchmark->reply->name = disk->name;
	return r < 0 ? call_fail_errno(call, r, "%s", path) : 0;
}

/* ---- a file ---- */

/* As large as it may be. 0 or -errno through call_fail(). */
static int size_file(struct call *call, struct benchmark *benchmark, int folder)
{
	uint64_t room, keep;
	struct statvfs fs;

	if (fstatvfs(folder, &fs) < 0)
		return call_fail_errno(call, -errno, "%s", benchmark->what);
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	keep = (uint64_t)fs.f_blocks * fs.f_frsize / ROOM_SHARE;
	keep = keep > ROOM_LEAST ? keep : ROOM_LEAST;
	room = room > keep ? room - keep : 0;
	benchmark->measure.size = (room < benchmark->wanted ? room : benchmark->wanted) / MIB * MIB;
	if (benchmark->measure.size == 0)
		return call_fail(call, POSTERN__V1__CODE__RESOURCE_EXHAUSTED, ENOSPC,
			"%s: less than %" PRIu64 " bytes are free, which are left to others",
			benchmark->what, keep + MIB);
	return 0;
}

static int open_file(struct call *call, struct benchmark *benchmark)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	AUTO_CLOSE int folder = -EBADF;
	const int flags = O_TMPFILE | O_RDWR | O_CLOEXEC;
	int r = disk_place_open(call, benchmark->request->has_disk, &benchmark->request->disk,
		false, NULL, TOUCH_WRITE, &place);

	if (r == 0)
		r = file_open_folder(call, &place, &folder);
	if (r < 0)
		return r;
	benchmark->what = place.path;
	r = size_file(call, benchmark, folder);
	if (r < 0)
		return r;
	benchmark->measure.direct = true;
	benchmark->fd = openat(folder, ".", flags | O_DIRECT, 0600);
	if (benchmark->fd < 0 && errno == EINVAL) {
		benchmark->measure.direct = false;
		benchmark->fd = openat(folder, ".", flags, 0600);
	}
	if (benchmark->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
		return call_fail(call, POSTERN__V1__CODE__UNIMPLEMENTED, EOPNOTSUPP,
			"%s: its file system has no files without a name, and none with one is "
			"written",
			place.path);
	if (benchmark->fd < 0)
		return file_fail(call, &place, -errno);
	benchmark->reply->has_path = true;
	benchmark->reply->path = call_text(call, place.path);
	return 0;
}

/* ---- phases ---- */

static int progress(void *ctx, Postern__V1__BenchmarkPhase phase, uint64_t elapsed_ns)
{
	struct benchmark *benchmark = ctx;
	Postern__V1__DisksBenchmarkReply part = POSTERN__V1__DISKS_BENCHMARK_REPLY__INIT;
	uint64_t all = benchmark->measure.duration_ns * benchmark->n_phases,
		 done = benchmark->measure.duration_ns * benchmark->phase + elapsed_ns;

	part.has_state = part.has_phase = part.has_percent = true;
	part.state = STATE(BENCHMARK_PROGRESS);
	part.phase = phase;
	part.percent = (uint32_t)(done * 100 / all < 100 ? done * 100 / all : 99);
	return call_more(benchmark->call, &part.base);
}

static int start(struct benchmark *benchmark)
{
	Postern__V1__DisksBenchmarkReply *reply = benchmark->reply;
	int r;

	reply->has_state = reply->has_percent = reply->has_size = reply->has_direct = true;
	reply->state = STATE(BENCHMARK_STARTED);
	reply->size = benchmark->measure.size;
	reply->direct = benchmark->measure.direct;
	r = call_more(benchmark->call, &reply->base);
	reply->state = STATE(BENCHMARK_FINISHED);
	reply->percent = 100;
	return r;
}

/* Whoever pulls a disk leaves its readers with one errno or another. */
static int fail_phase(struct call *call, const struct benchmark *benchmark, int r)
{
	uint64_t size = 0;
	bool gone = !benchmark->request->write &&
		    (ioctl(benchmark->fd, BLKGETSIZE64, &size) < 0 || size == 0);

	if (call->error)
		return r;
	if (gone || r == -ENODEV || r == -ENXIO)
		return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, ENODEV,
			"%s: the disk was pulled while it was measured", benchmark->what);
	/* What a disk says of a spot that it cannot read, or does not trust. */
	if (r == -ENODATA || r == -EILSEQ)
		return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, -r, "%s: %s",
			benchmark->what, strerror(-r));
	return call_fail_errno(call, r, "%s", benchmark->what);
}

static int run(struct call *call, struct benchmark *benchmark)
{
	static const Postern__V1__BenchmarkPhase phases[] = {PHASE(SEQUENTIAL_WRITE),
		PHASE(RANDOM_WRITE), PHASE(SEQUENTIAL_READ), PHASE(RANDOM_READ)};
	Postern__V1__BenchmarkResult results[PHASES_MAX],
		**listed = arena_alloc(call->arena, PHASES_MAX * sizeof(*listed));
	size_t skip = benchmark->request->write ? 0 : 2;
	int r;

	benchmark->measure.buffer = aligned_alloc(ALIGNMENT, MEASURE_LARGE);
	if (!listed || !benchmark->measure.buffer)
		return -ENOMEM;
	benchmark->measure.fd = benchmark->fd;
	benchmark->measure.progress = progress;
	benchmark->measure.ctx = benchmark;
	benchmark->n_phases = PHASES_MAX - skip;
	r = start(benchmark);
	for (size_t i = skip; r == 0 && i < PHASES_MAX; i++) {
		r = disk_measure(&benchmark->measure, phases[i], &results[i]);
		benchmark->phase++;
	}
	if (r < 0)
		return fail_phase(call, benchmark, r);
	for (size_t i = skip; i < PHASES_MAX; i++) {
		Postern__V1__BenchmarkResult *copy =
			arena_copy(call->arena, &results[i], sizeof(results[i]));

		if (!copy)
			return -ENOMEM;
		listed[benchmark->reply->n_results++] = copy;
	}
	benchmark->reply->results = listed;
	return 0;
}

int disks_benchmark(struct call *call, const Postern__V1__DisksBenchmarkRequest *request,
	Postern__V1__DisksBenchmarkReply *reply)
{
	AUTO(benchmark_close)
	struct benchmark benchmark = {
		.call = call, .request = request, .reply = reply, .fd = -EBADF};
	int r = check(call, &benchmark);

	if (r == 0)
		r = request->write ? open_file(call, &benchmark) : open_disk(call, &benchmark);
	if (r == 0)
		r = run(call, &benchmark);
	return disk_tell_error(call, r, &request->disk, NULL);
}
