/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "proto/cleanup.h"

#ifndef POSTERN_VERSION
#define POSTERN_VERSION "development"
#endif

#define MAX_CONNECTIONS_DEFAULT 1023
#define MAX_CONNECTIONS_LIMIT   65535

/* A guest's address: 0 to 2 are taken, the highest is the wildcard. */
#define CID_FIRST 3
#define CID_LAST  (UINT32_MAX - 1)

/* "_" and the longest port come behind the hybrid socket's path. */
#define UDS_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1 - 11)

enum {
	OPT_SOCKET_PATH = 256,
	OPT_FD,
	OPT_UDS,
	OPT_CID,
	OPT_ALLOW_PORT,
	OPT_MAX_CONNECTIONS,
	OPT_ONCE,
	OPT_LOG_LEVEL,
	OPT_PRINT_CAPABILITIES,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{"socket-path", required_argument, NULL, OPT_SOCKET_PATH},
	{"fd", required_argument, NULL, OPT_FD},
	{"uds", required_argument, NULL, OPT_UDS},
	{"cid", required_argument, NULL, OPT_CID},
	{"allow-port", required_argument, NULL, OPT_ALLOW_PORT},
	{"max-connections", required_argument, NULL, OPT_MAX_CONNECTIONS},
	{"once", no_argument, NULL, OPT_ONCE},
	{"log-level", required_argument, NULL, OPT_LOG_LEVEL},
	{"print-capabilities", no_argument, NULL, OPT_PRINT_CAPABILITIES},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{NULL, 0, NULL, 0},
};

static const char help_text[] =
	"usage: postern-vsockd {--socket-path PATH | --fd N} --uds PATH --cid N [OPTIONS]\n"
	"\n"
	"Gives one virtual machine a virtio-vsock device (vhost-user back-end).\n"
	"\n"
	"  --socket-path PATH     wait for the VMM here\n"
	"  --fd N                 the VMM is connected to this descriptor; its end is the "
	"program's\n"
	"  --uds PATH             host clients connect here and write \"CONNECT PORT\\n\"; the "
	"guest's\n"
	"                         connections to port P of the host go to PATH_P\n"
	"  --cid N                the guest's address, 3 or more\n"
	"  --allow-port P[,P..]   host ports that the guest may reach, or \"all\" (the default: "
	"all that\n"
	"                         have a socket of this user or root); may be given more than "
	"once\n"
	"  --max-connections N    1 to 65535, default 1023\n"
	"  --once                 end when the VMM disconnects\n"
	"  --log-level LEVEL      error, warning, info or debug\n"
	"  --print-capabilities   print what a VMM manager wants to know, and end\n"
	"  --help, --version\n"
	"\n"
	"SIGUSR1 logs counters; SIGTERM and SIGINT end it.\n";

__attribute__((format(printf, 1, 2))) static int complain(const char *format, ...)
{
	va_list args;

	(void)fputs("postern-vsockd: ", stderr);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputs("\n", stderr);
	return -EINVAL;
}

static int parse_number(const char *name, const char *text, unsigned long min, unsigned long max,
	unsigned long *ret_value)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno || value < min || value > max)
		return complain("--%s: not a number from %lu to %lu: %s", name, min, max, text);
	*ret_value = value;
	return 0;
}

/* Adds to what earlier --allow-port options said. */
static int allow_more(struct ports *allow, const char *text)
{
	struct ports more;
	uint32_t *list;
	int r;

	r = ports_parse(text, &more);
	if (r == -EINVAL)
		return complain(
			"--allow-port: not \"all\" or ports with commas between them: %s", text);
	if (r < 0)
		return r;
	list = reallocarray(allow->list, allow->count + more.count + 1, sizeof(*list));
	if (!list) {
		free(more.list);
		return -ENOMEM;
	}
	if (more.count > 0)
		memcpy(list + allow->count, more.list, more.count * sizeof(*list));
	free(more.list);
	allow->list = list;
	allow->count += more.count;
	allow->all = allow->all || more.all;
	return 0;
}

static int parse_option(struct options *options, int option, const char *value)
{
	unsigned long number = 0;
	int r = 0;

	switch (option) {
	case OPT_SOCKET_PATH:
		options->socket_path = value;
		return 0;
	case OPT_FD:
		r = parse_number("fd", value, 0, INT32_MAX, &number);
		options->fd = (int)number;
		return r;
	case OPT_UDS:
		options->device.uds = value;
		return 0;
	case OPT_CID:
		r = parse_number("cid", value, CID_FIRST, CID_LAST, &number);
		options->device.cid = number;
		return r;
	case OPT_ALLOW_PORT:
		return allow_more(&options->device.allow, value);
	case OPT_MAX_CONNECTIONS:
		r = parse_number("max-connections", value, 1, MAX_CONNECTIONS_LIMIT, &number);
		options->device.max_connections = (unsigned)number;
		return r;
	case OPT_ONCE:
		options->once = true;
		return 0;
	case OPT_LOG_LEVEL:
		if (log_level_parse(value, &options->log_level) < 0)
			return complain("--log-level: not a level: %s", value);
		return 0;
	case OPT_PRINT_CAPABILITIES:
		(void)puts("{\n  \"type\": \"vsock\"\n}");
		return 1;
	case OPT_HELP:
		(void)fputs(help_text, stdout);
		return 1;
	case OPT_VERSION:
		(void)puts("postern-vsockd " POSTERN_VERSION);
		return 1;
	default:
		return complain("try --help");
	}
}

static int check(const struct options *options)
{
	if (!options->socket_path == (options->fd < 0))
		return complain("exactly one of --socket-path and --fd is needed");
	if (options->fd >= 0 && fcntl(options->fd, F_GETFD) < 0)
		return complain("--fd: descriptor %d is not open", options->fd);
	if (!options->device.uds || options->device.uds[0] == '\0')
		return complain("--uds is needed");
	if (strlen(options->device.uds) > UDS_PATH_MAX)
		return complain("--uds: longer than %zu bytes", (size_t)UDS_PATH_MAX);
	if (options->device.cid == 0)
		return complain("--cid is needed");
	return 0;
}

int options_parse(int argc, char **argv, struct options *ret_options)
{
	struct options options = {
		.fd = -EBADF,
		.log_level = LOG_LEVEL_INFO,
		.device.max_connections = MAX_CONNECTIONS_DEFAULT,
	};
	int option, r = 0;

	while (r == 0 && (option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		r = parse_option(&options, option, optarg);
	if (r == 0 && optind < argc)
		r = complain("an argument that is no option: %s", argv[optind]);
	if (r == 0)
		r = check(&options);
	if (r != 0) {
		options_done(&options);
		return r;
	}
	if (options.device.allow.count == 0)
		options.device.allow.all = true;
	options.once = options.once || options.fd >= 0;
	*ret_options = options;
	return 0;
}

void options_done(struct options *options)
{
	free(options->device.allow.list);
	options->device.allow = (struct ports){0};
}
