/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which modules may be asked for. The folder is laid over /etc in a mount namespace of the test. */
/* needs: kmod-helpers/allow.c kmod-helpers/types.c kmod-helpers/boot.c */
#include "tests/unit/unit.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "kmod-helpers/allow.h"
#include "kmod-helpers/boot.h"
#include "kmod-helpers/types.h"

static bool private_etc;

static int set_up(void **state)
{
	(void)state;
	private_etc = (unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) &&
		      mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		      mount("none", "/etc", "tmpfs", 0, NULL) == 0 &&
		      mkdir("/etc/postern", 0755) == 0 &&
		      mkdir("/etc/postern/modules.d", 0755) == 0;
	return 0;
}

static void put(const char *name, const char *text)
{
	char path[128];
	FILE *file;

	if (!private_etc)
		skip();
	(void)snprintf(path, sizeof(path), "/etc/postern/modules.d/%s", name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

UNIT(names_are_names_and_not_paths)
{
	static const char *const bad[] = {"", "-a", "a/b", "../a", "/a", "a.ko", "a b", "a\n",
		"a=b", "\xc3\xa4", "a\x1b", "a*",
		"0123456789012345678901234567890123456789012345678901234567890123"};
	static const char *const good[] = {"a", "vsock", "vmw_vsock_virtio_transport", "9p", "_x",
		"nls-utf8", "crc32-pclmul",
		"012345678901234567890123456789012345678901234567890123456789012"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(module_name_is_clean(bad[i]));
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(module_name_is_clean(good[i]));
}

UNIT(dash_and_underscore_are_one)
{
	assert_true(module_names_equal("a-b_c", "a_b-c"));
	assert_true(module_names_equal("", ""));
	assert_false(module_names_equal("a", "ab"));
	assert_false(module_names_equal("ab", "a"));
	assert_false(module_names_equal("a-b", "a.b"));
	assert_false(module_names_equal("a", "A"));
}

UNIT(what_mounts_need_is_allowed)
{
	size_t n;
	const struct fs_type *types = fs_types(&n);

	assert_true(n > 5);
	for (size_t i = 0; i < n; i++) {
		assert_ptr_equal(fs_type_find(types[i].name), &types[i]);
		for (size_t j = 0; j < FS_MODULES_MAX && types[i].modules[j]; j++)
			assert_true(allow_module(types[i].modules[j]));
		if (types[i].secret || types[i].unit)
			assert_true(types[i].share);
	}
}

UNIT(what_the_small_guest_loads_is_allowed)
{
	size_t n;
	const struct kmod_boot *boot = kmod_boot_modules(&n);

	assert_true(n > 5);
	for (size_t i = 0; i < n; i++) {
		assert_true(module_name_is_clean(boot[i].name));
		assert_true(allow_module(boot[i].name));
		if (boot[i].needed)
			assert_true(boot[i].loaded);
	}
	assert_true(allow_module("vsock-diag"));
}

UNIT(nothing_else_is_allowed)
{
	static const char *const names[] = {
		"", "vsoc", "vsockx", "kvm", "usb_storage", "ext", "EXT4", "virtio_fs2"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_false(allow_module(names[i]));
	assert_false(allow_parameter("ext4", "debug"));
}

UNIT(types_take_their_own_options)
{
	const struct fs_type *tmpfs = fs_type_find("tmpfs");

	assert_true(fs_type_takes(tmpfs, "size"));
	assert_true(fs_type_takes(tmpfs, "inode64"));
	assert_false(fs_type_takes(tmpfs, "siz"));
	assert_false(fs_type_takes(tmpfs, "sizes"));
	assert_false(fs_type_takes(tmpfs, ""));
	assert_false(fs_type_takes(tmpfs, "size mode"));
	assert_false(fs_type_takes(tmpfs, " "));
	assert_null(fs_type_find("proc"));
	assert_null(fs_type_find("ext4 "));
	assert_null(fs_type_find(""));
}

UNIT(files_allow_more)
{
	put("10-local.allow", "# for the lab\n\nzram num_devices\nusb-storage # no parameter\n");
	assert_true(allow_module("zram"));
	assert_true(allow_parameter("zram", "num_devices"));
	assert_false(allow_parameter("zram", "num_device"));
	assert_false(allow_parameter("zram", "zram"));
	assert_true(allow_module("usb_storage"));
	assert_false(allow_parameter("usb_storage", "no"));
	assert_false(allow_parameter("usb_storage", "#"));
	assert_false(allow_module("for"));
	assert_false(allow_module("num_devices"));
	assert_false(allow_module("#"));
}

/* The rest of a comment is no line of its own, and after such a line nothing counts. */
UNIT(long_lines_allow_nothing)
{
	static char text[1200];

	memset(text, '#', 1023);
	memcpy(text + 1023, "zram\nusb-storage\n", 18);
	put("10-local.allow", text);
	assert_false(allow_module("zram"));
	assert_false(allow_module("usb-storage"));
}

UNIT(parameters_need_the_files_word)
{
	put("10-local.allow", "ext4 debug\n");
	assert_true(allow_module("ext4"));
	assert_true(allow_parameter("ext4", "debug"));
	assert_false(allow_parameter("xfs", "debug"));
}

UNIT(other_files_allow_nothing)
{
	put("10-local.allow", "");
	put(".hidden.allow", "kvm\n");
	put("kvm.allow~", "kvm\n");
	put("kvm", "kvm\n");
	assert_false(allow_module("kvm"));
	put("20-more.allow", "kvm");
	assert_true(allow_module("kvm"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(names_are_names_and_not_paths),
		RUN(dash_and_underscore_are_one),
		RUN(what_mounts_need_is_allowed),
		RUN(what_the_small_guest_loads_is_allowed),
		RUN(nothing_else_is_allowed),
		RUN(types_take_their_own_options),
		RUN(files_allow_more),
		RUN(long_lines_allow_nothing),
		RUN(parameters_need_the_files_word),
		RUN(other_files_allow_nothing),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
