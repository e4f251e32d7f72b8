/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/copy_relay.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "proto/cleanup.h"
#include "proto/copy/problem.h"

/* Bytes for one guest that it has not taken: until it does, the other is not read. */
#define HELD_MAX ((size_t)2 * COPY_PIECE)

struct relay {
	const struct copy_guest *from, *to;
	const struct copy_watch *watch;
	struct copy_counts *counts;
	struct copy_check check;
	char name[NAME_MAX + 1]; /* of the file at hand */
	uint32_t data_left;      /* bytes of the CopyData at hand */
	uint64_t files;          /* that were sent to their end */
	bool sent, done;         /* as the sender says; as the receiver says */
	const struct copy_guest *guilty;
};

static bool has_room(const struct copy_guest *guest)
{
	return buffer_len(&guest->stream->out) < HELD_MAX;
}

static int pass_on(const struct copy_guest *guest, const Postern__V1__CopyRecord *record)
{
	return frame_append(&guest->stream->out, &record->base, COPY_RECORD_MAX);
}

/* ---- from the sender ---- */

static void begin_file(struct relay *relay, const Postern__V1__CopyFile *file)
{
	memcpy(relay->name, file->name.data, file->name.len);
	relay->name[file->name.len] = '\0';
}

/* What a record that was checked means here. 0 or -EBADMSG. */
static int note(struct relay *relay, const Postern__V1__CopyRecord *record)
{
	switch (record->kind_case) {
	case POSTERN__V1__COPY_RECORD__KIND_PLAN:
		if (relay->watch->plan)
			relay->watch->plan(
				relay->watch->ctx, record->plan->files, record->plan->bytes);
		return 0;
	case POSTERN__V1__COPY_RECORD__KIND_FILE:
		begin_file(relay, record->file);
		return 0;
	case POSTERN__V1__COPY_RECORD__KIND_FROM:
		/* Two that lie together can say any number. */
		if (record->from->offset > INT64_MAX - relay->counts->resumed)
			return -EBADMSG;
		relay->counts->resumed += record->from->offset;
		return 0;
	case POSTERN__V1__COPY_RECORD__KIND_DATA:
		relay->data_left = record->data->length;
		return 0;
	case POSTERN__V1__COPY_RECORD__KIND_END:
		relay->files += !record->end->broken;
		return 0;
	case POSTERN__V1__COPY_RECORD__KIND_PROBLEM:
		problem_hear(relay->watch, relay->counts, relay->from->name, record->problem);
		return 0;
	case POSTERN__V1__COPY_RECORD__KIND_DONE:
		relay->sent = true;
		return 0;
	default:
		return 0;
	}
}

/* 1, 0: nothing is here, or -errno; as all that follow. */
static int pass_record(struct relay *relay)
{
	const Postern__V1__CopyRecord *record;
	int r = copy_get_now(relay->from->stream, &record);

	if (r <= 0)
		return r;
	r = copy_check_record(&relay->check, record);
	if (r == 0)
		r = note(relay, record);
	if (r == 0)
		r = pass_on(relay->to, record);
	return r < 0 ? r : 1;
}

static int pass_data(struct relay *relay)
{
	size_t want = relay->data_left < COPY_PIECE ? relay->data_left : COPY_PIECE;
	struct buffer *out = &relay->to->stream->out;
	uint8_t *room = buffer_reserve(out, want);
	ssize_t n = room ? copy_get_data_now(relay->from->stream, room, want) : -ENOMEM;

	if (n < 0)
		return n == -EAGAIN ? 0 : (int)n;
	buffer_commit(out, (size_t)n);
	relay->data_left -= (uint32_t)n;
	relay->counts->bytes += (uint64_t)n;
	if (relay->watch->progress)
		relay->watch->progress(relay->watch->ctx, relay->name,
			relay->counts->bytes + relay->counts->resumed);
	return 1;
}

/* Once all is sent there is nothing more to hear of the sender, nor that it ends. */
static bool hears_sender(const struct relay *relay)
{
	return !relay->sent && has_room(relay->to);
}

static int take_from_sender(struct relay *relay)
{
	int r = 0, moved = 0;

	while (hears_sender(relay) &&
		(r = relay->data_left > 0 ? pass_data(relay) : pass_record(relay)) > 0)
		moved = 1;
	if (r < 0)
		relay->guilty = relay->from;
	return r < 0 ? r : moved;
}

/* ---- from the receiver ---- */

