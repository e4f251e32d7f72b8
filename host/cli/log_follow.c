/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/log_follow.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "host/cli/agent.h"
#include "host/cli/grant.h"
#include "host/common/fail.h"
#include "host/common/json_line.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/client/json_call.h"
#include "proto/client/uuid.h"
#include "proto/clock.h"

#define AGAIN_MS    1000 /* between two looks for an agent that was lost */
#define CURSOR_SIZE 1025

struct log_follow {
	struct cli *cli;
	json_t *params; /* owned */
	bool follow;
	char *address;               /* owned */
	struct postern_vm_watch *vm; /* NULL: an address is followed, or nothing */
	bool ended;                  /* the machine, or is about to */
	bool lost;                   /* the agent, since it was read */
	struct log_stream stream;
	struct log_show show;
	uint8_t boot[UUID_SIZE];  /* of the guest as it was asked last */
	char cursor[CURSOR_SIZE]; /* of the last entry */
	struct postern_error error;
};

/* ---- the machine ---- */

static bool is_state(const struct postern_vm_event *event, const char *payload)
{
	return strcmp(event->topic, "vm.state") == 0 && strcmp(event->payload, payload) == 0;
}

/* Waits for the machine's word that it goes down, for so long. */
static void look_at_machine(struct log_follow *follow, int timeout_ms)
{
	uint64_t until = monotonic_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
	struct postern_vm_event event;
	struct postern_error error = {0};

	while (!follow->ended) {
		int r = postern_vm_watch_next(follow->vm, ms_until(until), &event, &error);

		/* Who told it is gone, and so is the machine. */
		follow->ended =
			r < 0 || (r > 0 && (is_state(&event, "{\"state\":\"ended\"}") ||
						   is_state(&event, "{\"state\":\"stopping\"}")));
		if (r == 0)
			break;
	}
	postern_error_clear(&error);
}

/* ---- the agent ---- */

static void keep_cursor(struct log_follow *follow, const char *cursor)
{
	if (cursor && cursor[0] && strlen(cursor) < sizeof(follow->cursor))
		memcpy(follow->cursor, cursor, strlen(cursor) + 1);
}

/* What the answer says besides the channel. */
static void take_answer(struct log_follow *follow, const json_t *answer)
{
	const char *note = agent_text(answer, "note"), *boot = agent_text(answer, "boot_id"),
		   *host = agent_text(answer, "hostname");
	AUTO_FREE char *escaped = postern_escape_dup(note, strlen(note));

	if (uuid_parse(boot, follow->boot) < 0)
		memset(follow->boot, 0, sizeof(follow->boot));
	(void)postern_escape(host[0] ? host : "guest", strlen(host[0] ? host : "guest"),
		follow->show.host, sizeof(follow->show.host));
	if (follow->cursor[0] == '\0')
		keep_cursor(follow, agent_text(answer, "cursor"));
	if (follow->lost)
		(void)fprintf(stderr, "postern: the agent is there again\n");
	else if (note[0] && escaped)
		(void)fprintf(stderr, "postern: %s\n", escaped);
}

/* From an address to the records. 0 or -errno with the error. */
static int begin(struct log_follow *follow)
{
	const struct postern_options options = {.name = "postern " POSTERN_VERSION};
	struct postern_client *client = NULL;
	AUTO_JSON json_t *answer = NULL;
	int fd = -EBADF;
	int r = postern_client_open(follow->address, &options, &client, &follow->error);

	if (r < 0)
		return r;
	r = json_call_object(client, "logs.read", follow->params, 0, &answer, &follow->error);
	if (r == 0)
		r = grant_open(client, answer, "channel", &fd, &follow->error);
	if (r == 0 && fd < 0)
		r = fail(&follow->error, POSTERN_PROTOCOL, EPROTO,
			"logs.read: no channel was granted");
	postern_client_close(client);
	if (r < 0)
		return r;
	take_answer(follow, answer);
	log_stream_init(&follow->stream, fd);
	follow->lost = false;
	return 0;
}

