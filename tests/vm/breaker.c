/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Breaks things in a test's guest. Static, no agent code.
 *
 *   map NAME LINE...   makes a device-mapper device, or gives it another table at once: a line an
 *                      argument ("0 8 linear /dev/vda 0"); writes where its node is
 *   unmap NAME
 *   fuse DIR ASKED     mounts a file system with one file, "file" ("hello"). Its server, which
 *                      stays and whose pid is written, does not answer ASKED: lookup, getattr,
 *                      open, read, readdir, none; nothing: it does not even read its questions
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/dm-ioctl.h>
#include <linux/fuse.h>

static int fail(const char *what)
{
	(void)fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 1;
}

/* ---- device mapper ---- */

#define TABLE_BYTES 16384

static union {
	struct dm_ioctl io;
	char bytes[TABLE_BYTES];
} table;

static void begin(const char *name, unsigned int flags)
{
	memset(&table, 0, sizeof(table));
	table.io.version[0] = DM_VERSION_MAJOR;
	table.io.data_size = sizeof(table);
	table.io.data_start = sizeof(table.io);
	table.io.flags = flags;
	(void)snprintf(table.io.name, sizeof(table.io.name), "%s", name);
}

/* "START LENGTH TYPE PARAMETERS" behind what is there; the offset of the next one, or 0. */
static size_t add_line(size_t at, const char *line)
{
	struct dm_target_spec *spec = (struct dm_target_spec *)(table.bytes + at);
	char *text = (char *)(spec + 1);
	unsigned long long start, length;
	int rest = 0;
	size_t len;

	if (sscanf(line, "%llu %llu %15s %n", &start, &length, spec->target_type, &rest) < 3)
		return 0;
	len = strlen(line + rest) + 1;
	if (at + sizeof(*spec) + len + 8 > sizeof(table))
		return 0;
	spec->sector_start = start;
	spec->length = length;
	memcpy(text, line + rest, len);
	spec->next = (unsigned int)((sizeof(*spec) + len + 7) & ~(size_t)7);
	table.io.target_count++;
	return at + spec->next;
}

/* What is under way is not waited for, and nothing is written for it: the old table may not be able
 * to. */
static int map(int control, const char *name, char **lines)
{
	size_t at = sizeof(table.io);

	begin(name, 0);
	if (ioctl(control, DM_DEV_CREATE, &table) < 0 && errno != EBUSY)
		return fail("create");
	begin(name, 0);
	for (; *lines; lines++) {
		at = add_line(at, *lines);
		errno = EINVAL;
		if (at == 0)
			return fail(*lines);
	}
	if (ioctl(control, DM_TABLE_LOAD, &table) < 0)
		return fail("load");
	begin(name, DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG | DM_NOFLUSH_FLAG);
	if (ioctl(control, DM_DEV_SUSPEND, &table) < 0)
		return fail("suspend");
	begin(name, 0);
	if (ioctl(control, DM_DEV_SUSPEND, &table) < 0)
		return fail("resume");
	(void)printf("/dev/dm-%u\n", minor((dev_t)table.io.dev));
	return 0;
}

static int unmap(int control, const char *name)
{
	begin(name, 0);
	return ioctl(control, DM_DEV_REMOVE, &table) < 0 ? fail("remove") : 0;
}

/* ---- FUSE ---- */

#define ROOT    FUSE_ROOT_ID
#define FILE_ID 2
#define TEXT    "hello"

static const struct {
	const char *name;
	unsigned int opcode;
} asked[] = {{"lookup", FUSE_LOOKUP}, {"getattr", FUSE_GETATTR}, {"open", FUSE_OPEN},
	{"read", FUSE_READ}, {"readdir", FUSE_READDIR}, {"none", ~0u}, {"nothing", 0}};

static void describe(struct fuse_attr *attr, unsigned long long id)
{
	attr->ino = id;
	attr->mode = id == ROOT ? S_IFDIR | 0755 : S_IFREG | 0644;
	attr->nlink = 1;
	attr->size = id == ROOT ? 0 : strlen(TEXT);
	attr->blksize = 4096;
}

