/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One call from beginning to end, blocking.
 *
 *   blocking VM METHOD [JSON]
 *   blocking web mounts.list '{"usage": true}'
 */
#include <stdio.h>
#include <stdlib.h>

#include <postern/postern.h>

int main(int argc, char **argv)
{
	struct postern_error error = {0};
	struct postern_client *client = NULL;
	char *address = NULL, *answer = NULL;
	int r;

	if (argc < 3) {
		(void)fprintf(stderr, "usage: blocking VM METHOD [JSON]\n");
		return POSTERN_USAGE;
	}
	/* A name becomes the address of its agent; an address stays as it is. */
	r = postern_vm_address(argv[1], &address, &error);
	if (r == 0)
		r = postern_client_open(address, NULL, &client, &error);
	if (r == 0)
		r = postern_json_call(client, argv[2], argv[3], 0, &answer, &error);
	if (r == 0)
		(void)puts(answer);
	else
		(void)fprintf(stderr, "%s\n", error.message);
	r = r == 0 ? POSTERN_DONE : (int)error.failure;
	free(answer);
	free(address);
	postern_client_close(client);
	postern_error_clear(&error);
	return r;
}
