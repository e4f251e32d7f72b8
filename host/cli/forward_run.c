/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/forward_run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "host/cli/ending.h"
#include "host/cli/forward_conn.h"
#include "host/cli/forward_link.h"
#include "host/cli/forward_tell.h"
#include "host/common/fail.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/client/error.h"
#include "proto/clock.h"
#include "proto/forward/control.h"
#include "proto/listener.h"

#define RETRY_MS 500
#define CONTRADICT_MS                                                                              \
	15000 /* a guest that is back and says no may not be done with the last time */

struct forwarding;

/* One spec at work. */
struct source {
	struct forwarding *all;
	struct forward_spec *spec;
	struct listener listener; /* streams, where we listen */
	int udp;                  /* owned: datagrams, where we listen */
	struct loop_io io;
};

struct forwarding {
	struct cli *cli;
	struct forward_tell tell;
	struct loop loop;
	struct source *sources; /* owned */
	size_t n;
	struct forward_link link;
	struct forward_control control;
	struct loop_io signals;
	struct loop_timer retry;
	bool began;                 /* it stood once */
	uint64_t lost_ns;           /* CLOCK_MONOTONIC; 0: it stands */
	struct postern_error error; /* why it did not begin; owned */
	struct forward_conns conns;
	uint64_t last_id;
	int exit_code;
};

/* ---- the guest's agent ---- */

static void set_listening(struct forwarding *all, bool on)
{
	for (size_t i = 0; i < all->n; i++) {
		struct source *source = &all->sources[i];

		if (source->listener.fd >= 0)
			(on ? listener_resume : listener_pause)(&source->listener);
	}
}

static void drop_link(struct forwarding *all)
{
	struct list_node *node;

	forward_control_stop(&all->control);
	forward_link_close(&all->link);
	all->conns.client = NULL;
	/* The end of one may begin or end another. */
	while ((node = list_first(&all->conns.list)))
		forward_conn_fail(container_of(node, struct forward_conn, node));
}

static void retry_later(struct forwarding *all)
{
	loop_timer_set(&all->loop, &all->retry, monotonic_ns() + RETRY_MS * NSEC_PER_MSEC);
}

/* Its connections are gone with it. Whoever comes meanwhile waits in the listeners' queues. */
static void lose(struct forwarding *all)
{
	drop_link(all);
	set_listening(all, false);
	if (all->lost_ns == 0) {
		all->lost_ns = monotonic_ns();
		forward_tell_event(&all->tell, "lost", "the guest's agent is lost; waiting for it");
	}
	retry_later(all);
}

/* Where the guest listens, by its number of the place. NULL: it does not. */
static struct forward_spec *guests_spec(const struct forwarding *all, uint32_t index)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->sources[i].spec->guest_listens && all->sources[i].spec->index == index)
			return all->sources[i].spec;
	return NULL;
}

/* It failed on our side. */
static void on_broke(struct forward_conns *conns, struct forward_conn *conn)
{
	struct forwarding *all = container_of(conns, struct forwarding, conns);
	Postern__V1__ForwardBroken broken = POSTERN__V1__FORWARD_BROKEN__INIT;
	Postern__V1__ForwardRecord record = POSTERN__V1__FORWARD_RECORD__INIT;

	broken.has_channel = true;
	broken.channel = conn->number;
	record.kind_case = POSTERN__V1__FORWARD_RECORD__KIND_BROKEN;
	record.broken = &broken;
	/* Where this cannot be told the agent is lost, which its socket tells. */
	(void)forward_control_say(&all->control, &record);
}

/* It failed on the guest's side. */
static void take_broken(struct forwarding *all, const Postern__V1__ForwardBroken *broken)
{
	LIST_EACH(&all->conns.list, node)
	{
		struct forward_conn *conn = container_of(node, struct forward_conn, node);

		if (conn->phase != FORWARD_JOINED || conn->number != broken->channel)
			continue;
		forward_conn_fail(conn);
		return;
	}
}

static void take_failed(struct forwarding *all, const Postern__V1__ForwardFailed *failed)
{
	struct forward_conn *conn =
		failed->has_id ? forward_conn_asked(&all->conns, failed->id) : NULL;

	if (!conn)
		return;
	forward_tell_failed(&all->tell, conn->spec, failed->sys_errno);
	forward_conn_fail(conn);
}

/* One that has ended here meanwhile is not opened, and lapses there. */
static int take_opened(struct forwarding *all, const Postern__V1__ForwardOpened *opened)
{
	const Postern__V1__Channel *channel = opened->channel;
	struct forward_spec *spec;
	struct forward_conn *conn;

	if (!channel || channel->number == 0 || channel->token.len != POSTERN_TOKEN_SIZE)
		return -EBADMSG;
	if (opened->has_id) {
		conn = forward_conn_asked(&all->conns, opened->id);
		if (conn)
			forward_conn_granted(conn, channel->number, channel->token.data);
		return 0;
	}
	spec = opened->has_listener ? guests_spec(all, opened->listener) : NULL;
	if (!spec)
		return -EBADMSG;
	forward_conn_begun(&all->conns, spec, channel->number, channel->token.data);
	return 0;
}

