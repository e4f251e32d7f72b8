/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/log_reading.h"
#include "agent/methods/place.h"
#include "agent/methods/prototypes.h"
#include "agent/sandbox/confine.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define LINES_FOLLOWED 10 /* with follow where nobody says how many */
#define LINES_MAX      100000
#define WORDS_MAX      64 /* units, identifiers */
#define TEXT_MAX       1024

#define SOURCE(name) POSTERN__V1__LOG_SOURCE__##name

/* ---- what is asked for ---- */

static int refuse(struct call *call, const char *why)
{
	return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "%s", why);
}

static bool words_are_good(const Postern__V1__LogsReadRequest *request)
{
	bool good = request->n_units <= WORDS_MAX && request->n_identifiers <= WORDS_MAX;

	for (size_t i = 0; good && i < request->n_units; i++)
		good = request->units[i][0] && strlen(request->units[i]) < LOG_IDENTIFIER_MAX;
	for (size_t i = 0; good && i < request->n_identifiers; i++)
		good = request->identifiers[i].len > 0 &&
		       request->identifiers[i].len < LOG_IDENTIFIER_MAX;
	return good && request->text.len <= TEXT_MAX;
}

static bool wants(const Postern__V1__LogsReadRequest *request, Postern__V1__LogSource source)
{
	for (size_t i = 0; i < request->n_sources; i++)
		if (request->sources[i] == source)
			return true;
	return request->n_sources == 0;
}

static int check(struct call *call, const Postern__V1__LogsReadRequest *request)
{
	for (size_t i = 0; i < request->n_sources; i++)
		if (request->sources[i] == SOURCE(LOG_SOURCE_UNSPECIFIED))
			return refuse(call, "sources: KERNEL or JOURNAL");
	if (request->lines > LINES_MAX)
		return refuse(call, "lines: at most 100000");
	if (request->priority > LOG_PRIORITY_LOWEST)
		return refuse(call, "priority: 0 to 7");
	if (!words_are_good(request))
		return refuse(call, "units, identifiers, text: empty, too long, or too many");
	if (request->n_units > 0 && !wants(request, SOURCE(JOURNAL)))
		return refuse(call, "units: what the kernel says is of none");
	if (request->boot > 0)
		return refuse(call, "boot: 0 for this one, less than 0 for those before");
	if (request->has_boot && request->all_boots)
		return refuse(call, "boot, all_boots: not together");
	if (request->follow && (request->boot < 0 || request->has_until_us))
		return refuse(call, "follow: not what has ended: boot, until_us");
	if (request->cursor && request->has_lines)
		return refuse(call, "cursor, lines: not together");
	return 0;
}

/* ---- where it is ---- */

/* The kernel's own log. 0; -errno where it cannot be read, without an error of the call. */
static int open_kernel(struct log_reading *reading)
{
	int fd = open(LOG_KERNEL_PATH, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode)) {
		(void)fd_close(fd);
		return -ENODEV;
	}
	log_kernel_init(&reading->kernel, fd, &reading->filter);
	return 0;
}

/* The journal's files are on a disk, or on something that does not answer. 0; -ENOENT: it has no
 * folder; -EHOSTDOWN. */
static int touch_journal(struct call *call)
{
	static const char *const places[] = {"/run/log/journal", "/var/log/journal"};
	int found = -ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		AUTO_CLOSE int fd = -EBADF;
		int r = place_open(call, places[i], PLACE_FOLDER, &fd);

		call->error = NULL;
		if (r == -EHOSTDOWN)
			return r;
		found = r == -ENOENT ? found : 0;
	}
	return found;
}

static int open_journal(struct call *call, struct log_reading *reading, bool kernel_only)
{
	bool has_boot = true;
	int r = touch_journal(call);

	if (r == 0)
		r = log_journal_open(
			&reading->journal, NULL, &reading->filter, kernel_only, &has_boot);
	if (r < 0 && !has_boot)
		(void)call_fail(
			call, POSTERN__V1__CODE__NOT_FOUND, 0, "the journal has no such boot");
	return r;
}

static const char *why_no_journal(int r)
{
	switch (r) {
	case -ENOENT:
		return "this guest has no journal";
	case -ENOPKG:
		return "this guest has no library to read a journal with (libsystemd)";
	default:
		return "this guest's journal cannot be read";
	}
}

/* Both, as far as they are wanted and there. What is missing is said in *ret_note, or is an error
 * where it was asked for. */
