/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/log_filter.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/cleanup.h"

#define BOOT_TEXT 36 /* as the kernel shows it, with dashes */

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 32 hexadecimal digits, dashes anywhere between them. Where it ends, or NULL. */
static const char *parse_boot(const char *text, uint8_t boot[LOG_BOOT_SIZE])
{
	for (size_t i = 0; i < (size_t)2 * LOG_BOOT_SIZE; i++, text++) {
		int digit;

		text += *text == '-';
		digit = hex_value(*text);
		if (digit < 0)
			return NULL;
		boot[i / 2] = (uint8_t)(i % 2 ? boot[i / 2] | digit : digit << 4);
	}
	return text;
}

static bool has_upper(const ProtobufCBinaryData *text)
{
	for (size_t i = 0; i < text->len; i++)
		if (isupper(text->data[i]))
			return true;
	return false;
}

int log_filter_init(struct log_filter *filter, const Postern__V1__LogsReadRequest *request)
{
	AUTO_CLOSE int fd = open(LOG_BOOT_PATH, O_RDONLY | O_CLOEXEC);
	char text[BOOT_TEXT + 1] = "";

	if (fd < 0 || read(fd, text, BOOT_TEXT) != BOOT_TEXT)
		return fd < 0 ? -errno : -EIO;
	*filter = (struct log_filter){
		.request = request, .fold = !has_upper(&request->text), .caller = -1};
	return parse_boot(text, filter->boot) ? 0 : -EIO;
}

static bool is_one_of(
	const ProtobufCBinaryData *wanted, size_t n, const ProtobufCBinaryData *identifier)
{
	for (size_t i = 0; i < n; i++)
		if (wanted[i].len == identifier->len &&
			memcmp(wanted[i].data, identifier->data, identifier->len) == 0)
			return true;
	return n == 0;
}

static bool is_at(const uint8_t *at, const ProtobufCBinaryData *text, bool fold)
{
	for (size_t i = 0; i < text->len; i++)
		if (at[i] != text->data[i] && (!fold || tolower(at[i]) != text->data[i]))
			return false;
	return true;
}

static bool holds(const ProtobufCBinaryData *message, const ProtobufCBinaryData *text, bool fold)
{
	for (size_t i = 0; text->len > 0 && i + text->len <= message->len; i++)
		if (is_at(message->data + i, text, fold))
			return true;
	return text->len == 0;
}

bool log_filter_passes(const struct log_filter *filter, const Postern__V1__LogEntry *entry)
{
	const Postern__V1__LogsReadRequest *request = filter->request;

	if (request->has_priority && (!entry->has_priority || entry->priority > request->priority))
		return false;
	if (request->has_since_us && entry->realtime_us < request->since_us)
		return false;
	if (request->has_until_us && entry->realtime_us > request->until_us)
		return false;
	return is_one_of(request->identifiers, request->n_identifiers, &entry->identifier) &&
	       holds(&entry->message, &request->text, filter->fold);
}

bool log_filter_is_over(const struct log_filter *filter)
{
	/* Who only says no more may still read. */
	struct pollfd caller = {.fd = filter->caller};

	return poll(&caller, 1, 0) > 0;
}

bool log_filter_is_of_any_boot(const struct log_filter *filter)
{
	const Postern__V1__LogsReadRequest *request = filter->request;

	return request->all_boots || (request->cursor && !request->has_boot);
}

bool log_entry_is_of_now(const struct log_filter *filter, const Postern__V1__LogEntry *entry)
{
	return !entry->has_boot_id || memcmp(entry->boot_id.data, filter->boot, LOG_BOOT_SIZE) == 0;
}

char *log_cursor_print(const struct log_cursor *cursor, char *text)
{
	size_t n = 0;

	for (size_t i = 0; i < LOG_BOOT_SIZE; i++)
		n += (size_t)sprintf(text + n, "%02x", cursor->boot[i]);
	n += (size_t)sprintf(
		text + n, ":%" PRId64 ":%" PRIu64 ":", cursor->realtime_us, cursor->monotonic_us);
	if (cursor->has_kernel)
		n += (size_t)sprintf(text + n, "%" PRIu64, cursor->kernel_seq);
	(void)snprintf(text + n, LOG_CURSOR_MAX - n, ":%s", cursor->journal);
	return text;
}

int log_cursor_parse(const char *text, struct log_cursor *ret)
{
	int at = 0;

	*ret = (struct log_cursor){0};
	text = parse_boot(text, ret->boot);
	if (!text ||
		sscanf(text, ":%" SCNd64 ":%" SCNu64 ":%n", &ret->realtime_us, &ret->monotonic_us,
			&at) != 2 ||
		at == 0)
		return -EINVAL;
	text += at;
	at = 0;
	if (*text != ':') {
		if (sscanf(text, "%" SCNu64 "%n", &ret->kernel_seq, &at) != 1)
			return -EINVAL;
		ret->has_kernel = true;
		text += at;
	}
	if (*text != ':' || strlen(++text) >= sizeof(ret->journal))
		return -EINVAL;
	memcpy(ret->journal, text, strlen(text) + 1);
	return 0;
}
