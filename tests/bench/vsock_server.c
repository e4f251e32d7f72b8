/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's end of the transport benchmark: a single-threaded server on AF_VSOCK.
 *
 *   vsock_server [--tcp] [ECHO_PORT SINK_PORT SOURCE_PORT [DIAL_PORT]]
 *
 * Without arguments the ports are 1001 to 1004. With --tcp it listens on these of 127.0.0.1 too.
 *
 * echo    sends back what it reads, byte for byte; after the peer's end of data it sends the rest
 *         and closes
 * sink    reads one line "BYTES SUM\n" and so many bytes (0: to the end of data), then answers one
 *         line "BYTES SUM\n" and closes. SUM 1 asks for the FNV-1a 64 of the bytes, in hex; with
 *         SUM 0 the answer's is 0, because computing it would be what is measured
 * source  reads one line "BYTES CHUNK SEED\n" and writes that many bytes, CHUNK at a time; the
 * bytes are SEED's pattern (see pattern()), then closes
 * dial    reads one line "PORT\n", connects to that port of the host and is an echo there; closes
 *
 * Prints "ready" on standard output when it listens. Link it statically to put it into an
 * initramfs.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>
#include <netinet/in.h>

#define BUFFER_SIZE (256U * 1024)
#define BACKLOG     1024

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

enum mode { MODE_ECHO, MODE_SINK, MODE_SOURCE, MODE_DIAL, MODE_COUNT };

struct peer {
	enum mode mode;
	bool listener;
	int fd;
	/* echo: bytes read and not yet written; source: bytes of the pattern not yet written */
	uint8_t *buf;
	size_t start, end;
	bool eof;
	/* sink and source: the order, and how far it is carried out */
	char line[64];
	size_t line_len;
	bool started;
	uint64_t want, done;
	/* sink */
	unsigned want_sum;
	uint64_t sum;
	/* source */
	size_t chunk;
	uint32_t seed;
};

static int epoll_fd;

/* Byte number `offset` of a stream: the same in every language that drives this server. */
static uint8_t pattern(uint32_t seed, uint64_t offset)
{
	uint64_t x = (offset >> 3) * UINT64_C(0x9e3779b97f4a7c15) + seed;

	x ^= x >> 29;
	return (uint8_t)(x >> (8 * (offset & 7)));
}

static void close_peer(struct peer *peer)
{
	(void)close(peer->fd);
	free(peer->buf);
	free(peer);
}

static void watch(struct peer *peer, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = peer};

	(void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, peer->fd, &event);
}

/* False when the peer is to be closed. */
static bool serve_echo(struct peer *peer)
{
	for (;;) {
		ssize_t n;

		if (peer->start == peer->end) {
			if (peer->eof)
				return false;
			n = read(peer->fd, peer->buf, BUFFER_SIZE);
			if (n < 0)
				break;
			peer->eof = n == 0;
			peer->start = 0;
			peer->end = (size_t)n;
			continue;
		}
		n = send(peer->fd, peer->buf + peer->start, peer->end - peer->start, MSG_NOSIGNAL);
		if (n < 0)
			break;
		peer->start += (size_t)n;
	}
	if (errno != EAGAIN)
		return false;
	watch(peer, peer->start == peer->end ? EPOLLIN : EPOLLOUT);
	return true;
}

/* 1 when the whole line is read, 0 when it is not there yet, -1 when there will be none. */
static int read_order(struct peer *peer)
{
	while (peer->line_len < sizeof(peer->line) - 1) {
		ssize_t n = read(peer->fd, peer->line + peer->line_len, 1);

		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		if (n == 0)
			return -1;
		if (peer->line[peer->line_len++] == '\n') {
			peer->line[peer->line_len] = '\0';
			return 1;
		}
	}
	return -1;
}

static void answer_sink(struct peer *peer)
{
	char line[64];
	int len = snprintf(line, sizeof(line), "%" PRIu64 " %016" PRIx64 "\n", peer->done,
		peer->want_sum ? peer->sum : 0);

	(void)!send(peer->fd, line, (size_t)len, MSG_NOSIGNAL);
}

static bool serve_sink(struct peer *peer)
{
	if (!peer->started) {
		int r = read_order(peer);

		if (r <= 0)
			return r == 0;
		if (sscanf(peer->line, "%" SCNu64 " %u", &peer->want, &peer->want_sum) != 2)
			return false;
		peer->started = true;
	}
	/* A few reads a turn, so that one fast peer does not hold up the others. */
	for (int i = 0; i < 8; i++) {
		ssize_t n = read(peer->fd, peer->buf, BUFFER_SIZE);

		if (n < 0)
			return errno == EAGAIN;
		peer->done += (uint64_t)n;
		for (ssize_t k = 0; peer->want_sum && k < n; k++)
			peer->sum = (peer->sum ^ peer->buf[k]) * FNV_PRIME;
		if (n == 0 || peer->done == peer->want) {
			answer_sink(peer);
			return false;
		}
	}
	return true;
}

