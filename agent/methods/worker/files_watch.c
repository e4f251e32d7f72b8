/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "agent/methods/file_changes.h"
#include "agent/methods/file_folders.h"
#include "agent/methods/file_work.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/clock.h"

#define WINDOW_MS    100
#define WINDOW_LEAST 10
#define WINDOW_MOST  60000
#define EVENTS_SIZE  (64u << 10)
#define AGAIN_NS     NSEC_PER_SEC /* between two looks at all folders */

#define KIND(name) POSTERN__V1__FILE_CHANGE_KIND__##name
#define END(name)  POSTERN__V1__FILES_WATCH_END_REASON__##name

/* One watch. What is read from the kernel goes into changes at once, so that its queue stays short
 * however slow the caller is; a window later it goes from there to out, once out is empty. */
struct watching {
	struct file_folders folders;
	struct file_changes changes;
	struct buffer out;
	uint64_t sent; /* bytes */
	uint64_t window_ns;
	uint64_t due;   /* when changes are told; 0: there are none */
	uint64_t again; /* the kernel has lost events: when all folders are looked at; 0: never */
	uint64_t looked;
	uint32_t cookie; /* of the last name that went elsewhere */
	char moved[PATH_MAX];
	Postern__V1__FilesWatchEndReason ended; /* 0: not yet */
	int error;
	struct worker_channel *channel;
	char events[EVENTS_SIZE] __attribute__((aligned(__alignof__(struct inotify_event))));
};

static void done(struct watching *watching)
{
	file_folders_done(&watching->folders);
	file_changes_done(&watching->changes);
	buffer_clear(&watching->out);
}

/* ---- events of the kernel ---- */

static void end(struct watching *watching, Postern__V1__FilesWatchEndReason reason, int error)
{
	if (watching->ended)
		return;
	watching->ended = reason;
	watching->error = error;
}

/* What happened to the folder itself. True: there is nothing more to say of it. */
static bool handle_self(struct watching *watching, struct watched_folder *folder, uint32_t mask)
{
	bool is_root = !folder->parent;

	if (mask & IN_UNMOUNT && is_root) {
		end(watching, END(WATCH_FOLDER_UNMOUNTED), 0);
	} else if (mask & (IN_DELETE_SELF | IN_IGNORED)) {
		if (is_root)
			end(watching, END(WATCH_FOLDER_GONE), 0);
		else
			file_folders_drop(&watching->folders, folder);
	} else if (mask & IN_MOVE_SELF) {
		if (!file_folders_is_there(&watching->folders, folder) && is_root)
			end(watching, END(WATCH_FOLDER_GONE), 0);
	} else {
		return false;
	}
	return true;
}

static void handle_named(struct watching *watching, struct watched_folder *folder,
	const struct inotify_event *event, const char *path)
{
	static const struct {
		uint32_t mask;
		Postern__V1__FileChangeKind kind;
	} kinds[] = {{IN_CREATE, KIND(FILE_CREATED)}, {IN_MODIFY, KIND(FILE_MODIFIED)},
		{IN_CLOSE_WRITE, KIND(FILE_WRITTEN)}, {IN_ATTRIB, KIND(FILE_ATTRIBUTES)},
		{IN_DELETE, KIND(FILE_REMOVED)}, {IN_MOVED_FROM, KIND(FILE_MOVED_AWAY)},
		{IN_MOVED_TO, KIND(FILE_MOVED_HERE)}};
	bool is_folder = event->mask & IN_ISDIR || event->len == 0;
	const char *old =
		event->mask & IN_MOVED_TO && event->cookie == watching->cookie && watching->moved[0]
			? watching->moved
			: NULL;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (event->mask & kinds[i].mask)
			file_changes_add(&watching->changes, path, kinds[i].kind, is_folder,
				kinds[i].kind == KIND(FILE_MOVED_HERE) ? old : NULL);
	if (event->mask & IN_MOVED_FROM) {
		watching->cookie = event->cookie;
		memcpy(watching->moved, path, strlen(path) + 1);
	}
	if (event->mask & IN_ISDIR && event->mask & (IN_CREATE | IN_MOVED_TO))
		file_folders_came(&watching->folders, folder, event->name, event->mask & IN_CREATE);
}

static void handle(struct watching *watching, const struct inotify_event *event)
{
	struct watched_folder *folder = file_folders_find(&watching->folders, event->wd);
	char path[PATH_MAX];

	if (event->mask & IN_Q_OVERFLOW) {
		watching->again = watching->looked + AGAIN_NS;
		return;
	}
	if (!folder || handle_self(watching, folder, event->mask))
		return;
	if (file_folders_path(&watching->folders, folder, event->len > 0 ? event->name : "", path) <
		0)
		file_changes_overflow(&watching->changes, 1);
	else
		handle_named(watching, folder, event, path);
}

static void read_events(struct watching *watching)
{
	ssize_t len = read(watching->folders.inotify, watching->events, EVENTS_SIZE);
	const struct inotify_event *event;

	if (len < 0 && errno != EAGAIN && errno != EINTR)
		end(watching, END(WATCH_FAILED), errno);
	for (ssize_t at = 0; at < len && !watching->ended;
		at += (ssize_t)(sizeof(*event) + event->len)) {
		event = (const struct inotify_event *)(watching->events + at);
		handle(watching, event);
	}
}

/* Events are lost, folders may have come and gone. What is changed from here on is told again; only
 * then the caller is told to look, so that nothing falls between. */