static void answer(int fd, unsigned long long unique, int error, const void *body, size_t size)
{
	char bytes[512];
	struct fuse_out_header out = {
		.len = (unsigned int)(sizeof(out) + size), .error = error, .unique = unique};

	memcpy(bytes, &out, sizeof(out));
	if (size > 0)
		memcpy(bytes + sizeof(out), body, size);
	/* Who asked may be gone by now. */
	if (write(fd, bytes, sizeof(out) + size) < 0)
		return;
}

static void answer_lookup(int fd, const struct fuse_in_header *in, const char *name)
{
	struct fuse_entry_out out = {.nodeid = FILE_ID};

	describe(&out.attr, FILE_ID);
	if (strcmp(name, "file") == 0)
		answer(fd, in->unique, 0, &out, sizeof(out));
	else
		answer(fd, in->unique, -ENOENT, NULL, 0);
}

static void answer_readdir(int fd, const struct fuse_in_header *in, const struct fuse_read_in *read)
{
	struct {
		struct fuse_dirent entry;
		char name[8];
	} out = {.entry = {.ino = FILE_ID, .off = 1, .namelen = 4, .type = S_IFREG >> 12},
		.name = "file"};

	answer(fd, in->unique, 0, &out, read->offset > 0 ? 0 : FUSE_DIRENT_SIZE(&out.entry));
}

static void answer_one(int fd, const struct fuse_in_header *in, const void *body)
{
	struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096};
	struct fuse_attr_out attr = {0};
	struct fuse_open_out open = {0};

	switch (in->opcode) {
	case FUSE_INIT:
		answer(fd, in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		answer_lookup(fd, in, body);
		break;
	case FUSE_GETATTR:
		describe(&attr.attr, in->nodeid);
		answer(fd, in->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		answer(fd, in->unique, 0, &open, sizeof(open));
		break;
	case FUSE_READ:
		answer(fd, in->unique, 0, TEXT,
			((const struct fuse_read_in *)body)->offset > 0 ? 0 : strlen(TEXT));
		break;
	case FUSE_READDIR:
		answer_readdir(fd, in, body);
		break;
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_FLUSH:
		answer(fd, in->unique, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		answer(fd, in->unique, -ENOSYS, NULL, 0);
	}
}

/* What was read and is not answered keeps its asker, whatever signal it gets. */
static void serve(int fd, unsigned int unanswered)
{
	static union {
		struct fuse_in_header in;
		char bytes[FUSE_MIN_READ_BUFFER + 4096];
	} request;

	for (;;) {
		ssize_t n = unanswered == 0 ? pause() : read(fd, &request, sizeof(request));

		if (n < 0 && errno == ENODEV)
			_exit(0); /* unmounted */
		if (n >= (ssize_t)sizeof(request.in) && request.in.opcode != unanswered)
			answer_one(fd, &request.in, &request.in + 1);
	}
}

static int fuse(const char *dir, const char *what)
{
	unsigned int unanswered = ~0u;
	char options[128];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	pid_t pid;

	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
		if (strcmp(asked[i].name, what) == 0)
			unanswered = asked[i].opcode;
	if (fd < 0)
		return fail("/dev/fuse");
	(void)snprintf(options, sizeof(options),
		"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
	if (mount("breaker", dir, "fuse", MS_NOSUID | MS_NODEV, options) < 0)
		return fail(dir);
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 3; i++)
			(void)close(i);
		serve(fd, unanswered);
	}
	(void)printf("%d\n", pid);
	return pid < 0 ? fail("fork") : 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "fuse") == 0)
		return fuse(argv[2], argv[3]);
	if (argc >= 3) {
		int control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);

		if (control < 0)
			return fail("/dev/mapper/control");
		if (strcmp(argv[1], "map") == 0)
			return map(control, argv[2], argv + 3);
		if (strcmp(argv[1], "unmap") == 0)
			return unmap(control, argv[2]);
	}
	(void)fprintf(stderr, "usage: breaker map|unmap|fuse ...\n");
	return 2;
}
