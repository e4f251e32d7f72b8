/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an integration test begins with: a machine that was launched is waited for, and its agent's
 * word is what counts.
 *
 *   ready VM SECONDS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <postern/postern.h>

static long now_ms(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Until the machine is ready, or has ended. 0, or -1 with *error. */
static int wait_ready(const char *name, long until, struct postern_error *error)
{
	struct postern_vm_watch *watch = NULL;
	struct postern_vm_event event;
	bool ready = false, ended = false;
	int r = postern_vm_watch_open(name, true, &watch, error);

	/* The first events are how it is now: nothing is missed in between. */
	while (r >= 0 && !ready && !ended) {
		long left = until - now_ms();

		r = left > 0 ? postern_vm_watch_next(watch, (int)left, &event, error) : 0;
		if (r == 0) {
			(void)snprintf(error->message, sizeof(error->message),
				"%s was not ready in time", name);
			error->failure = POSTERN_TIMED_OUT;
			break;
		}
		if (r > 0 && strcmp(event.topic, "vm.state") == 0) {
			ready = strstr(event.payload, "\"ready\"") != NULL;
			ended = strstr(event.payload, "\"ended\"") != NULL;
		}
	}
	if (ended) {
		(void)snprintf(error->message, sizeof(error->message), "%s has ended", name);
		error->failure = POSTERN_ABSENT;
	}
	postern_vm_watch_close(watch);
	return ready ? 0 : -1;
}

static int show_info(const char *name, struct postern_error *error)
{
	struct postern_client *client = NULL;
	char *address = NULL, *answer = NULL;
	int r = postern_vm_address(name, &address, error);

	if (r == 0)
		r = postern_client_open(address, NULL, &client, error);
	if (r == 0) {
		(void)printf("agent %s\n", postern_client_peer(client)->agent_version);
		r = postern_json_call(client, "system.info", NULL, 0, &answer, error);
	}
	if (r == 0)
		(void)puts(answer);
	free(answer);
	free(address);
	postern_client_close(client);
	return r;
}

int main(int argc, char **argv)
{
	struct postern_error error = {0};
	int r;

	if (argc != 3) {
		(void)fprintf(stderr, "usage: ready VM SECONDS\n");
		return POSTERN_USAGE;
	}
	r = wait_ready(argv[1], now_ms() + strtol(argv[2], NULL, 10) * 1000, &error);
	if (r == 0)
		r = show_info(argv[1], &error);
	if (r < 0)
		(void)fprintf(stderr, "%s\n", error.message);
	r = r == 0 ? POSTERN_DONE : (int)error.failure;
	postern_error_clear(&error);
	return r;
}
