/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What stays as it is while a disk is there, and its numbers as they are now. */
/* needs: agent/methods/worker/disk_facts.c proto/copy/open.c */
/* needs: agent/methods/worker/disk_bus.c agent/methods/call.c */
/* libs: mount */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/disk_facts.h"
#include "proto/cleanup.h"

#define PCI "devices/pci0000:00/0000:00:04.0/virtio1/block/"

/* As sysfs has it: NAME in class/block leads to a folder of devices. */
struct tree {
	char path[32];
	int root, block; /* owned */
	struct arena arena;
	struct call call;
};

static void put(const struct tree *tree, const char *text, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void put(const struct tree *tree, const char *text, const char *format, ...)
{
	AUTO_CLOSE int fd = -EBADF;
	char path[256];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(path, sizeof(path), format, ap);
	va_end(ap);
	fd = openat(tree->root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void make_folder(const struct tree *tree, const char *path)
{
	assert_int_equal(mkdirat(tree->root, path, 0700), 0);
}

/* A disk where="devices/..." and name, or a partition, with where="devices/.../DISK/". */
static void add(const struct tree *tree, const char *where, const char *name)
{
	char path[160], target[192], link[64];

	(void)snprintf(path, sizeof(path), "%s%s", where, name);
	(void)snprintf(target, sizeof(target), "../../%.180s", path);
	(void)snprintf(link, sizeof(link), "class/block/%s", name);
	make_folder(tree, path);
	assert_int_equal(symlinkat(target, tree->root, link), 0);
	put(tree, "8:1\n", "%s/dev", path);
	put(tree, "2048\n", "%s/size", path);
	put(tree, "0\n", "%s/ro", path);
}

static void start(struct tree *tree)
{
	static const char *const folders[] = {"class", "class/block", "devices",
		"devices/pci0000:00", "devices/pci0000:00/0000:00:04.0",
		"devices/pci0000:00/0000:00:04.0/virtio1",
		"devices/pci0000:00/0000:00:04.0/virtio1/block"};

	*tree = (struct tree){.path = "/tmp/postern-unit-XXXXXX"};
	assert_non_null(mkdtemp(tree->path));
	tree->root = open(tree->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		make_folder(tree, folders[i]);
	tree->block = openat(tree->root, "class/block", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	arena_init(&tree->arena, 1 << 20);
	tree->call.arena = &tree->arena;
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	(void)st;
	(void)what;
	(void)ftw;
	return remove(path);
}

static void end(struct tree *tree)
{
	(void)fd_close(tree->block);
	(void)fd_close(tree->root);
	arena_done(&tree->arena);
	assert_int_equal(nftw(tree->path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

UNIT(a_disk_and_its_partition)
{
	struct disk_memo memo = {0};
	const struct disk_facts *facts;
	struct tree tree;

	start(&tree);
	add(&tree, PCI, "vda");
	make_folder(&tree, PCI "vda/queue");
	put(&tree, "4096\n", PCI "vda/queue/logical_block_size");
	put(&tree, "1\n", PCI "vda/queue/rotational");
	put(&tree, "fast\n", PCI "vda/serial");
	add(&tree, PCI "vda/", "vda10");
	add(&tree, PCI "vda/", "vda2");
	put(&tree, "2\n", PCI "vda/vda2/partition");
	put(&tree, "10\n", PCI "vda/vda10/partition");
	assert_int_equal(disk_memo_read(&memo, &tree.call, tree.block), 0);
	facts = memo.facts;
	assert_int_equal(memo.n, 3);
	assert_string_equal(facts[0].name, "vda");
	assert_string_equal((const char *)facts[0].disk.serial.data, "fast");
	assert_string_equal((const char *)facts[0].disk.pci_address.data, "0000:00:04.0");
	assert_string_equal(facts[1].name, "vda2");
	assert_string_equal((const char *)facts[1].disk.parent.data, "vda");
	assert_int_equal(facts[2].disk.partition, 10);
	for (size_t i = 0; i < memo.n; i++)
		assert_int_equal(disk_facts_number(&facts[i], tree.block, DISK_BLOCK_SIZE), 4096);
	assert_int_equal(disk_facts_number(&facts[0], tree.block, DISK_ROTATIONAL), 1);
	assert_int_equal(disk_facts_number(&facts[1], tree.block, DISK_ROTATIONAL), 0);
	disk_memo_clear(&memo);
	end(&tree);
}

/* Few are kept open, many are not: it is all the same. */
static void check_numbers(unsigned int disks)
{
	struct disk_memo memo = {0};
	const struct disk_facts *facts;
	struct tree tree;
	char name[16];

	start(&tree);
	for (unsigned int i = 0; i < disks; i++) {
		(void)snprintf(name, sizeof(name), "vd%u", i);
		add(&tree, PCI, name);
	}
	assert_int_equal(disk_memo_read(&memo, &tree.call, tree.block), 0);
	facts = memo.facts;
	assert_int_equal(memo.n, disks);
	assert_int_equal(facts[0].fds[DISK_SIZE] >= 0, disks < 10);
	assert_int_equal(disk_facts_number(&facts[1], tree.block, DISK_SIZE), 2048);
	put(&tree, "4096\n", PCI "vd1/size");
	put(&tree, "1\n", PCI "vd1/ro");
	assert_int_equal(disk_facts_number(&facts[1], tree.block, DISK_SIZE), 4096);
	assert_int_equal(disk_facts_number(&facts[1], tree.block, DISK_READ_ONLY), 1);
	assert_int_equal(disk_facts_number(&facts[0], tree.block, DISK_READ_ONLY), 0);
	assert_int_equal(unlinkat(tree.block, "vd1", 0), 0);
	/* What is missing is told from what is nothing. */
	assert_int_equal(disk_facts_number(&facts[1], tree.block, DISK_ROTATIONAL), -ENODEV);
	assert_int_equal(disk_facts_number(&facts[0], tree.block, DISK_ROTATIONAL), 0);
	disk_memo_clear(&memo);
	end(&tree);
}

UNIT(numbers_of_few_disks)
{
	check_numbers(2);
}

UNIT(numbers_of_many_disks)
{
	check_numbers(60);
}

UNIT(what_was_read_holds_until_the_kernel_tells)
{
	struct disk_memo memo = {0};
	struct tree tree;

	start(&tree);
	add(&tree, PCI, "vda");
	assert_int_equal(disk_memo_read(&memo, &tree.call, tree.block), 0);
	assert_int_equal(memo.n, 1);
	assert_true(memo.uevents > 0);
	add(&tree, PCI, "vdb");
	memo.uevents--;
	assert_int_equal(disk_memo_read(&memo, &tree.call, tree.block), 0);
	assert_int_equal(memo.n, 2);
	disk_memo_clear(&memo);
	end(&tree);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		RUN(a_disk_and_its_partition),
		RUN(numbers_of_few_disks),
		RUN(numbers_of_many_disks),
		RUN(what_was_read_holds_until_the_kernel_tells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
