/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/mount_remote.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cleanup.h"

/* NFSv4's, the newest first. */
static const char *const versions[] = {"4.2", "4.1", "4.0"};

/* "192.0.2.1", "2001:db8::1" or "[2001:db8::1]", copied without the brackets; NULL: none of them.
 */
static const char *address_of(struct call *call, const char *text, size_t len)
{
	unsigned char raw[sizeof(struct in6_addr)];
	bool brackets = len > 2 && text[0] == '[' && text[len - 1] == ']';
	const char *copy = brackets ? arena_copy(call->arena, text + 1, len - 2)
				    : arena_copy(call->arena, text, len);

	if (!copy)
		return NULL;
	if (inet_pton(AF_INET6, copy, raw) == 1)
		return copy;
	return !brackets && inet_pton(AF_INET, copy, raw) == 1 ? copy : NULL;
}

/* The same with a port behind it: "192.0.2.1:6789", "[2001:db8::1]:6789". */
static bool is_address_port(struct call *call, const char *text, size_t len)
{
	const char *colon = memrchr(text, ':', len);
	size_t host = colon ? (size_t)(colon - text) : len;

	if (address_of(call, text, len))
		return true;
	return colon && host + 1 < len && strspn(colon + 1, "0123456789") >= len - host - 1 &&
	       address_of(call, text, host);
}

static const Postern__V1__MountOption *find_option(const struct mount_wish *wish, const char *key)
{
	for (size_t i = 0; i < wish->n_options; i++)
		if (strcmp(wish->options[i]->key, key) == 0)
			return wish->options[i];
	return NULL;
}

static int fail_form(struct call *call, const char *form)
{
	return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "source: expected %s", form);
}

/* The server's address: from the option, else the host of the source is one. */
static int take_address(struct call *call, struct mount_wish *wish, const char *const keys[],
	const char *host, size_t len)
{
	for (size_t i = 0; keys[i]; i++) {
		const Postern__V1__MountOption *option = find_option(wish, keys[i]);

		if (!option)
			continue;
		if (address_of(call, (const char *)option->value.data, option->value.len))
			return 0;
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"options: %s is no address", keys[i]);
	}
	wish->address = address_of(call, host, len);
	wish->address_key = keys[0];
	if (wish->address)
		return 0;
	return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
		"source: %.*s is no address, and the guest's agent resolves no names; give the "
		"address there or as the option %s",
		(int)len, host, keys[0]);
}

static int check_version(struct call *call, struct mount_wish *wish)
{
	const Postern__V1__MountOption *option = find_option(wish, "vers");

	if (!option || (option->value.len == 1 && option->value.data[0] == '4')) {
		wish->version = versions[0];
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		if (option->value.len == strlen(versions[i]) &&
			memcmp(option->value.data, versions[i], option->value.len) == 0)
			return 0;
	return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
		"options: vers of nfs4 is 4, 4.0, 4.1 or 4.2");
}

static int check_nfs(struct call *call, struct mount_wish *wish)
{
	static const char *const keys[] = {"addr", NULL};
	const char *path = strstr(wish->source, ":/");
	size_t len = path ? (size_t)(path - wish->source) : 0;
	int r;

	/* The kernel takes the first colon that is in no bracket for the path's. */
	if (len == 0 || (wish->source[0] != '[' && memchr(wish->source, ':', len)))
		return fail_form(call, "HOST:/PATH, or [IPV6]:/PATH");
	r = take_address(call, wish, keys, wish->source, len);
	return r < 0 ? r : check_version(call, wish);
}

static int check_cifs(struct call *call, struct mount_wish *wish)
{
	static const char *const keys[] = {"ip", "addr", NULL};
	const char *host = wish->source + 2;
	size_t len = strncmp(wish->source, "//", 2) == 0 ? strcspn(host, "/") : 0;

	if (len == 0 || host[len] == '\0' || host[len + 1] == '/' || host[len + 1] == '\0')
		return fail_form(call, "//HOST/SHARE");
	return take_address(call, wish, keys, host, len);
}

/* Each of them, with something between, is an address with or without a port. */
static int check_monitors(
	struct call *call, const char *field, const char *list, size_t len, char between)
{
	while (len > 0) {
		const char *end = memchr(list, between, len);
		size_t one = end ? (size_t)(end - list) : len;

		if (!is_address_port(call, list, one))
			return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
				"%s: %.*s is no address of a monitor, and the guest's agent "
				"resolves no names",
				field, (int)one, list);
		list += one + (end ? 1 : 0);
		len -= one + (end ? 1 : 0);
	}
	return 0;
}

/* "MON,MON:/PATH", or since Linux 5.17 "NAME@FSID.FS=/PATH" with mon_addr=MON/MON. */
static int check_ceph(struct call *call, struct mount_wish *wish)
{
	const Postern__V1__MountOption *monitors = find_option(wish, "mon_addr");
	const char *path = strchr(wish->source, '/');
	size_t len = path ? (size_t)(path - wish->source) : 0;

	if (len > 1 && path[-1] == ':')
		return check_monitors(call, "source", wish->source, len - 1, ',');
	if (len < 2 || path[-1] != '=' || !memchr(wish->source, '@', len))
		return fail_form(call, "MON,MON:/PATH, or NAME@FSID.FS=/PATH and option mon_addr");
	if (!monitors || monitors->value.len == 0)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"options: mon_addr must be given, monitors with / between them");
	return check_monitors(
		call, "mon_addr", (const char *)monitors->value.data, monitors->value.len, '/');
}

int mount_remote_check(struct call *call, struct mount_wish *wish)
{
	if (wish->type->source != SOURCE_REMOTE)
		return 0;
	if (strcmp(wish->type->name, "nfs4") == 0)
		return check_nfs(call, wish);
	if (strcmp(wish->type->name, "cifs") == 0)
		return check_cifs(call, wish);
	return check_ceph(call, wish);
}

bool mount_remote_next(struct mount_wish *wish)
{
	for (size_t i = 0; wish->version && i + 1 < ARRAY_SIZE(versions); i++)
		if (strcmp(wish->version, versions[i]) == 0) {
			wish->version = versions[i + 1];
			return true;
		}
	return false;
}