static bool serve_source(struct peer *peer)
{
	if (!peer->started) {
		int r = read_order(peer);

		if (r <= 0)
			return r == 0;
		if (sscanf(peer->line, "%" SCNu64 " %zu %" SCNu32, &peer->want, &peer->chunk,
			    &peer->seed) != 3 ||
			peer->chunk == 0 || peer->chunk > BUFFER_SIZE)
			return false;
		peer->started = true;
		if (peer->seed == 0)
			memset(peer->buf, 'x', peer->chunk);
		watch(peer, EPOLLOUT);
	}
	for (;;) {
		uint64_t left = peer->want - peer->done;
		ssize_t n;

		if (peer->start == peer->end) {
			if (left == 0)
				return false;
			peer->start = 0;
			peer->end = peer->chunk < left ? peer->chunk : (size_t)left;
			for (size_t i = 0; peer->seed && i < peer->end; i++)
				peer->buf[i] = pattern(peer->seed, peer->done + i);
		}
		n = send(peer->fd, peer->buf + peer->start, peer->end - peer->start, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN;
		peer->start += (size_t)n;
		peer->done += (size_t)n;
	}
}

static void add_peer(enum mode mode, int fd, bool listener);

static bool serve_dial(struct peer *peer)
{
	struct sockaddr_vm addr = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST};
	int fd, r = read_order(peer);

	if (r <= 0)
		return r == 0;
	addr.svm_port = (unsigned)strtoul(peer->line, NULL, 10);
	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
		fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		(void)close(fd);
	else
		add_peer(MODE_ECHO, fd, false);
	return false;
}

static void add_peer(enum mode mode, int fd, bool listener)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};

	if (!peer || (!listener && !(peer->buf = malloc(BUFFER_SIZE)))) {
		free(peer);
		(void)close(fd);
		return;
	}
	peer->mode = mode;
	peer->fd = fd;
	peer->listener = listener;
	peer->sum = FNV_START;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		close_peer(peer);
}

static void listen_at(enum mode mode, const struct sockaddr *address, socklen_t len)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, address, len) < 0 || listen(fd, BACKLOG) < 0) {
		perror("vsock_server: listen");
		exit(1);
	}
	add_peer(mode, fd, true);
}

static void listen_on(enum mode mode, unsigned port, bool tcp)
{
	const struct sockaddr_vm vm = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	const struct sockaddr_in inet = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	listen_at(mode, (const struct sockaddr *)&vm, sizeof(vm));
	if (tcp)
		listen_at(mode, (const struct sockaddr *)&inet, sizeof(inet));
}

static void serve(struct peer *peer)
{
	static bool (*const serve_mode[MODE_COUNT])(struct peer *) = {
		serve_echo, serve_sink, serve_source, serve_dial};

	if (!peer->listener) {
		if (!serve_mode[peer->mode](peer))
			close_peer(peer);
		return;
	}
	for (;;) {
		int fd = accept4(peer->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		add_peer(peer->mode, fd, false);
	}
}

int main(int argc, char **argv)
{
	unsigned ports[MODE_COUNT] = {1001, 1002, 1003, 1004};
	bool tcp = argc > 1 && strcmp(argv[1], "--tcp") == 0;
	int n_ports;

	argc -= tcp;
	argv += tcp;
	n_ports = argc == 1 ? MODE_COUNT : argc - 1;
	if (argc != 1 && argc != 4 && argc != 5) {
		(void)fputs("usage: vsock_server [--tcp] [ECHO_PORT SINK_PORT SOURCE_PORT "
			    "[DIAL_PORT]]\n",
			stderr);
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		return 1;
	for (int i = 0; i < n_ports; i++) {
		if (argc > 1)
			ports[i] = (unsigned)strtoul(argv[i + 1], NULL, 10);
		listen_on((enum mode)i, ports[i], tcp);
	}
	(void)puts("ready");
	(void)fflush(stdout);
	for (;;) {
		struct epoll_event events[64];
		int n = epoll_wait(epoll_fd, events, 64, -1);

		for (int i = 0; i < n; i++)
			serve(events[i].data.ptr);
	}
}
