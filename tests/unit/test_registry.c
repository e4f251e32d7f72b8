/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Entries of the registry: claims, locks, leftovers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/common/file.h"
#include "host/common/remove.h"
#include "host/common/vm_files.h"
#include "host/lib/environment.h"
#include "host/lib/postern.h"
#include "host/lib/registry.h"

static char root[64];

static int make_root(void **state)
{
	(void)state;
	(void)strcpy(root, "/tmp/postern-test-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	return setenv("POSTERN_RUNTIME_DIR", root, 1);
}

static int drop_root(void **state)
{
	(void)state;
	return remove_tree(root);
}

static void one_name_is_one_vm(void **state)
{
	struct registry_entry first, second;
	struct postern_error error = {0};

	(void)state;
	assert_int_equal(registry_claim("web", 0, false, &first, &error), 0);
	assert_int_equal(first.lease.cid, 3);
	assert_int_equal(registry_claim("web", 0, false, &second, &error), -EEXIST);
	assert_int_equal(error.failure, POSTERN_ANSWERED);
	assert_string_equal(error.message, "a VM web is running already");
	/* Its lock is gone with its supervisor; the name is free again. */
	registry_entry_done(&first);
	assert_int_equal(registry_claim("web", 0, false, &second, &error), 0);
	registry_entry_done(&second);
}

/* The claim is the lock, not the process: a supervisor inherits it. */
static void lock_is_inherited(void **state)
{
	struct registry_entry entry, other;
	int status, pipe_fds[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(registry_claim("web", 0, false, &entry, NULL), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char byte;

		(void)close(pipe_fds[1]);
		(void)!read(pipe_fds[0], &byte, 1);
		_exit(0);
	}
	registry_entry_done(&entry);
	assert_int_equal(registry_claim("web", 0, false, &other, NULL), -EEXIST);
	(void)close(pipe_fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(registry_claim("web", 0, false, &other, NULL), 0);
	registry_entry_done(&other);
	(void)close(pipe_fds[0]);
}

static void looking_takes_no_lock(void **state)
{
	struct registry_entry entry, other;
	char dir[PATH_MAX];
	bool live;
	int dir_fd;

	(void)state;
	assert_int_equal(registry_claim("web", 0, false, &entry, NULL), 0);
	assert_int_equal(registry_open("web", dir, &dir_fd, &live, NULL), 0);
	assert_true(live);
	registry_entry_done(&entry);
	assert_false(registry_is_live(dir_fd));
	assert_int_equal(registry_claim("web", 0, false, &other, NULL), 0);
	assert_true(registry_is_live(dir_fd));
	registry_entry_done(&other);
	(void)close(dir_fd);
}

static void cids_are_unique_among_the_living(void **state)
{
	struct registry_entry a, b, c, d;
	struct postern_error error = {0};
	char dir[PATH_MAX];
	bool live;
	int fd;

	(void)state;
	assert_int_equal(registry_claim("a", 0, false, &a, NULL), 0);
	assert_int_equal(registry_claim("b", 0, false, &b, NULL), 0);
	assert_int_equal(a.lease.cid, 3);
	assert_int_equal(b.lease.cid, 4);
	assert_int_equal(registry_claim("c", 4, false, &c, &error), -EADDRINUSE);
	assert_string_equal(error.message, "another VM has the CID 4");
	/* The refused one left nothing. */
	assert_int_equal(registry_open("c", dir, &fd, &live, &error), -ENOENT);
	assert_int_equal(error.failure, POSTERN_ABSENT);
	registry_entry_done(&a);
	assert_int_equal(registry_claim("d", 0, false, &d, NULL), 0);
	assert_int_equal(d.lease.cid, 3);
	registry_entry_done(&b);
	registry_entry_done(&d);
}

static void names_are_made_up(void **state)
{
	struct registry_entry a, b, c;

	(void)state;
	assert_int_equal(registry_claim(NULL, 0, false, &a, NULL), 0);
	assert_int_equal(registry_claim(NULL, 0, false, &b, NULL), 0);
	assert_string_equal(a.name, "vm1");
	assert_string_equal(b.name, "vm2");
	registry_entry_done(&a);
	assert_int_equal(registry_claim(NULL, 0, false, &c, NULL), 0);
	assert_string_equal(c.name, "vm1");
	registry_entry_done(&b);
	registry_entry_done(&c);
}

static void bad_names_are_refused(void **state)
{
	static const char *const names[] = {"", ".", "..", ".lock", "-x", "_x", "A", "a/b/c", "A/b",
		"a b", "a\n", "\xc3\xa4",
		"0123456789012345678901234567890123456789012345678901234567890123"};
	struct registry_entry entry;
	struct postern_error error = {0};
	char dir[PATH_MAX];
	bool live;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(registry_claim(names[i], 0, false, &entry, &error), -EINVAL);
		assert_int_equal(error.failure, POSTERN_USAGE);
		assert_true(registry_open(names[i], dir, &fd, &live, &error) < 0);
	}
}

static void environments_have_names_of_their_own(void **state)
{
	struct registry_entry a, b, c;
	char env[64], own[64], **envs;
	size_t n;

	(void)state;
	assert_int_equal(registry_envs(&envs, &n, NULL), 0);
	assert_int_equal(n, 1);
	registry_names_free(envs, n);
	assert_int_equal(registry_claim("web", 0, false, &a, NULL), 0);
	assert_int_equal(registry_claim("test/web", 0, false, &b, NULL), 0);
	assert_string_equal(a.full, "/web");
	assert_string_equal(b.full, "test/web");
	assert_string_equal(b.name, "web");
	assert_int_equal(registry_claim("test/", 0, false, &c, NULL), 0);
	assert_string_equal(c.full, "test/vm1");
	assert_int_equal(registry_envs(&envs, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_string_equal(envs[0], "");
	assert_string_equal(envs[1], "test");
	registry_names_free(envs, n);
	assert_int_equal(setenv("POSTERN_ENV", "test", 1), 0);
	assert_int_equal(env_split("web", env, own, NULL), 0);
	assert_string_equal(env, "test");
	assert_int_equal(env_split("default/web", env, own, NULL), 0);
	assert_string_equal(env, "");
	assert_string_equal(own, "web");
	assert_int_equal(registry_names(NULL, &envs, &n, NULL), 0);
	assert_int_equal(n, 2);
	registry_names_free(envs, n);
	assert_int_equal(unsetenv("POSTERN_ENV"), 0);
	registry_entry_done(&a);
	registry_entry_done(&b);
	registry_entry_done(&c);
}

/* A lease is the lock, not the file and not the process. */
static void leases_are_inherited_and_stale_ones_taken_over(void **state)
{
	struct lease first, second;
	struct postern_error error = {0};
	json_t *list;
	int copy;

	(void)state;
	assert_int_equal(lease_claim(root, "web", 0, false, &first, &error), 0);
	assert_int_equal(first.cid, 3);
	copy = dup(first.fd);
	lease_done(&first);
	assert_int_equal(lease_claim(root, "db", 3, false, &second, &error), -EADDRINUSE);
	assert_int_equal(lease_list(root, &list, &error), 0);
	assert_int_equal(json_array_size(list), 1);
	assert_true(json_is_true(json_object_get(json_array_get(list, 0), "held")));
	json_decref(list);
	(void)close(copy);
	assert_int_equal(lease_list(root, &list, &error), 0);
	assert_true(json_is_false(json_object_get(json_array_get(list, 0), "held")));
	json_decref(list);
	assert_int_equal(lease_claim(root, "db", 3, false, &second, &error), 0);
	lease_done(&second);
	assert_int_equal(lease_list(root, &list, &error), 0);
	assert_int_equal(json_array_size(list), 0);
	json_decref(list);
}

static void claim_clears_leftovers_but_not_shares(void **state)
{
	struct registry_entry entry;

	(void)state;
	assert_int_equal(registry_claim("web", 0, false, &entry, NULL), 0);
	assert_int_equal(file_replace(entry.dir_fd, VM_FILE_END, "{}", 2, 0600), 0);
	assert_int_equal(file_replace(entry.dir_fd, "console.log", "x", 1, 0600), 0);
	assert_int_equal(file_replace(entry.dir_fd, VM_FILE_SHARES, "{}", 2, 0600), 0);
	registry_entry_done(&entry);
	assert_int_equal(registry_claim("web", 0, false, &entry, NULL), 0);
	assert_int_not_equal(faccessat(entry.dir_fd, VM_FILE_END, F_OK, 0), 0);
	assert_int_not_equal(faccessat(entry.dir_fd, "console.log", F_OK, 0), 0);
	assert_int_equal(faccessat(entry.dir_fd, VM_FILE_SHARES, F_OK, 0), 0);
	registry_entry_done(&entry);
}

/* A supervisor that was killed leaves sockets and no record. */
static void killed_supervisor_is_seen(void **state)
{
	struct registry_entry entry;
	struct postern_vm **vms, *vm;
	size_t n;
	char *address;

	(void)state;
	assert_int_equal(registry_claim("web", 0, false, &entry, NULL), 0);
	assert_int_equal(file_replace(entry.dir_fd, VM_FILE_CONTROL, "", 0, 0600), 0);
	registry_entry_done(&entry);
	assert_int_equal(postern_list(NULL, &vms, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(postern_vm_status(vms[0]), POSTERN_VM_TERMINATED);
	assert_true(postern_vm_uptime_ms(vms[0]) == UINT64_MAX);
	postern_vms_free(vms, n);
	assert_int_equal(postern_vm_address("web", &address, NULL), -ENOENT);
	assert_int_equal(postern_vm_info("web", &vm, NULL), 0);
	assert_string_equal(postern_vm_reason(vm), "its supervisor was killed");
	postern_vm_free(vm);
	assert_int_equal(postern_forget("web", NULL), 0);
	assert_int_equal(postern_vm_info("web", &vm, NULL), -ENOENT);
}

static void living_vm_is_not_forgotten(void **state)
{
	struct registry_entry entry;

	(void)state;
	assert_int_equal(registry_claim("web", 0, false, &entry, NULL), 0);
	assert_int_equal(postern_forget("web", NULL), -EBUSY);
	registry_entry_done(&entry);
}

static void folder_of_others_is_refused(void **state)
{
	struct registry_entry entry;
	struct postern_error error = {0};

	(void)state;
	assert_int_equal(chmod(root, 0755), 0);
	assert_int_equal(registry_claim("web", 0, false, &entry, &error), -EPERM);
	assert_int_equal(error.failure, POSTERN_REFUSED);
	assert_int_equal(chmod(root, 0700), 0);
}

static void path_too_long_for_a_socket_is_refused(void **state)
{
	struct registry_entry entry;
	struct postern_error error = {0};
	char path[256];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/%0150d", root, 1);
	assert_int_equal(setenv("POSTERN_RUNTIME_DIR", path, 1), 0);
	assert_int_equal(registry_claim("web", 0, false, &entry, &error), -ENAMETOOLONG);
	assert_int_equal(error.failure, POSTERN_USAGE);
}

static void addresses_come_back_as_they_are(void **state)
{
	char *address = NULL;

	(void)state;
	assert_int_equal(postern_vm_address("vsock:5:99", &address, NULL), 0);
	assert_string_equal(address, "vsock:5:99");
	free(address);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, drop_root)
	const struct CMUnitTest tests[] = {
		TEST(one_name_is_one_vm),
		TEST(lock_is_inherited),
		TEST(looking_takes_no_lock),
		TEST(cids_are_unique_among_the_living),
		TEST(names_are_made_up),
		TEST(bad_names_are_refused),
		TEST(environments_have_names_of_their_own),
		TEST(leases_are_inherited_and_stale_ones_taken_over),
		TEST(claim_clears_leftovers_but_not_shares),
		TEST(killed_supervisor_is_seen),
		TEST(living_vm_is_not_forgotten),
		TEST(folder_of_others_is_refused),
		TEST(path_too_long_for_a_socket_is_refused),
		TEST(addresses_come_back_as_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
