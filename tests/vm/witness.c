/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tests' eyes and hands inside a guest: serves vsock port 4000 with one-line commands, each
 * answered by "ok TEXT" or "no ERRNO". Static, no agent code: what it says is the kernel's own
 * word.
 *
 *   read PATH             the first 4096 bytes of a file
 *   write PATH TEXT       replaces a file
 *   exists PATH           whether lstat() finds it; "ok INODE SIZE MODE"
 *   unlink PATH
 *   fill PATH             writes a file for as long as the disk takes it; "ok BYTES"
 *   mounts                /proc/mounts
 *   hold PATH             opens a file and keeps it; "ok PID FD"
 *   release FD            closes it again
 *   mount SOURCE TARGET TYPE, umount TARGET
 *   mkdir PATH
 *   connect CID PORT      dials out; "ok" and the text that the other side sends
 *   kill PID SIGNAL
 *   statfs PATH           asks a file system; may hang, then in a child that is left alone
 *   sync
 *   swapon FILE, swapoff FILE
 *   loop FILE             puts a loop device on a file; "ok DEVICE"
 *   unloop DEVICE
 *   freeze PATH, thaw PATH   keeps writers of that file system waiting, until it is thawed
 *   listen PORT           a TCP server on the loopback address that takes connections and is silent
 *   run COMMAND           a line for the shell, which is waited for; "ok STATUS OUTPUT"
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/vm_sockets.h>

#define PORT 4000
#define SIZE 65536

static char answer[SIZE];

static int read_file(const char *path, char *to, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -1;
	while (len < size - 1 && (n = read(fd, to + len, size - 1 - len)) > 0)
		len += (size_t)n;
	to[len] = '\0';
	(void)close(fd);
	return n < 0 ? -1 : 0;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int r = fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ? -1 : 0;

	if (fd >= 0 && close(fd) < 0)
		r = -1;
	return r;
}

static int fill(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	static const char zeros[4096];
	long total = 0;
	ssize_t n = 0;

	while (fd >= 0 && (n = write(fd, zeros, sizeof(zeros))) > 0)
		total += n;
	(void)snprintf(answer, SIZE, "%ld", total);
	return fd < 0 || errno != ENOSPC ? -1 : close(fd);
}

static int look(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return -1;
	(void)snprintf(answer, SIZE, "%lu %ld %o", st.st_ino, st.st_size, st.st_mode);
	return 0;
}

static int dial(unsigned int cid, unsigned int port, char *to, size_t size)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ssize_t n;

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int saved = errno;

		if (fd >= 0)
			(void)close(fd);
		errno = saved;
		return -1;
	}
	n = read(fd, to, size - 1);
	to[n > 0 ? n : 0] = '\0';
	(void)close(fd);
	return 0;
}

static int hang_on(const char *path)
{
	pid_t pid = fork();
	struct statfs fs;

	if (pid == 0)
		_exit(statfs(path, &fs) < 0);
	return pid < 0 ? -1 : snprintf(answer, SIZE, "%d", pid) * 0;
}

static int loop_on(const char *path)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	int file = open(path, O_RDWR | O_CLOEXEC), device = -1, r = -1;

	if (number >= 0 && file >= 0) {
		(void)snprintf(answer, SIZE, "/dev/loop%d", number);
		device = open(answer, O_RDWR | O_CLOEXEC);
	}
	if (device >= 0)
		r = ioctl(device, LOOP_SET_FD, file);
	(void)close(device);
	(void)close(file);
	(void)close(control);
	return r;
}

static int loop_off(const char *path)
{
	int device = open(path, O_RDWR | O_CLOEXEC);
	int r = device < 0 ? -1 : ioctl(device, LOOP_CLR_FD);

	if (device >= 0)
		(void)close(device);
	return r;
}

/* Children are otherwise reaped by themselves; this one's end is wanted. */
static int run_shell(const char *line)
{
	static char command[SIZE + 32];
	size_t len = 0, n;
	FILE *pipe;
	int status;

	(void)snprintf(command, sizeof(command), "exec 2>&1 </dev/null; %s", line);
	(void)signal(SIGCHLD, SIG_DFL);
	pipe = popen(command, "re");
	if (!pipe)
		return -1;
	/* The status goes in front once it is known. */
	while (len < SIZE - 16 && (n = fread(answer + 8 + len, 1, SIZE - 16 - len, pipe)) > 0)
		len += n;
	answer[8 + len] = '\0';
	status = pclose(pipe);
	(void)signal(SIGCHLD, SIG_IGN);
	(void)snprintf(command, sizeof(command), "%7d",
		WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	memcpy(answer, command, 7);
	answer[7] = ' ';
	return 0;
}

static int change(const char *path, unsigned long request)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = fd < 0 ? -1 : ioctl(fd, request, 0);

	if (fd >= 0)
		(void)close(fd);
	return r;
}

