/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/forward_spec.h"

#include <ctype.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/job_run.h"
#include "host/common/text.h"
#include "proto/cleanup.h"

#define HOST_MAX 255

/* "80", "127.0.0.1:80", "[::1]:80", ":80". host becomes empty where none is named. */
static int split_inet(const char *text, char host[HOST_MAX + 1], uint16_t *ret_port)
{
	const char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
	size_t len = colon ? (size_t)(colon - text) : 0;
	uint64_t number;

	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len > HOST_MAX || parse_number(port, 65535, &number) < 0)
		return -1;
	memcpy(host, text, len);
	host[len] = '\0';
	*ret_port = (uint16_t)number;
	return 0;
}

/* A name of the host's, to the first address that it has. */
static int look_up(
	const char *host, enum forward_transport transport, uint16_t port, struct forward_end *ret)
{
	const struct addrinfo hints = {
		.ai_socktype = transport == FORWARD_TCP ? SOCK_STREAM : SOCK_DGRAM};
	struct addrinfo *found = NULL;

	if (getaddrinfo(host, NULL, &hints, &found) != 0 || !found)
		return -1;
	*ret = (struct forward_end){.transport = transport, .len = found->ai_addrlen};
	memcpy(&ret->address, found->ai_addr, found->ai_addrlen);
	/* Both families have it in the same place. */
	((struct sockaddr_in *)&ret->address)->sin_port = htons(port);
	freeaddrinfo(found);
	return 0;
}

static int parse_inet(const char *text, enum forward_transport transport, bool guest,
	struct forward_end *ret, const char **ret_why)
{
	char host[HOST_MAX + 1];
	uint16_t port;

	*ret_why = "expected a port, or ADDRESS:PORT";
	if (split_inet(text, host, &port) < 0)
		return -1;
	if (forward_end_inet(ret, transport,
		    host[0] == '\0' || strcmp(host, "localhost") == 0 ? NULL : host, port) == 0)
		return 0;
	*ret_why = guest ? "expected an address of digits on the guest's side"
			 : "that name has no address";
	return guest ? -1 : look_up(host, transport, port, ret);
}

/* One side. */
static int parse_end(const char *text, bool guest, struct forward_end *ret, char **ret_path,
	const char **ret_why)
{
	if (strncmp(text, "unix:", 5) == 0) {
		*ret_why = "expected an absolute path behind unix:, of at most 107 bytes";
		if (guest && text[5] == '/')
			*ret_path = strdup(text + 5);
		return text[5] == '/' && forward_end_unix(ret, text + 5) == 0 ? 0 : -1;
	}
	if (strncmp(text, "udp:", 4) == 0)
		return parse_inet(text + 4, FORWARD_UDP, guest, ret, ret_why);
	if (strncmp(text, "tcp:", 4) == 0)
		text += 4;
	return parse_inet(text, FORWARD_TCP, guest, ret, ret_why);
}

/* "8080" and "8080:80" as people know them from elsewhere. */
static char *lengthen(const char *word)
{
	size_t digits = strspn(word, "0123456789");
	const char *second = word + digits;
	char *text = NULL;

	if (digits == 0)
		return NULL;
	if (*second == '\0')
		second = word;
	else if (*second != ':' || strspn(second + 1, "0123456789") != strlen(second + 1))
		return NULL;
	else
		second++;
	return asprintf(&text, "%.*s=%s", (int)digits, word, second) < 0 ? NULL : text;
}

static int check(const struct forward_spec *spec, const char **ret_why)
{
	const struct forward_end *to = spec->guest_listens ? &spec->host : &spec->guest;

	*ret_why = "UDP goes to UDP, and nothing else does";
	if ((spec->host.transport == FORWARD_UDP) != (spec->guest.transport == FORWARD_UDP))
		return -1;
	*ret_why = "expected a port from 1 on to connect to";
	return to->transport != FORWARD_UNIX && forward_end_port(to) == 0 ? -1 : 0;
}

int forward_spec_parse(const char *word, struct forward_spec *ret, const char **ret_why)
{
	AUTO_FREE char *text = lengthen(word);
	char *from, *to;
	int r;

	*ret = (struct forward_spec){0};
	*ret_why = "expected FROM=TO, PORT:PORT or PORT";
	if (!text)
		text = strdup(word);
	to = text ? strchr(text, '=') : NULL;
	if (!to)
		return -1;
	*to++ = '\0';
	from = text;
	ret->guest_listens = strncmp(from, "guest:", 6) == 0;
	if (ret->guest_listens)
		from += 6;
	r = parse_end(from, ret->guest_listens, ret->guest_listens ? &ret->guest : &ret->host,
		&ret->guest_path, ret_why);
	if (r == 0)
		r = parse_end(to, !ret->guest_listens,
			ret->guest_listens ? &ret->host : &ret->guest, &ret->guest_path, ret_why);
	if (r == 0)
		r = check(ret, ret_why);
	if (r < 0)
		forward_spec_done(ret);
	return r;
}

void forward_spec_done(struct forward_spec *spec)
{
	free(spec->guest_path);
	spec->guest_path = NULL;
}

json_t *forward_spec_guest(const struct forward_spec *spec)
{
	char text[FORWARD_TEXT_SIZE], *host;
	size_t len;

	if (spec->guest.transport == FORWARD_UNIX)
		return json_pack("{s:s, s:o}", "transport", "FORWARD_UNIX", "path",
			job_bytes(spec->guest_path));
	/* Without "tcp:" before it and the port behind it. */
	forward_end_print(&spec->guest, text);
	host = text + 4;
	*strrchr(host, ':') = '\0';
	len = strlen(host);
	if (host[0] == '[') {
		host[len - 1] = '\0';
		host++;
	}
	return json_pack("{s:s, s:s, s:i}", "transport",
		spec->guest.transport == FORWARD_TCP ? "FORWARD_TCP" : "FORWARD_UDP", "address",
		host, "port", (int)forward_end_port(&spec->guest));
}

void forward_spec_print(const struct forward_spec *spec, const char *vm, bool listener,
	char text[FORWARD_SPEC_TEXT])
{
	bool guest = listener == spec->guest_listens;
	char end[FORWARD_TEXT_SIZE];

	forward_end_print(guest ? &spec->guest : &spec->host, end);
	(void)snprintf(
		text, FORWARD_SPEC_TEXT, "%s%s%.127s", guest ? vm : "", guest ? " " : "", end);
}