/* Nobody reads it any more. */
static int fail_output(struct log_follow *follow)
{
	return fail(&follow->error, POSTERN_ANSWERED, EPIPE, "standard output is closed");
}

/* The records that are here. 1 at their end; 0 when more may come; -errno with the error. */
static int show_all(struct log_follow *follow)
{
	struct log_record record;
	int r;

	while ((r = log_stream_next(&follow->stream, &record)) > 0) {
		switch (record.record->kind_case) {
		case POSTERN__V1__LOG_RECORD__KIND_ENTRY:
			log_show_entry(&follow->show, &record, follow->boot);
			keep_cursor(follow, record.record->entry->cursor);
			break;
		case POSTERN__V1__LOG_RECORD__KIND_GAP:
			log_show_gap(&follow->show, &record);
			break;
		default:
			return 1;
		}
		if (ferror(stdout))
			return fail_output(follow);
	}
	(void)fflush(stdout);
	if (r == -EBADMSG)
		return fail(&follow->error, POSTERN_PROTOCOL, EBADMSG,
			"the guest sends what is no record of a log");
	return r < 0 ? fail(&follow->error, POSTERN_ABSENT, -r, "the log was cut") : 0;
}

static int read_all(struct log_follow *follow)
{
	int r;

	while ((r = show_all(follow)) == 0) {
		struct pollfd wait[] = {
			{.fd = follow->stream.fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};

		(void)poll(wait, ARRAY_SIZE(wait), -1);
		/* Of a pipe, or of a terminal that is gone. */
		if (wait[1].revents & (POLLERR | POLLHUP)) {
			r = fail_output(follow);
			break;
		}
	}
	log_stream_done(&follow->stream);
	return r;
}

/* The agent does not answer any more: true when it is to be asked again. */
static bool lose(struct log_follow *follow)
{
	bool absent = follow->error.failure == POSTERN_ABSENT ||
		      follow->error.failure == POSTERN_TIMED_OUT;

	if (!follow->vm || !absent)
		return false;
	look_at_machine(follow, AGAIN_MS);
	if (!follow->ended && !follow->lost)
		(void)fprintf(
			stderr, "postern: %s; waiting for the agent\n", follow->error.message);
	follow->lost = true;
	postern_error_clear(&follow->error);
	follow->error = (struct postern_error){0};
	return !follow->ended;
}

/* What comes behind the last entry, of whatever boot. */
static void go_on_behind(struct log_follow *follow)
{
	(void)json_object_del(follow->params, "lines");
	(void)json_object_del(follow->params, "boot");
	if (follow->cursor[0])
		(void)json_object_set_new(follow->params, "cursor", json_string(follow->cursor));
}

static int run(struct log_follow *follow)
{
	int r = begin(follow);

	if (r == 0)
		r = read_all(follow);
	while (r < 0 && follow->follow && lose(follow)) {
		go_on_behind(follow);
		r = begin(follow);
		if (r == 0)
			r = read_all(follow);
	}
	if (r < 0 && !follow->ended)
		return cli_fail(follow->cli, &follow->error);
	return POSTERN_DONE;
}

int log_follow(struct cli *cli, json_t *params, enum log_form form)
{
	struct log_follow follow = {.cli = cli,
		.params = json_incref(params),
		.follow = json_field_bool(params, "follow", false),
		.show.form = form,
		.stream.fd = -EBADF};
	const char *vm = cli->words[0];
	int r = 0;

	if (follow.follow && !strchr(vm, ':'))
		r = postern_vm_watch_open(vm, false, &follow.vm, &follow.error);
	if (r == 0)
		r = postern_vm_address(vm, &follow.address, &follow.error);
	r = r < 0 ? cli_fail(cli, &follow.error) : run(&follow);
	postern_vm_watch_close(follow.vm);
	free(follow.address);
	json_decref(follow.params);
	return r;
}
