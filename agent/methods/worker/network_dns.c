/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/methods/place.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define FILE_PATH "/etc/resolv.conf"
#define RESOLVED  "/run/systemd/resolve/"
#define UPSTREAM  RESOLVED "resolv.conf" /* whom resolved asks, where it offers itself */
#define WORDS_MAX 64

/* systemd-resolved is there and the file is one of its: its stub, or a list of whom it asks. */
static Postern__V1__DnsOwner owner_of(char target[PATH_MAX])
{
	char link[PATH_MAX];

	if (!realpath(FILE_PATH, target))
		(void)strcpy(target, FILE_PATH);
	if (readlink(FILE_PATH, link, sizeof(link)) < 0)
		return POSTERN__V1__DNS_OWNER__DNS_FILE;
	if (strncmp(target, RESOLVED, strlen(RESOLVED)) == 0 ||
		strncmp(target, "/usr/lib/systemd/", 17) == 0)
		return POSTERN__V1__DNS_OWNER__DNS_RESOLVED;
	return POSTERN__V1__DNS_OWNER__DNS_OTHER;
}

static int add_word(struct call *call, char ***words, size_t *n, const char *word)
{
	if (!*words)
		*words = arena_alloc(call->arena, WORDS_MAX * sizeof(**words));
	if (!*words)
		return -ENOMEM;
	if (*n < WORDS_MAX)
		(*words)[(*n)++] = arena_strdup(call->arena, word);
	return *n > 0 && !(*words)[*n - 1] ? -ENOMEM : 0;
}

/* resolv.conf(5): of "search" and "domain" the last line counts. */
static int take_line(struct call *call, Postern__V1__NetworkDnsReply *dns, char *line)
{
	char *rest = NULL, *key = strtok_r(line, " \t\n", &rest), *word;
	bool domain = key && (strcmp(key, "search") == 0 || strcmp(key, "domain") == 0);
	int r = 0;

	if (key && strcmp(key, "nameserver") == 0 && (word = strtok_r(NULL, " \t\n", &rest)))
		return add_word(call, &dns->servers, &dns->n_servers, word);
	if (domain)
		dns->n_search = 0;
	while (domain && r == 0 && (word = strtok_r(NULL, " \t\n", &rest)))
		r = add_word(call, &dns->search, &dns->n_search, word);
	return r;
}

static int read_file(struct call *call, const char *path, Postern__V1__NetworkDnsReply *dns)
{
	AUTO_FILE FILE *file = fopen(path, "re");
	char line[1024];
	int r = 0;

	/* Where it is missing nobody is asked. */
	if (!file)
		return errno == ENOENT ? 0 : call_fail_errno(call, -errno, "%s", path);
	while (r == 0 && fgets(line, sizeof(line), file))
		r = take_line(call, dns, line);
	return r;
}

static int describe(struct call *call, Postern__V1__NetworkDnsReply *dns)
{
	char target[PATH_MAX];

	dns->has_owner = dns->has_file = true;
	dns->owner = owner_of(target);
	dns->file = call_text(call, target);
	if (dns->owner == POSTERN__V1__DNS_OWNER__DNS_RESOLVED && access(UPSTREAM, R_OK) == 0)
		return read_file(call, UPSTREAM, dns);
	return read_file(call, FILE_PATH, dns);
}

int network_dns(struct call *call, const Postern__V1__NetworkDnsRequest *request,
	Postern__V1__NetworkDnsReply *reply)
{
	(void)request;
	return describe(call, reply);
}
