/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *program_name = "postern";
static enum log_level highest_level = LOG_LEVEL_INFO;
static bool to_journal;
static unsigned long dropped;

void log_open(const char *program, enum log_level highest)
{
	program_name = program;
	highest_level = highest;
	to_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_never_wait(void)
{
	struct stat st;
	int fd;

	if (fstat(STDERR_FILENO, &st) < 0 || !(S_ISFIFO(st.st_mode) || isatty(STDERR_FILENO)))
		return;
	/* Not O_NONBLOCK on the file that is there: a shell, or an init, has it too. */
	fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)dup2(fd, STDERR_FILENO);
	(void)close(fd);
}

const char *log_level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error";
	case LOG_LEVEL_WARNING:
		return "warning";
	case LOG_LEVEL_INFO:
		return "info";
	case LOG_LEVEL_DEBUG:
		return "debug";
	}
	return "?";
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
	static const enum log_level levels[] = {
		LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (strcmp(text, log_level_name(levels[i])) == 0) {
			*ret_level = levels[i];
			return 0;
		}
	return -EINVAL;
}

unsigned long log_dropped(void)
{
	return dropped;
}

void log_line(enum log_level level, const char *format, ...)
{
	char line[1024];
	int used, saved = errno;
	ssize_t n;
	va_list args;

	if (level > highest_level)
		return;
	if (to_journal)
		used = snprintf(line, sizeof(line), "<%d>%s: ", (int)level, program_name);
	else
		used = snprintf(
			line, sizeof(line), "%s: %s: ", program_name, log_level_name(level));
	va_start(args, format);
	(void)vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, args);
	va_end(args);
	used = (int)strlen(line);
	line[used++] = '\n';
	/* Once, and without waiting where that can be had: the journal may be stuck on a frozen
	 * disk. */
	n = send(STDERR_FILENO, line, (size_t)used, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno == ENOTSOCK)
		n = write(STDERR_FILENO, line, (size_t)used);
	if (n != used)
		dropped++;
	errno = saved;
}