static void look_again(struct watching *watching)
{
	int r = file_folders_again(&watching->folders);

	watching->again = 0;
	watching->looked = monotonic_ns();
	file_changes_overflow(&watching->changes, 0);
	if (r < 0)
		end(watching, r == -ESTALE ? END(WATCH_FOLDER_GONE) : END(WATCH_FAILED), -r);
}

/* ---- the channel ---- */

static int put_end(struct watching *watching)
{
	static const char *const messages[] = {
		[END(WATCH_FOLDER_GONE)] = "the folder was removed, renamed, or is another one now",
		[END(WATCH_FOLDER_UNMOUNTED)] = "the file system that it is on was unmounted",
	};
	Postern__V1__FilesWatchEnd message = POSTERN__V1__FILES_WATCH_END__INIT;

	message.has_reason = true;
	message.reason = watching->ended;
	message.message =
		(char *)(watching->ended == END(WATCH_FAILED) ? strerror(watching->error)
							      : messages[watching->ended]);
	return file_record_put(&watching->out, POSTERN__V1__FILES_WATCH_RECORD__KIND_END, &message);
}

static int send_out(struct watching *watching, int socket)
{
	size_t sent = 0;
	int r = buffer_send(&watching->out, socket, &sent);

	watching->sent += sent;
	watching->channel->to_caller = watching->sent;
	worker_count(watching->channel);
	return r;
}

/* What is due. 0 or -errno. */
static int tell(struct watching *watching, int socket)
{
	uint64_t now = monotonic_ns();
	int r = 0;

	if (watching->due == 0 && file_changes_any(&watching->changes))
		watching->due = now + watching->window_ns;
	if (buffer_len(&watching->out) == 0 && (watching->ended || watching->due > 0) &&
		(watching->ended || now >= watching->due)) {
		watching->due = 0;
		r = file_changes_put(&watching->changes, &watching->out);
		if (r == 0 && watching->ended)
			r = put_end(watching);
	}
	return r == 0 && buffer_len(&watching->out) > 0 ? send_out(watching, socket) : r;
}

/* Until there is something to do. True; false: the caller is gone, or says something. */
static bool wait_for_more(const struct watching *watching, int socket)
{
	bool full = buffer_len(&watching->out) > 0;
	uint64_t until = full || watching->due == 0 ? UINT64_MAX : watching->due;
	struct pollfd fds[] = {{.fd = socket, .events = (short)(POLLIN | (full ? POLLOUT : 0))},
		{.fd = watching->again > 0 ? -1 : watching->folders.inotify, .events = POLLIN}};

	if (watching->again > 0 && watching->again < until)
		until = watching->again;
	if (poll(fds, ARRAY_SIZE(fds), until == UINT64_MAX ? -1 : ms_until(until)) < 0)
		return errno == EINTR;
	return (fds[0].revents & ~POLLOUT) == 0;
}

static void serve(struct worker_channel *channel, int socket)
{
	struct watching *watching = channel->state;

	watching->channel = channel;
	while (tell(watching, socket) == 0) {
		struct pollfd taken = {.fd = socket, .events = POLLIN | POLLOUT};

		if (watching->ended) {
			if (buffer_len(&watching->out) == 0)
				break;
			if (poll(&taken, 1, -1) < 0 || taken.revents & ~POLLOUT)
				break;
			continue;
		}
		if (!wait_for_more(watching, socket))
			break;
		if (watching->again == 0)
			read_events(watching);
		else if (monotonic_ns() >= watching->again)
			look_again(watching);
	}
	done(watching);
}

/* ---- the request ---- */

static int fail_begin(struct call *call, const struct file_place *place,
	const struct file_folders *folders, int r)
{
	if (r == -EMFILE && folders->inotify < 0)
		return call_fail(call, POSTERN__V1__CODE__RESOURCE_EXHAUSTED, EMFILE,
			"there are no more watches of root: end one, or raise "
			"fs.inotify.max_user_instances in the guest");
	if (r == -ENOSPC)
		return call_fail(call, POSTERN__V1__CODE__RESOURCE_EXHAUSTED, ENOSPC,
			"%s: %u folders are watched, and there are more: %s", place->path,
			folders->n,
			folders->n < folders->most || folders->most < file_folders_kernel_most()
				? "watch fewer, or raise fs.inotify.max_user_watches in the guest"
				: "watch fewer");
	return file_fail(call, place, r);
}

int files_watch(struct call *call, const Postern__V1__FilesWatchRequest *request,
	Postern__V1__FilesWatchReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	struct watching *watching = arena_alloc(call->arena, sizeof(*watching));
	uint32_t window = request->has_window_ms ? request->window_ms : WINDOW_MS;
	AUTO_CLOSE int fd = -EBADF;
	int r;

	if (!watching)
		return -ENOMEM;
	if (window < WINDOW_LEAST || window > WINDOW_MOST)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"window_ms: %d to %d", WINDOW_LEAST, WINDOW_MOST);
	watching->window_ns = window * NSEC_PER_MSEC;
	r = file_place_open(call, request->has_path, &request->path, 0, TOUCH_LOOK, &place);
	if (r == 0)
		r = file_open_folder(call, &place, &fd);
	if (r < 0)
		return r;
	watching->folders = (struct file_folders){.inotify = -EBADF,
		.recursive = request->recursive,
		.path = place.path,
		.changes = &watching->changes};
	r = file_folders_begin(&watching->folders, fd, true);
	worker_touch_done(call);
	if (r < 0) {
		r = fail_begin(call, &place, &watching->folders, r);
		done(watching);
		return r;
	}
	watching->looked = monotonic_ns();
	reply->has_folders = true;
	reply->folders = watching->folders.n;
	reply->channel = worker_grant(call, serve, watching);
	return reply->channel ? 0 : -ENOMEM;
}
