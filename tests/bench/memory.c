/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What processes of a guest take, told to the host: serves AF_VSOCK.
 *
 *   memory PORT NAME...
 *
 * Each connection gets one line for each process whose command name begins with a NAME, and is
 * closed: "PID COMMAND PSS_KIB PRIVATE_DIRTY_KIB SWITCHES", the last the context switches of all
 * its threads, voluntary or not. A process that ends while it is looked at is left out.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define PATH_SIZE 320
#define LINE_SIZE 256

/* The sum of the numbers behind "key:" in a file of /proc; -1 when it cannot be read. */
static long sum_of(const char *path, const char *key)
{
	FILE *file = fopen(path, "re");
	size_t key_len = strlen(key);
	char line[LINE_SIZE];
	long sum = -1;

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, key, key_len) == 0 && line[key_len] == ':')
			sum = (sum < 0 ? 0 : sum) + strtol(line + key_len + 1, NULL, 10);
	(void)fclose(file);
	return sum;
}

static long switches_of(const char *pid, const char *kind)
{
	char path[PATH_SIZE];
	struct dirent *entry;
	long sum = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%.20s/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(
			path, sizeof(path), "/proc/%.20s/task/%.20s/status", pid, entry->d_name);
		sum += sum_of(path, kind);
	}
	if (dir)
		(void)closedir(dir);
	return sum;
}

static bool read_command(const char *pid, char command[LINE_SIZE])
{
	char path[PATH_SIZE];
	FILE *file;
	bool ok;

	(void)snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	file = fopen(path, "re");
	ok = file && fgets(command, LINE_SIZE, file);
	if (file)
		(void)fclose(file);
	if (ok)
		command[strcspn(command, "\n")] = '\0';
	return ok;
}

static void tell(FILE *to, const char *pid, char **names)
{
	char command[LINE_SIZE], path[PATH_SIZE];
	long pss, dirty;

	if (!isdigit((unsigned char)pid[0]) || !read_command(pid, command))
		return;
	while (*names && strncmp(command, *names, strlen(*names)) != 0)
		names++;
	(void)snprintf(path, sizeof(path), "/proc/%.20s/smaps_rollup", pid);
	if (!*names || (pss = sum_of(path, "Pss")) < 0 ||
		(dirty = sum_of(path, "Private_Dirty")) < 0)
		return;
	(void)fprintf(to, "%s %s %ld %ld %ld %ld\n", pid, command, pss, dirty,
		switches_of(pid, "voluntary_ctxt_switches"),
		switches_of(pid, "nonvoluntary_ctxt_switches"));
}

static void serve(int fd, char **names)
{
	FILE *to = fdopen(fd, "w");
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (to && proc && (entry = readdir(proc)))
		tell(to, entry->d_name, names);
	if (proc)
		(void)closedir(proc);
	if (to)
		(void)fclose(to);
	else
		(void)close(fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};
	int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc < 3) {
		(void)fputs("usage: memory PORT NAME...\n", stderr);
		return 2;
	}
	address.svm_port = (unsigned)strtoul(argv[1], NULL, 10);
	(void)signal(SIGPIPE, SIG_IGN);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(listener, 8) < 0) {
		perror("memory");
		return 1;
	}
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			serve(fd, argv + 2);
	}
}
