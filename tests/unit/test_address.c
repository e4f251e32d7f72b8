/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Addresses of agents as people write them. */
#include "tests/unit/unit.h"

#include <sys/un.h>

#include <linux/vm_sockets.h>

#include "proto/client/address.h"
#include "proto/limits.h"

static struct address parse(const char *text)
{
	struct address address;
	const char *why;

	if (address_parse(text, &address, &why) != 0)
		fail_msg("%s: %s", text, why);
	return address;
}

static const char *refused(const char *text)
{
	struct address address;
	const char *why = NULL;

	if (address_parse(text, &address, &why) != -EINVAL)
		fail_msg("accepted: %s", text);
	assert_non_null(why);
	return why;
}

static void expect_vsock(const char *text, uint32_t cid, uint32_t port)
{
	struct address address = parse(text);
	const struct sockaddr_vm *vm = (const struct sockaddr_vm *)&address.socket;

	assert_int_equal(vm->svm_family, AF_VSOCK);
	assert_int_equal(vm->svm_cid, cid);
	assert_int_equal(vm->svm_port, port);
	assert_int_equal(address.port, port);
	assert_int_equal(address.len, sizeof(*vm));
	assert_false(address.hybrid);
}

static void expect_unix(const char *text, const char *path, bool hybrid, uint32_t port)
{
	struct address address = parse(text);
	const struct sockaddr_un *un = (const struct sockaddr_un *)&address.socket;

	assert_int_equal(un->sun_family, AF_UNIX);
	assert_string_equal(un->sun_path, path);
	assert_int_equal(address.port, port);
	assert_int_equal(address.hybrid, hybrid);
}

UNIT(vsock_with_and_without_port)
{
	expect_vsock("vsock:3", 3, POSTERN_PORT);
	expect_vsock("vsock:3:1234", 3, 1234);
	expect_vsock("vsock:4294967295:4294967295", UINT32_MAX, UINT32_MAX);
	expect_vsock("vsock:0", 0, POSTERN_PORT);
}

UNIT(vsock_takes_numbers_only)
{
	static const char *const cases[] = {"vsock:", "vsock::", "vsock:x", "vsock:3:", "vsock:3:x",
		"vsock::767", "vsock:-1", "vsock:+1", "vsock: 1", "vsock:1 ", "vsock:0x3",
		"vsock:4294967296", "vsock:3:4294967296", "vsock:99999999999999999999999",
		"vsock:3:1:2"};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_non_null(strstr(refused(cases[i]), "vsock:CID"));
}

UNIT(unix_paths_are_hybrid_sockets)
{
	expect_unix("unix:/run/vm.sock", "/run/vm.sock", true, POSTERN_PORT);
	expect_unix("unix:/run/vm.sock:80", "/run/vm.sock", true, 80);
	expect_unix("unix:vm.sock", "vm.sock", true, POSTERN_PORT);
}

UNIT(a_colon_without_a_number_is_part_of_the_path)
{
	expect_unix("unix:/run/a:b", "/run/a:b", true, POSTERN_PORT);
	expect_unix("unix:/run/a:b:5", "/run/a:b", true, 5);
	expect_unix("unix:/run/a:", "/run/a:", true, POSTERN_PORT);
	expect_unix("unix:/run/a:4294967296", "/run/a:4294967296", true, POSTERN_PORT);
	expect_unix("unix:/run/a:5/b", "/run/a:5/b", true, POSTERN_PORT);
}

UNIT(local_has_a_default)
{
	expect_unix("local:", LOCAL_SOCKET, false, POSTERN_PORT);
	expect_unix("local:/tmp/agent:1", "/tmp/agent:1", false, POSTERN_PORT);
}

UNIT(paths_are_bounded)
{
	char text[128] = "unix:";

	memset(text + 5, 'a', 107);
	expect_unix(text, text + 5, true, POSTERN_PORT);
	text[5 + 107] = 'a';
	assert_non_null(strstr(refused(text), "107"));
	assert_non_null(strstr(refused("unix:"), "path"));
	assert_non_null(strstr(refused("unix::5"), "path"));
	memcpy(text, "local", 5);
	memmove(text + 6, text + 5, 108);
	text[5] = ':';
	text[6 + 108] = '\0';
	assert_non_null(strstr(refused(text), "107"));
}

UNIT(anything_else_is_refused)
{
	static const char *const cases[] = {
		"", "vsock", "unix", "name", "tcp:1", "VSOCK:3", " vsock:3"};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_non_null(strstr(refused(cases[i]), "expected"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(vsock_with_and_without_port),
		RUN(vsock_takes_numbers_only),
		RUN(unix_paths_are_hybrid_sockets),
		RUN(a_colon_without_a_number_is_part_of_the_path),
		RUN(local_has_a_default),
		RUN(paths_are_bounded),
		RUN(anything_else_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
