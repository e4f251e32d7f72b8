/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/log_kernel.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/clock.h"

#define KERNEL      "kernel"
#define NAME_MOST   64 /* of a process that wrote there; what is longer is text */
#define PID_DIGITS  9
#define FACILITY(n) ((n) >> 3)
#define PRIORITY(n) ((n)&7)

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \xNN back to bytes; the new length. */
static size_t unescape(char *text, size_t len)
{
	size_t to = 0;

	for (size_t from = 0; from < len; to++) {
		int high = -1, low = -1;

		if (text[from] == '\\' && from + 3 < len && text[from + 1] == 'x') {
			high = hex_digit(text[from + 2]);
			low = hex_digit(text[from + 3]);
		}
		if (high >= 0 && low >= 0) {
			text[to] = (char)(high << 4 | low);
			from += 4;
		} else {
			text[to] = text[from++];
		}
	}
	return to;
}

/* "systemd[1]: text" of a process, as syslog(3) writes it. */
static void split_identifier(struct kmsg *kmsg)
{
	const char *text = kmsg->message, *end = text + kmsg->message_len, *at = text, *name_end;
	uint32_t pid = 0;

	while (at < end && at < text + NAME_MOST && !isspace((unsigned char)*at) && *at != '[' &&
		*at != ':')
		at++;
	name_end = at;
	if (at < end && *at == '[') {
		const char *digits = ++at;

		while (at < end && at - digits < PID_DIGITS && isdigit((unsigned char)*at))
			pid = pid * 10 + (uint32_t)(*at++ - '0');
		if (at == digits || at == end || *at++ != ']')
			return;
	}
	if (end - at < 2 || at[0] != ':' || at[1] != ' ' || name_end == text)
		return;
	kmsg->identifier = text;
	kmsg->identifier_len = (size_t)(name_end - text);
	kmsg->pid = pid;
	kmsg->message = at + 2;
	kmsg->message_len = (size_t)(end - kmsg->message);
}

int kmsg_parse(char *record, size_t len, struct kmsg *ret)
{
	char *text = memchr(record, ';', len), *end;
	uint32_t prefix;
	int read = 0;

	*ret = (struct kmsg){.identifier = KERNEL, .identifier_len = strlen(KERNEL)};
	if (!text)
		return -EBADMSG;
	/* "PREFIX,SEQUENCE,MICROSECONDS,FLAGS[,...];TEXT\n KEY=VALUE\n..." */
	*text++ = '\0';
	if (!isdigit((unsigned char)record[0]) ||
		sscanf(record, "%" SCNu32 ",%" SCNu64 ",%" SCNu64 "%n", &prefix, &ret->seq,
			&ret->time_us, &read) != 3 ||
		(record[read] != ',' && record[read] != '\0'))
		return -EBADMSG;
	end = memchr(text, '\n', len - (size_t)(text - record));
	ret->priority = PRIORITY(prefix);
	ret->facility = FACILITY(prefix);
	ret->message = text;
	ret->message_len =
		unescape(text, end ? (size_t)(end - text) : len - (size_t)(text - record));
	if (ret->facility != 0)
		split_identifier(ret);
	return 0;
}

void log_kernel_init(struct log_kernel *kernel, int fd, const struct log_filter *filter)
{
	*kernel = (struct log_kernel){.fd = fd, .filter = filter};
}

void log_kernel_close(struct log_kernel *kernel)
{
	kernel->fd = fd_close(kernel->fd);
}

static ProtobufCBinaryData bytes(const char *text, size_t len)
{
	return (ProtobufCBinaryData){.data = (uint8_t *)text, .len = len};
}