static int be_mute(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* The kernel answers for it: nobody ever accepts. */
	return fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -1
										    : listen(fd, 8);
}

static int run_words(char *line)
{
	char *rest = NULL, *command = strtok_r(line, " ", &rest);
	char *a = strtok_r(NULL, " ", &rest), *b = strtok_r(NULL, " ", &rest);
	char *c = strtok_r(NULL, " ", &rest);

	answer[0] = '\0';
	errno = EINVAL;
	if (!command)
		return -1;
	if (strcmp(command, "mounts") == 0)
		return read_file("/proc/mounts", answer, SIZE);
	if (strcmp(command, "sync") == 0) {
		sync();
		return 0;
	}
	if (!a)
		return -1;
	if (strcmp(command, "read") == 0)
		return read_file(a, answer, 4097);
	if (strcmp(command, "exists") == 0)
		return look(a);
	if (strcmp(command, "unlink") == 0)
		return unlink(a);
	if (strcmp(command, "fill") == 0)
		return fill(a);
	if (strcmp(command, "mkdir") == 0)
		return mkdir(a, 0755);
	if (strcmp(command, "umount") == 0)
		return umount2(a, 0);
	if (strcmp(command, "release") == 0)
		return close(atoi(a));
	if (strcmp(command, "swapon") == 0)
		return swapon(a, 0);
	if (strcmp(command, "swapoff") == 0)
		return swapoff(a);
	if (strcmp(command, "loop") == 0)
		return loop_on(a);
	if (strcmp(command, "unloop") == 0)
		return loop_off(a);
	if (strcmp(command, "statfs") == 0)
		return hang_on(a);
	if (strcmp(command, "freeze") == 0)
		return change(a, FIFREEZE);
	if (strcmp(command, "thaw") == 0)
		return change(a, FITHAW);
	if (strcmp(command, "listen") == 0)
		return be_mute(atoi(a));
	if (strcmp(command, "hold") == 0) {
		int fd = open(a, O_RDONLY | O_CLOEXEC);

		(void)snprintf(answer, SIZE, "%d %d", getpid(), fd);
		return fd < 0 ? -1 : 0;
	}
	if (!b)
		return -1;
	if (strcmp(command, "write") == 0)
		return write_file(a, b);
	if (strcmp(command, "kill") == 0)
		return kill(atoi(a), atoi(b));
	if (strcmp(command, "connect") == 0)
		return dial((unsigned int)strtoul(a, NULL, 10), (unsigned int)strtoul(b, NULL, 10),
			answer, SIZE);
	if (strcmp(command, "mount") == 0 && c)
		return mount(a, b, c, 0, NULL);
	return -1;
}

/* Runs one command; answer holds the text. 0, or -1 with errno. */
static int run(char *line)
{
	return strncmp(line, "run ", 4) == 0 ? run_shell(line + 4) : run_words(line);
}

static void serve(int fd)
{
	char line[SIZE];
	size_t len = 0;
	ssize_t n;

	while (len < SIZE - 1 && (n = read(fd, line + len, SIZE - 1 - len)) > 0) {
		char *end;

		len += (size_t)n;
		line[len] = '\0';
		while ((end = strchr(line, '\n'))) {
			char head[64];
			int r;

			*end = '\0';
			r = run(line);
			(void)snprintf(head, sizeof(head), "%s %zu ", r < 0 ? "no" : "ok",
				r < 0 ? (size_t)errno : strlen(answer));
			if (write(fd, head, strlen(head)) < 0 ||
				(r == 0 && answer[0] && write(fd, answer, strlen(answer)) < 0))
				return;
			len -= (size_t)(end + 1 - line);
			memmove(line, end + 1, len + 1);
		}
	}
}

int main(void)
{
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = PORT};
	int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)signal(SIGCHLD, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(listener, 8) < 0) {
		perror("witness");
		return 1;
	}
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		serve(fd);
		(void)close(fd);
	}
}