static int open_sources(struct call *call, struct log_reading *reading, const char **ret_note)
{
	const Postern__V1__LogsReadRequest *request = reading->filter.request;
	bool kernel = wants(request, SOURCE(KERNEL)), journal = wants(request, SOURCE(JOURNAL));
	bool before = request->boot < 0, any = log_filter_is_of_any_boot(&reading->filter);
	int r = 0;

	/* What it holds is of this boot, and of no unit. */
	if (kernel && !before && request->n_units == 0) {
		r = open_kernel(reading);
		if (r < 0 && request->n_sources > 0)
			return call_fail_errno(call, r, LOG_KERNEL_PATH);
	}
	if (!journal && !before && !any)
		return 0;
	r = open_journal(call, reading, !journal);
	if (r == 0 || call->error)
		return r;
	if (reading->kernel.fd >= 0 && (!journal || request->n_sources == 0)) {
		*ret_note = journal ? why_no_journal(r) : NULL;
		return 0;
	}
	if (r == -ENOENT || r == -ENOPKG)
		return call_fail(
			call, POSTERN__V1__CODE__UNIMPLEMENTED, -r, "%s", why_no_journal(r));
	return call_fail_errno(call, r, "the journal");
}

/* What is looked for only while it is read, since that may take its time: the last lines. */
static int set_place(struct call *call, struct log_reading *reading)
{
	const Postern__V1__LogsReadRequest *request = reading->filter.request;
	int r;

	if (!request->cursor) {
		reading->from_end = request->has_lines || request->follow;
		reading->lines = request->has_lines ? request->lines : LINES_FOLLOWED;
		return 0;
	}
	if (log_cursor_parse(request->cursor, &reading->position) < 0)
		return refuse(call, "cursor: not one of an entry");
	r = log_reading_after(reading);
	return r < 0 ? call_fail_errno(call, r, "the logs") : 0;
}

/* ---- the channel ---- */

static void count(void *ctx, uint64_t bytes)
{
	struct worker_channel *channel = ctx;

	channel->to_caller = bytes;
	worker_count(channel);
}

static void serve(struct worker_channel *channel, int socket)
{
	struct log_reading *reading = channel->state;

	reading->count = count;
	reading->ctx = channel;
	(void)log_reading_send(reading, socket);
	log_reading_done(reading);
}

static int make_reply(struct call *call, struct log_reading *reading, const char *note,
	Postern__V1__LogsReadReply *reply)
{
	struct log_cursor now;
	char name[256] = "", cursor[LOG_CURSOR_MAX];

	reply->sources = arena_alloc(call->arena, 2 * sizeof(*reply->sources));
	if (!reply->sources)
		return -ENOMEM;
	if (reading->kernel.fd >= 0)
		reply->sources[reply->n_sources++] = SOURCE(KERNEL);
	if (reading->journal.journal)
		reply->sources[reply->n_sources++] = SOURCE(JOURNAL);
	if (note)
		reply->note = arena_printf(call->arena, "%s: only its kernel's log is read", note);
	(void)gethostname(name, sizeof(name) - 1);
	reply->has_hostname = reply->has_boot_id = true;
	reply->hostname = call_text(call, name);
	reply->boot_id = call_bytes(call, reading->filter.boot, LOG_BOOT_SIZE);
	if (reading->filter.request->follow && !reading->filter.request->cursor) {
		log_reading_now(reading, &now);
		reply->cursor = arena_strdup(call->arena, log_cursor_print(&now, cursor));
	}
	return 0;
}

int logs_read(struct call *call, const Postern__V1__LogsReadRequest *request,
	Postern__V1__LogsReadReply *reply)
{
	struct log_reading *reading = arena_alloc(call->arena, sizeof(*reading));
	const char *note = NULL;
	int r = check(call, request);

	if (r < 0 || !reading)
		return r < 0 ? r : -ENOMEM;
	reading->kernel.fd = -EBADF;
	r = log_filter_init(&reading->filter, request);
	if (r < 0)
		return call_fail_errno(call, r, LOG_BOOT_PATH);
	r = open_sources(call, reading, &note);
	if (r == 0)
		log_reading_begin(reading);
	if (r == 0)
		r = set_place(call, reading);
	/* The kernel asks for its right once, where its log is opened. */
	if (r == 0 && worker_raise(CAP(DAC_READ_SEARCH)) < 0)
		r = -EPERM;
	if (r == 0)
		r = make_reply(call, reading, note, reply);
	worker_touch_done(call);
	if (r == 0) {
		reply->channel = worker_grant(call, serve, reading);
		r = reply->channel ? 0 : -ENOMEM;
	}
	if (r < 0)
		log_reading_done(reading);
	return r;
}
