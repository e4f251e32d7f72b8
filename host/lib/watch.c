/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A machine's own events. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/lib/control_client.h"
#include "host/lib/postern.h"
#include "host/lib/registry.h"
#include "proto/cleanup.h"
#include "proto/client/json_text.h"
#include "proto/clock.h"

struct postern_vm_watch {
	int fd;
	struct json_reader reader;
	json_t *status;   /* at the beginning, while it is being told; else NULL */
	uint64_t time_ns; /* of the status */
	size_t next;      /* part of the status: 0 is the state, then the problems */
	char topic[32];   /* of the event at hand, with its payload */
	char *payload;
};

int postern_vm_watch_open(const char *name, bool snapshot, struct postern_vm_watch **ret_watch,
	struct postern_error *error)
{
	AUTO_CLOSE int dir_fd = -EBADF;
	char dir[PATH_MAX];
	bool live;
	struct postern_vm_watch *watch;
	int r = registry_open(name, dir, &dir_fd, &live, error);

	if (r < 0)
		return r;
	if (!live)
		return fail(error, POSTERN_ABSENT, ENOENT, "the VM %s is not running", name);
	watch = calloc(1, sizeof(*watch));
	if (!watch)
		return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "%s", name);
	watch->reader.limit = CONTROL_ANSWER_MAX;
	watch->time_ns = clock_ns(CLOCK_REALTIME);
	watch->fd = -EBADF;
	r = control_connect(dir, &watch->fd, error);
	if (r == 0)
		r = control_subscribe(watch->fd, &watch->reader, &watch->status, error);
	if (r < 0) {
		postern_vm_watch_close(watch);
		return r;
	}
	if (!snapshot) {
		json_decref(watch->status);
		watch->status = NULL;
	}
	*ret_watch = watch;
	return 0;
}

void postern_vm_watch_close(struct postern_vm_watch *watch)
{
	if (!watch)
		return;
	(void)fd_close(watch->fd);
	json_reader_done(&watch->reader);
	json_decref(watch->status);
	free(watch->payload);
	free(watch);
}

int postern_vm_watch_fd(const struct postern_vm_watch *watch)
{
	return watch->fd;
}

/* The next part of the status as an event; NULL behind the last. A new reference. */
static json_t *next_of_status(struct postern_vm_watch *watch)
{
	const json_t *problems = json_object_get(watch->status, "problems");
	size_t i = watch->next++;
	json_t *event;

	if (i == 0)
		return json_pack("{s:s, s:s}", "name", "state", "state",
			json_field_string(watch->status, "state", ""));
	event = json_copy(json_array_get(problems, i - 1));
	if (event)
		(void)json_object_set_new(event, "name", json_string("problem"));
	return event;
}

/* {"name": "state", "time_ns": N, ...} becomes vm.state, its time and the rest. */
static int take(struct postern_vm_watch *watch, json_t *event, struct postern_vm_event *ret_event)
{
	uint64_t time_ns = (uint64_t)json_field_int(event, "time_ns", (json_int_t)watch->time_ns);

	(void)snprintf(watch->topic, sizeof(watch->topic), "vm.%.24s",
		json_field_string(event, "name", "unknown"));
	(void)json_object_del(event, "name");
	(void)json_object_del(event, "time_ns");
	free(watch->payload);
	watch->payload = json_text(event, 0);
	*ret_event = (struct postern_vm_event){.topic = watch->topic,
		.payload = watch->payload,
		.time_ns = time_ns,
		.snapshot = watch->status != NULL};
	return watch->payload ? 1 : -ENOMEM;
}

int postern_vm_watch_next(struct postern_vm_watch *watch, int timeout_ms,
	struct postern_vm_event *ret_event, struct postern_error *error)
{
	AUTO_JSON json_t *event = NULL;
	int r;

	if (watch->status) {
		event = next_of_status(watch);
		if (!event) {
			json_decref(watch->status);
			watch->status = NULL;
		}
	}
	if (!event) {
		r = control_next_event(watch->fd, &watch->reader, timeout_ms, &event, error);
		if (r == -ETIMEDOUT)
			postern_error_clear(error);
		if (r < 0)
			return r == -ETIMEDOUT ? 0 : r;
	}
	r = take(watch, event, ret_event);
	return r < 0 ? fail_errno(error, POSTERN_ANSWERED, -r, "event") : r;
}