static int take_record(struct forward_control *control, const Postern__V1__ForwardRecord *record)
{
	struct forwarding *all = container_of(control, struct forwarding, control);

	switch (record->kind_case) {
	case POSTERN__V1__FORWARD_RECORD__KIND_OPENED:
		return take_opened(all, record->opened);
	case POSTERN__V1__FORWARD_RECORD__KIND_FAILED:
		take_failed(all, record->failed);
		return 0;
	case POSTERN__V1__FORWARD_RECORD__KIND_BROKEN:
		take_broken(all, record->broken);
		return 0;
	default:
		return -EBADMSG;
	}
}

static void on_control_ended(struct forward_control *control, int r)
{
	(void)r;
	lose(container_of(control, struct forwarding, control));
}

/* What does not pass: the policy says no, or says so for long. */
static bool is_final(const struct forwarding *all, const struct postern_error *error)
{
	AUTO_FREE char *address = NULL;

	if (error->failure == POSTERN_REFUSED || error->failure == POSTERN_USAGE)
		return true;
	if (error->failure == POSTERN_ANSWERED)
		return monotonic_ns() - all->lost_ns > CONTRADICT_MS * NSEC_PER_MSEC;
	return postern_vm_address(all->cli->words[0], &address, NULL) < 0;
}

/* Not yet, not any more, or still not. */
static void on_down(struct forward_link *link, struct postern_error *error)
{
	struct forwarding *all = container_of(link, struct forwarding, link);

	if (!all->began)
		error_copy(&all->error, error);
	else if (all->lost_ns == 0)
		lose(all);
	else if (is_final(all, error))
		loop_stop(&all->loop, cli_fail(all->cli, error));
	else
		retry_later(all);
}

static void on_up(struct forward_link *link)
{
	struct forwarding *all = container_of(link, struct forwarding, link);
	struct postern_error error = {0};
	int r;

	all->control = (struct forward_control){.take = take_record, .ended = on_control_ended};
	r = forward_control_start(&all->control, &all->loop, link->control);
	if (r < 0) {
		(void)fail_errno(&error, POSTERN_ANSWERED, -r, "the connection to the agent");
		drop_link(all);
		on_down(link, &error);
		postern_error_clear(&error);
		return;
	}
	all->conns.client = link->agent.client;
	if (all->began) {
		all->lost_ns = 0;
		set_listening(all, true);
		forward_tell_event(&all->tell, "again", "forwarding again");
	}
	all->began = true;
}

static void on_retry(struct loop_timer *timer)
{
	struct forwarding *all = container_of(timer, struct forwarding, retry);
	struct postern_error error = {0};

	if (forward_link_open(&all->link, &all->loop, all->cli->words[0], &error) < 0)
		on_down(&all->link, &error);
	postern_error_clear(&error);
}

/* The first time. 0, or -errno with *error. */
static int begin(struct forwarding *all, struct postern_error *error)
{
	int r = forward_link_open(&all->link, &all->loop, all->cli->words[0], error);

	while (r == 0 && !all->began && all->error.failure == POSTERN_DONE)
		r = loop_once(&all->loop, -1);
	if (r == 0 && !all->began) {
		error_copy(error, &all->error);
		r = -EREMOTEIO;
	}
	postern_error_clear(&all->error);
	return r;
}

/* ---- where we listen ---- */

/* The guest is asked to connect. */
static int ask(struct forward_conns *conns, struct forward_conn *conn)
{
	struct forwarding *all = container_of(conns, struct forwarding, conns);
	Postern__V1__ForwardConnect wish = POSTERN__V1__FORWARD_CONNECT__INIT;
	Postern__V1__ForwardRecord record = POSTERN__V1__FORWARD_RECORD__INIT;

	conn->id = ++all->last_id;
	wish.has_id = wish.has_target = true;
	wish.id = conn->id;
	wish.target = conn->spec->index;
	record.kind_case = POSTERN__V1__FORWARD_RECORD__KIND_CONNECT;
	record.connect = &wish;
	return forward_control_say(&all->control, &record);
}

static void on_accept(struct listener *listener, int fd, const struct sockaddr_storage *peer)
{
	struct source *source = container_of(listener, struct source, listener);

	(void)peer;
	forward_conn_accept(&source->all->conns, source->spec, fd);
}

static struct forward_conn *conn_of_peer(
	struct source *source, const struct sockaddr_storage *peer, socklen_t len)
{
	LIST_EACH(&source->all->conns.list, node)
	{
		struct forward_conn *conn = container_of(node, struct forward_conn, node);

		if (conn->spec == source->spec && conn->flow.peer_len == len &&
			memcmp(&conn->flow.peer, peer, len) == 0)
			return conn;
	}
	return NULL;
}