/* The copy is what the receiver has, but no more than was sent. */
static int finish(struct relay *relay, const Postern__V1__CopyDone *done)
{
	if (!relay->sent || done->files > relay->files)
		return -EBADMSG;
	relay->counts->files = done->files;
	relay->done = true;
	return 0;
}

static int pass_answer(struct relay *relay)
{
	const Postern__V1__CopyRecord *record;
	int r = copy_get_now(relay->to->stream, &record);

	if (r <= 0)
		return r;
	switch (record->kind_case) {
	case POSTERN__V1__COPY_RECORD__KIND_HAVE:
		r = copy_check_have(&relay->check, record->have);
		break;
	case POSTERN__V1__COPY_RECORD__KIND_PROBLEM:
		problem_hear(relay->watch, relay->counts, relay->to->name, record->problem);
		r = 0;
		break;
	case POSTERN__V1__COPY_RECORD__KIND_DONE:
		r = finish(relay, record->done);
		break;
	default:
		r = -EBADMSG;
	}
	if (r == 0)
		r = pass_on(relay->from, record);
	return r < 0 ? r : 1;
}

static bool hears_receiver(const struct relay *relay)
{
	return !relay->done && has_room(relay->from);
}

static int take_from_receiver(struct relay *relay)
{
	int r = 0, moved = 0;

	while (hears_receiver(relay) && (r = pass_answer(relay)) > 0)
		moved = 1;
	if (r < 0)
		relay->guilty = relay->to;
	return r < 0 ? r : moved;
}

/* ---- both ---- */

static int give(struct relay *relay, const struct copy_guest *guest)
{
	size_t sent;
	int r = buffer_send(&guest->stream->out, guest->stream->fd, &sent);

	if (r < 0)
		relay->guilty = guest;
	return r < 0 ? r : sent > 0;
}

static int give_receiver(struct relay *relay)
{
	return give(relay, relay->to);
}

static int give_sender(struct relay *relay)
{
	int r = give(relay, relay->from);

	/* Nor do we depend on its hearing of the rest. */
	if (r < 0 && relay->sent)
		buffer_clear(&relay->from->stream->out);
	return r < 0 && relay->sent ? 0 : r;
}

/* Who owes us something: room, an answer, or else what comes next. */
static const struct copy_guest *find_idle(const struct relay *relay)
{
	if (buffer_len(&relay->to->stream->out) > 0 || relay->check.phase == COPY_WAITS)
		return relay->to;
	if (buffer_len(&relay->from->stream->out) > 0)
		return relay->from;
	return relay->sent ? relay->to : relay->from;
}

static struct pollfd wanted(const struct copy_guest *guest, bool hears)
{
	short events =
		(short)((hears ? POLLIN : 0) | (buffer_len(&guest->stream->out) > 0 ? POLLOUT : 0));

	/* The end of one that we want nothing of just now would be told again and again. */
	return (struct pollfd){.fd = events ? guest->stream->fd : -1, .events = events};
}

static int wait_for_either(struct relay *relay)
{
	struct pollfd waits[] = {
		wanted(relay->from, hears_sender(relay)), wanted(relay->to, hears_receiver(relay))};
	int n = poll(waits, ARRAY_SIZE(waits), relay->to->stream->idle_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n > 0)
		return 0;
	relay->guilty = find_idle(relay);
	return -ETIMEDOUT;
}

static int run(struct relay *relay)
{
	static int (*const steps[])(struct relay *) = {
		take_from_sender, take_from_receiver, give_receiver, give_sender};

	while (!relay->done) {
		int moved = 0, r = 0;

		for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
			r = steps[i](relay);
			if (r < 0)
				return r;
			moved |= r;
		}
		if (!moved && !relay->done)
			r = wait_for_either(relay);
		if (r < 0)
			return r;
	}
	return 0;
}

int copy_relay(const struct copy_guest *from, const struct copy_guest *to,
	const struct copy_asked *asked, const struct copy_watch *watch,
	struct copy_counts *ret_counts, const struct copy_guest **ret_guilty)
{
	struct relay relay = {.from = from, .to = to, .watch = watch, .counts = ret_counts};
	int r = copy_check_begin(&relay.check, asked);

	*ret_counts = (struct copy_counts){0};
	if (r == 0)
		r = run(&relay);
	copy_check_done(&relay.check);
	*ret_guilty = r == -ENOMEM ? NULL : relay.guilty;
	return r;
}
