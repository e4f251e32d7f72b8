/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hundreds of guests in one poll() loop of one thread: each is asked for its load, again and again.
 *
 *   fleet GUESTS CALLS ADDRESS...
 *
 * GUESTS connections, which share the addresses, make CALLS calls each, one after the other.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <postern/postern.h>

struct guest {
	struct postern_client *client; /* NULL: it is done, or lost */
	unsigned long calls_left, answers;
	bool asked;
};

struct fleet {
	struct guest *guests;
	struct pollfd *fds;
	unsigned long n, calls, answers, lost;
};

static uint64_t now_ns(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

/* A guest's answer. A second call could be under way meanwhile; here it is not. */
static void on_load(
	void *ctx, const struct postern_error *error, const uint8_t *load, size_t len, bool more)
{
	struct guest *guest = ctx;
	char *text = NULL;

	if (!error && postern_json_result("system_load.current", load, len, &text, NULL) == 0)
		guest->answers++;
	free(text);
	guest->asked = more;
}

/* Asks, closes, or waits, as the guest is. */
static void go_on(struct guest *guest)
{
	uint64_t id;

	if (!guest->client || !postern_client_ready(guest->client) || guest->asked)
		return;
	if (guest->calls_left == 0 || postern_call_start(guest->client, "system_load.current", NULL,
					      0, 0, on_load, guest, &id) < 0) {
		postern_client_close(guest->client);
		guest->client = NULL;
		return;
	}
	guest->calls_left--;
	guest->asked = true;
}

/* One turn of the loop. 0 once nobody is left. */
static int turn(struct fleet *fleet)
{
	uint64_t deadline = UINT64_MAX, now = now_ns();
	int left = 0;

	for (unsigned long i = 0; i < fleet->n; i++) {
		struct postern_client *client = fleet->guests[i].client;
		uint64_t due = client ? postern_client_deadline(client) : UINT64_MAX;

		fleet->fds[i] = (struct pollfd){.fd = client ? postern_client_fd(client) : -1,
			.events = client ? postern_client_events(client) : 0};
		deadline = due < deadline ? due : deadline;
		left += client != NULL;
	}
	if (left == 0)
		return 0;
	/* A minute is soon enough to look again. */
	if (deadline == UINT64_MAX || deadline > now + UINT64_C(60000000000))
		deadline = now + UINT64_C(60000000000);
	if (poll(fleet->fds, fleet->n, deadline > now ? (int)((deadline - now) / 1000000 + 1) : 0) <
			0 &&
		errno != EINTR)
		return -errno;
	now = now_ns();
	for (unsigned long i = 0; i < fleet->n; i++) {
		struct guest *guest = &fleet->guests[i];
		struct postern_error error = {0};

		if (!guest->client ||
			(!fleet->fds[i].revents && postern_client_deadline(guest->client) > now))
			continue;
		if (postern_client_dispatch(guest->client, &error) < 0) {
			(void)fprintf(stderr, "guest %lu: %s\n", i, error.message);
			postern_error_clear(&error);
			postern_client_close(guest->client);
			guest->client = NULL;
			fleet->lost++;
		}
		go_on(guest);
	}
	return left;
}

static int start(struct fleet *fleet, char **addresses, unsigned long n_addresses)
{
	for (unsigned long i = 0; i < fleet->n; i++) {
		struct postern_error error = {0};
		struct postern_options options = {.name = "fleet", .connect_ms = 30000};

		fleet->guests[i].calls_left = fleet->calls;
		if (postern_client_start(addresses[i % n_addresses], &options,
			    &fleet->guests[i].client, &error) < 0) {
			(void)fprintf(stderr, "guest %lu: %s\n", i, error.message);
			postern_error_clear(&error);
			return -1;
		}
	}
	return 0;
}

/* The most that it had in memory. */
static long memory_kib(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	long kib = 0;

	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, "VmHWM:", 6) == 0)
			kib = strtol(line + 6, NULL, 10);
	if (file)
		(void)fclose(file);
	return kib;
}

static void report(const struct fleet *fleet, uint64_t ns)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	(void)printf("guests %lu answers %lu lost %lu seconds %.2f cpu %.2f memory_kib %ld\n",
		fleet->n, fleet->answers, fleet->lost, (double)ns / 1e9,
		(double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
			(double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6,
		memory_kib());
}

int main(int argc, char **argv)
{
	struct fleet fleet = {0};
	struct rlimit files;
	uint64_t begun = now_ns();
	int r = -1;

	if (argc > 3) {
		fleet.n = strtoul(argv[1], NULL, 10);
		fleet.calls = strtoul(argv[2], NULL, 10);
	}
	if (fleet.n == 0) {
		(void)fprintf(stderr, "usage: fleet GUESTS CALLS ADDRESS...\n");
		return POSTERN_USAGE;
	}
	/* A connection is one descriptor. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	fleet.guests = calloc(fleet.n, sizeof(*fleet.guests));
	fleet.fds = calloc(fleet.n, sizeof(*fleet.fds));
	if (fleet.guests && fleet.fds)
		r = start(&fleet, argv + 3, (unsigned long)argc - 3);
	if (r == 0)
		while ((r = turn(&fleet)) > 0)
			;
	for (unsigned long i = 0; fleet.guests && i < fleet.n; i++) {
		fleet.answers += fleet.guests[i].answers;
		postern_client_close(fleet.guests[i].client);
	}
	report(&fleet, now_ns() - begun);
	free(fleet.guests);
	free(fleet.fds);
	return r < 0 || fleet.answers != fleet.n * fleet.calls ? POSTERN_ABSENT : POSTERN_DONE;
}