static void on_datagram(struct loop_io *io, uint32_t events)
{
	struct source *source = container_of(io, struct source, io);
	struct forwarding *all = source->all;
	static uint8_t bytes[DATAGRAM_MOST];
	struct sockaddr_storage peer = {0};
	socklen_t len = sizeof(peer);
	struct forward_conn *conn;
	ssize_t n = recvfrom(
		io->fd, bytes, sizeof(bytes), MSG_DONTWAIT, (struct sockaddr *)&peer, &len);

	(void)events;
	/* Nobody is there to take it: datagrams may be lost. */
	if (n < 0 || all->lost_ns != 0)
		return;
	conn = conn_of_peer(source, &peer, len);
	if (conn)
		datagram_take(&conn->flow, bytes, (size_t)n);
	else
		forward_conn_accept_peer(
			&all->conns, source->spec, io->fd, &peer, len, bytes, (size_t)n);
}

static int listen_here(struct source *source, struct postern_error *error)
{
	struct forward_spec *spec = source->spec;
	char text[FORWARD_TEXT_SIZE];
	int fd = -EBADF, r;

	if (spec->guest_listens)
		return 0;
	r = forward_listen(&spec->host, &fd);
	if (r == 0 && spec->host.transport != FORWARD_UDP)
		r = listener_start(&source->listener, &source->all->loop, fd, on_accept);
	if (r == 0 && spec->host.transport == FORWARD_UDP) {
		source->udp = fd;
		source->io.fn = on_datagram;
		r = loop_io_add(&source->all->loop, &source->io, fd, EPOLLIN);
	}
	if (r == 0)
		return 0;
	forward_end_print(&spec->host, text);
	return fail_errno(error,
		r == -EADDRINUSE || r == -EACCES ? POSTERN_REFUSED : POSTERN_ANSWERED, -r,
		"cannot listen at %s", text);
}

/* ---- the command ---- */

static void count_open(struct forwarding *all)
{
	LIST_EACH(&all->conns.list, node)
	{
		struct forward_conn *conn = container_of(node, struct forward_conn, node);
		uint64_t to_guest, from_guest;

		forward_conn_count(conn, &to_guest, &from_guest);
		forward_tell_add(&all->tell, conn->spec, to_guest, from_guest);
	}
}

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct forwarding *all = container_of(io, struct forwarding, signals);
	struct signalfd_siginfo info;

	(void)events;
	if (read(io->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo != SIGUSR1) {
		loop_stop(&all->loop, POSTERN_DONE);
		return;
	}
	count_open(all);
	forward_tell_counts(&all->tell);
}

static int start(struct forwarding *all, struct forward_spec *specs, int *signals,
	struct postern_error *error)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
	int r = loop_init(&all->loop);

	if (r < 0)
		return fail_errno(error, POSTERN_ANSWERED, -r, "the event loop");
	for (size_t i = 0; i < all->n; i++) {
		all->sources[i] = (struct source){
			.all = all, .spec = &specs[i], .listener.fd = -EBADF, .udp = -EBADF};
	}
	r = begin(all, error);
	/* Until here a signal ends us as it is: there is nothing to put in order. */
	*signals = ending_open(ending, ARRAY_SIZE(ending));
	all->signals.fn = on_signal;
	for (size_t i = 0; i < all->n && r == 0; i++)
		r = listen_here(&all->sources[i], error);
	if (r == 0 && loop_io_add(&all->loop, &all->signals, *signals, EPOLLIN) < 0)
		r = fail_errno(error, POSTERN_ANSWERED, errno, "signals");
	return r;
}

static void stop(struct forwarding *all)
{
	drop_link(all);
	for (size_t i = 0; i < all->n; i++) {
		struct source *source = &all->sources[i];

		if (source->listener.fd >= 0)
			forward_unlisten(&source->spec->host);
		listener_close(&source->listener);
		loop_io_del(&source->io);
		(void)fd_close(source->udp);
	}
	loop_done(&all->loop);
}

int forward_run(struct cli *cli, struct forward_spec *specs, size_t n)
{
	static struct forwarding all; /* too large for a stack */
	struct postern_error error = {0};
	AUTO_CLOSE int signals = -EBADF;
	int r;

	all = (struct forwarding){.cli = cli,
		.tell = {.cli = cli, .vm = cli->words[0], .specs = specs, .n = n},
		.n = n,
		.retry.fn = on_retry,
		.link = {.specs = specs, .n = n, .up = on_up, .down = on_down, .control = -EBADF},
		.sources = calloc(n, sizeof(*all.sources))};
	all.conns = (struct forward_conns){.loop = &all.loop, .ask = ask, .broke = on_broke};
	list_init(&all.conns.list);
	if (!all.sources) {
		(void)fail_errno(&error, POSTERN_ANSWERED, ENOMEM, "forward");
		return cli_fail(cli, &error);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	relay_keep_memory();
	if (start(&all, specs, &signals, &error) == 0) {
		forward_tell_start(&all.tell);
		r = loop_run(&all.loop);
		stop(&all);
		forward_tell_counts(&all.tell);
	} else {
		r = cli_fail(cli, &error);
		stop(&all);
	}
	free(all.sources);
	return r;
}