static void make_entry(struct log_kernel *kernel, const struct kmsg *kmsg)
{
	/* The kernel's clock and this one both stand while the machine sleeps. */
	int64_t offset_ns = (int64_t)(clock_ns(CLOCK_REALTIME) - monotonic_ns());
	Postern__V1__LogEntry *entry = &kernel->entry;

	postern__v1__log_entry__init(entry);
	entry->has_source = entry->has_realtime_us = entry->has_monotonic_us = true;
	entry->has_priority = entry->has_facility = entry->has_identifier = true;
	entry->has_message = true;
	entry->source = POSTERN__V1__LOG_SOURCE__KERNEL;
	entry->monotonic_us = kmsg->time_us;
	entry->realtime_us = (int64_t)kmsg->time_us + offset_ns / (int64_t)NSEC_PER_USEC;
	entry->priority = kmsg->priority;
	entry->facility = kmsg->facility;
	entry->identifier = bytes(kmsg->identifier, kmsg->identifier_len);
	entry->has_pid = kmsg->pid != 0;
	entry->pid = kmsg->pid;
	entry->message = bytes(kmsg->message, kmsg->message_len);
	kernel->entry_seq = kmsg->seq;
}

/* One record of any kind into *ret. 1; 0 when there is none now; -errno. */
static int read_record(struct log_kernel *kernel, struct kmsg *ret)
{
	for (;;) {
		ssize_t n = read(kernel->fd, kernel->record, LOG_KERNEL_RECORD);

		if (n > 0 && kmsg_parse(kernel->record, (size_t)n, ret) == 0)
			break;
		if (n == 0 || (n < 0 && errno == EAGAIN))
			return 0;
		/* EPIPE: the next one was overwritten; the read after that goes on behind the gap,
		 * and the numbers tell how wide it is. */
		if (n < 0 && errno != EPIPE && errno != EINTR)
			return -errno;
	}
	if (kernel->next_seq != 0 && ret->seq > kernel->next_seq)
		kernel->missed += ret->seq - kernel->next_seq;
	kernel->next_seq = ret->seq + 1;
	return 1;
}

static bool is_behind(const struct log_kernel *kernel, const struct kmsg *kmsg)
{
	return (!kernel->after_seq || kmsg->seq > kernel->seq) &&
	       (!kernel->after_time || kmsg->time_us > kernel->time_us);
}

int log_kernel_next(struct log_kernel *kernel)
{
	struct kmsg kmsg = {0};
	int r;

	while ((r = read_record(kernel, &kmsg)) > 0) {
		make_entry(kernel, &kmsg);
		if (is_behind(kernel, &kmsg) && log_filter_passes(kernel->filter, &kernel->entry))
			break;
	}
	return r;
}

static int begin_anew(struct log_kernel *kernel)
{
	kernel->next_seq = kernel->missed = 0;
	return lseek(kernel->fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

int log_kernel_last(struct log_kernel *kernel, size_t lines, size_t *ret_n)
{
	size_t total = 0;
	int r;

	while ((r = log_kernel_next(kernel)) > 0)
		total++;
	*ret_n = total < lines ? total : lines;
	if (r < 0 || lines == 0)
		return r;
	r = begin_anew(kernel);
	for (size_t skip = total - *ret_n; r >= 0 && skip > 0; skip--)
		r = log_kernel_next(kernel);
	return r < 0 ? r : 0;
}

void log_kernel_after(struct log_kernel *kernel, const struct log_cursor *cursor)
{
	if (memcmp(cursor->boot, kernel->filter->boot, LOG_BOOT_SIZE) != 0)
		return;
	kernel->after_seq = cursor->has_kernel;
	kernel->seq = cursor->kernel_seq;
	/* Else none of the kernel's was told by then: those before it were not wanted. */
	kernel->after_time = !cursor->has_kernel;
	kernel->time_us = cursor->monotonic_us;
	if (cursor->has_kernel)
		kernel->next_seq = cursor->kernel_seq + 1;
}

uint64_t log_kernel_oldest(struct log_kernel *kernel)
{
	struct kmsg kmsg = {0};
	uint64_t oldest = read_record(kernel, &kmsg) > 0 ? kmsg.time_us : UINT64_MAX;

	(void)begin_anew(kernel);
	return oldest;
}

bool log_kernel_newest(struct log_kernel *kernel, uint64_t *ret_seq)
{
	struct kmsg kmsg = {0};
	bool any = false;

	while (read_record(kernel, &kmsg) > 0)
		any = true;
	*ret_seq = kmsg.seq;
	(void)begin_anew(kernel);
	return any;
}
