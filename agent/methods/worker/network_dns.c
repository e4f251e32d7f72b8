/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/network_text.h"
#include "agent/methods/place.h"
#include "agent/methods/prototypes.h"
#include "agent/methods/replace_alike.h"
#include "agent/methods/systemd.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define FILE_PATH "/etc/resolv.conf"
#define RESOLVED  "/run/systemd/resolve/"
#define UPSTREAM  RESOLVED "resolv.conf" /* whom resolved asks, where it offers itself */
#define WORDS_MAX 64
#define FILE_MAX  (64u << 10)
#define SETTINGS  "/etc/systemd/resolved.conf.d"
#define OURS      "postern.conf"
#define SERVICE   "systemd-resolved.service"

/* systemd-resolved is there and the file is one of its: its stub, or a list of whom it asks. */
static Postern__V1__DnsOwner owner_of(char target[PATH_MAX])
{
	char link[PATH_MAX];

	if (!realpath(FILE_PATH, target))
		memcpy(target, FILE_PATH, sizeof(FILE_PATH));
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

/* ---- set_dns ---- */

/* Nothing that would become another line, or another word. */
static int check_domain(struct call *call, const char *domain)
{
	size_t len = strlen(domain);

	for (size_t i = 0; i < len; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.",
			    domain[i]))
			len = 0;
	if (len == 0 || len > 255 || (domain[0] == '.' && len > 1))
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"search: expected domains, of letters, digits, '-', '_' and '.'");
	return 0;
}

static int check(struct call *call, const Postern__V1__NetworkSetDnsRequest *request)
{
	struct network_ip ip;
	int r = 0;

	if (request->n_servers > WORDS_MAX || request->n_search > WORDS_MAX)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, E2BIG,
			"servers, search: at most %d", WORDS_MAX);
	for (size_t i = 0; i < request->n_servers && r == 0; i++)
		r = network_parse(call, request->servers[i], "servers", &ip);
	for (size_t i = 0; i < request->n_search && r == 0; i++)
		r = check_domain(call, request->search[i]);
	return r;
}

/* KEY and the words behind it, as one line or one each; nothing for no words. NULL without memory.
 */
static char *lines(
	struct call *call, char *text, const char *key, bool each, char *const *words, size_t n)
{
	for (size_t i = 0; i < n && text; i++) {
		bool begins = each || i == 0;

		text = arena_printf(call->arena, "%s%s%s%s", text, begins ? key : " ", words[i],
			each || i == n - 1 ? "\n" : "");
	}
	return text;
}

static bool is_about_servers(const char *line)
{
	static const char *const keys[] = {"nameserver", "search", "domain"};

	line += strspn(line, " \t");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t len = strlen(keys[i]);

		if (strncmp(line, keys[i], len) == 0 && (line[len] == ' ' || line[len] == '\t'))
			return true;
	}
	return false;
}

/* What else the file says stays: options, comments. */
static char *with_rest(struct call *call, char *text, char *old)
{
	char *rest = NULL;

	for (char *line = old ? strtok_r(old, "\n", &rest) : NULL; line && text;
		line = strtok_r(NULL, "\n", &rest))
		if (!is_about_servers(line))
			text = arena_printf(call->arena, "%s%s\n", text, line);
	return text;
}

static int write_file(struct call *call, const Postern__V1__NetworkSetDnsRequest *request)
{
	AUTO_CLOSE int etc = open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *text = arena_strdup(call->arena, ""), *old = NULL;
	int r = etc < 0 ? -errno : alike_read(call, etc, "resolv.conf", FILE_MAX, &old);

	text = lines(call, text, "nameserver ", true, request->servers, request->n_servers);
	text = lines(call, text, "search ", false, request->search, request->n_search);
	text = with_rest(call, text, old);
	if (r == 0 && !text)
		r = -ENOMEM;
	if (r == 0)
		worker_changing(call);
	if (r == 0)
		r = alike_replace(etc, "resolv.conf", 0644, text, strlen(text));
	return r < 0 ? call_fail_errno(call, r, FILE_PATH) : 0;
}

/* Of its settings, those that come from here are one file, which it reads when it starts. */
static int write_settings(struct call *call, const Postern__V1__NetworkSetDnsRequest *request)
{
	AUTO_CLOSE int dir = -EBADF;
	char *text = arena_strdup(call->arena, "[Resolve]\n");
	int r = 0;

	text = lines(call, text, "DNS=", false, request->servers, request->n_servers);
	text = lines(call, text, "Domains=", false, request->search, request->n_search);
	if (!text)
		return -ENOMEM;
	worker_changing(call);
	if (mkdir(SETTINGS, 0755) < 0 && errno != EEXIST)
		return call_fail_errno(call, -errno, SETTINGS);
	dir = open(SETTINGS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return call_fail_errno(call, -errno, SETTINGS);
	if (request->n_servers + request->n_search > 0)
		r = alike_replace(dir, OURS, 0644, text, strlen(text));
	else if (unlinkat(dir, OURS, 0) < 0 && errno != ENOENT)
		r = -errno;
	if (r < 0)
		return call_fail_errno(call, r, SETTINGS "/" OURS);
	call->outcome = POSTERN__V1__OUTCOME__DONE;
	r = systemd_restart(SERVICE);
	return r < 0 ? call_fail_errno(call, r, "it is set, but " SERVICE " was not restarted") : 0;
}

static Postern__V1__NetworkDnsReply *new_reply(struct call *call)
{
	Postern__V1__NetworkDnsReply *reply = arena_alloc(call->arena, sizeof(*reply));

	if (reply)
		postern__v1__network_dns_reply__init(reply);
	return reply;
}

int network_set_dns(struct call *call, const Postern__V1__NetworkSetDnsRequest *request,
	Postern__V1__NetworkSetDnsReply *reply)
{
	int r = check(call, request);

	if (r == 0)
		r = place_check(call, FILE_PATH, TOUCH_WRITE);
	reply->before = new_reply(call);
	reply->dns = new_reply(call);
	if (!reply->before || !reply->dns)
		return -ENOMEM;
	if (r == 0)
		r = describe(call, reply->before);
	if (r < 0)
		return r;
	if (reply->before->owner == POSTERN__V1__DNS_OWNER__DNS_OTHER)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, 0,
			"%s is a link to %.*s: another program of the guest's says who is asked",
			FILE_PATH, (int)reply->before->file.len, (char *)reply->before->file.data);
	r = reply->before->owner == POSTERN__V1__DNS_OWNER__DNS_RESOLVED
		    ? write_settings(call, request)
		    : write_file(call, request);
	worker_touch_done(call);
	return r < 0 ? r : describe(call, reply->dns);
}
