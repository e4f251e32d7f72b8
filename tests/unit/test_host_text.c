/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names, tags, sizes and lists as people type them; the command line of QEMU. */
/* needs: host/cli/split.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/split.h"
#include "host/common/device.h"
#include "host/common/text.h"
#include "host/common/vm_config.h"
#include "host/vmm/qemu.h"

static void names_and_tags(void **state)
{
	(void)state;
	assert_true(vm_name_valid("a"));
	assert_true(vm_name_valid("0.web_1-x"));
	assert_false(vm_name_valid(".a"));
	assert_false(vm_name_valid("A"));
	assert_true(share_tag_valid("Data_1.x-y"));
	assert_true(share_tag_valid("123456789012345678901234567890123456"));
	assert_false(share_tag_valid("1234567890123456789012345678901234567"));
	assert_false(share_tag_valid("a,b"));
	assert_false(share_tag_valid(""));
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bare, bytes;
		int r;
	} cases[] = {
		{"0", 4096, 0, 0},
		{"16384", 4096, 67108864, 0},
		{"64M", 4096, 67108864, 0},
		{"64mib", 0, 67108864, 0},
		{"2G", 0, UINT64_C(2) << 30, 0},
		{"1T", 0, UINT64_C(1) << 40, 0},
		{"5B", 0, 5, 0},
		{"5", 0, 0, -EINVAL},
		{"", 1, 0, -EINVAL},
		{"-1", 1, 0, -EINVAL},
		{"1.5G", 1, 0, -EINVAL},
		{"M", 1, 0, -EINVAL},
		{" 1", 1, 0, -EINVAL},
		{"18446744073709551616", 1, 0, -EINVAL},
		{"18446744073709551615", 4096, 0, -ERANGE},
		{"99999999999T", 1, 0, -ERANGE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 0;

		assert_int_equal(parse_size(cases[i].text, cases[i].bare, &bytes), cases[i].r);
		if (cases[i].r == 0)
			assert_int_equal(bytes, cases[i].bytes);
	}
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
		int r;
	} cases[] = {
		{"10", 10000, 0},
		{"0", 0, 0},
		{"1.5", 1500, 0},
		{"0.001", 1, 0},
		{"0.0009", 0, 0},
		{"500ms", 500, 0},
		{"1.9ms", 1, 0},
		{"2s", 2000, 0},
		{"2m", 120000, 0},
		{"1.5h", 5400000, 0},
		{"1d", 86400000, 0},
		{"0.1234567891", 123, 0},
		{"", 0, -EINVAL},
		{"s", 0, -EINVAL},
		{".5", 0, -EINVAL},
		{"1.", 0, -EINVAL},
		{"1.s", 0, -EINVAL},
		{"1..5", 0, -EINVAL},
		{"-1", 0, -EINVAL},
		{"1 s", 0, -EINVAL},
		{"1S", 0, -EINVAL},
		{"1e3", 0, -EINVAL},
		{"1us", 0, -EINVAL},
		{"18446744073709551615ms", UINT64_MAX, 0},
		{"18446744073709551615", 0, -ERANGE},
		{"18446744073709551616", 0, -EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t ms = 0;

		assert_int_equal(parse_duration(cases[i].text, &ms), cases[i].r);
		if (cases[i].r == 0)
			assert_int_equal(ms, cases[i].ms);
	}
}

static void sizes_for_people(void **state)
{
	char text[24];

	(void)state;
	assert_string_equal(format_size(0, text), "0 B");
	assert_string_equal(format_size(1023, text), "1023 B");
	assert_string_equal(format_size(1536, text), "1.5 KiB");
	assert_string_equal(format_size(268435456, text), "256 MiB");
	assert_string_equal(format_size(UINT64_MAX, text), "16 EiB");
}

static void colons_split(void **state)
{
	char three[] = "/a:/b:ro", escaped[] = "/with\\:colon\\\\x:/b", empty[] = "/a::b",
	     end[] = "/a:", many[] = "1:2:3:4:5:6:7:8:9", one[] = "/a\\b";
	struct split split;

	(void)state;
	assert_int_equal(split_colons(three, &split), 3);
	assert_string_equal(split.parts[2], "ro");
	assert_int_equal(split_colons(escaped, &split), 2);
	assert_string_equal(split.parts[0], "/with:colon\\x");
	assert_string_equal(split.parts[1], "/b");
	assert_int_equal(split_colons(empty, &split), -1);
	assert_int_equal(split_colons(end, &split), -1);
	assert_int_equal(split_colons(many, &split), -1);
	assert_int_equal(split_colons(one, &split), 1);
	assert_string_equal(split.parts[0], "/a\\b");
}

static struct vm_config example(void)
{
	return (struct vm_config){.name = (char *)"web",
		.driver = (char *)"qemu",
		.vmm = (char *)"/usr/bin/qemu",
		.virtiofsd = (char *)"/usr/lib/virtiofsd",
		.vsockd = (char *)"/usr/libexec/postern/postern-vsockd",
		.kernel = (char *)"/boot/with,comma",
		.image = (char *)"/srv/a,b,readonly=off.img",
		.cmdline = (char *)"console=ttyS0 a=b,c",
		.memory_bytes = UINT64_C(256) << 20,
		.cpus = 2,
		.cid = 3,
		.ready_ms = 1000};
}

static const char *after(const struct argv *argv, const char *option)
{
	for (size_t i = 0; i + 1 < argv->n; i++)
		if (strcmp(argv->words[i], option) == 0)
			return argv->words[i + 1];
	return "";
}

static bool has_word(const struct argv *argv, const char *word)
{
	for (size_t i = 0; i < argv->n; i++)
		if (strcmp(argv->words[i], word) == 0)
			return true;
	return false;
}

static const struct qemu_fds fds = {3, 4, 5, 6};

static void qemu_options_cannot_be_smuggled_in(void **state)
{
	struct vm_config config = example();
	struct share_config share = {.tag = (char *)"data", .source = (char *)"/srv/data"};
	struct vmm_setup setup = {.config = &config, .dir = "/run/a,path=b"};
	struct argv argv = {0};

	(void)state;
	config.shares = &share;
	config.n_shares = 1;
	assert_int_equal(qemu_command(&setup, &fds, &argv), 0);
	assert_true(has_word(&argv, "socket,id=share0-backend,path=/run/a,,path=b/share-0.sock"));
	assert_non_null(
		strstr(after(&argv, "-drive"), "file=/srv/a,,b,,readonly=off.img,format=raw"));
	/* These options are no lists: their values stand as they are. */
	assert_string_equal(after(&argv, "-kernel"), "/boot/with,comma");
	assert_string_equal(after(&argv, "-append"), "console=ttyS0 a=b,c");
	argv_done(&argv);
}

static bool has_device(const struct argv *argv, const char *name)
{
	for (size_t i = 0; i + 1 < argv->n; i++)
		if (strcmp(argv->words[i], "-device") == 0 &&
			strncmp(argv->words[i + 1], name, strlen(name)) == 0)
			return true;
	return false;
}

static void devices_are_there_or_not(void **state)
{
	static const struct {
		uint32_t bit;
		const char *device;
	} devices[] = {{DEVICE_BALLOON, "virtio-balloon-pci"}, {DEVICE_RNG, "virtio-rng-pci"},
		{DEVICE_GPU, "virtio-gpu-pci"}, {DEVICE_VSOCK, "vhost-user-vsock-pci"},
		{DEVICE_NET, "virtio-net-pci"}, {DEVICE_CONSOLE, "virtconsole"},
		{DEVICE_SOUND, "virtio-sound-pci"}};
	struct vm_config config = example();
	struct vmm_setup setup = {.config = &config, .dir = "/run/a"};

	(void)state;
	for (uint32_t chosen = 0; chosen < 256; chosen++) {
		struct argv argv = {0};

		config.devices = chosen;
		assert_int_equal(qemu_command(&setup, &fds, &argv), 0);
		for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
			assert_int_equal(has_device(&argv, devices[i].device),
				(chosen & devices[i].bit) != 0);
		argv_done(&argv);
	}
}

static void config_there_and_back(void **state)
{
	struct vm_config config = example(), back;
	struct share_config share = {.tag = (char *)"data",
		.source = (char *)"/srv/data",
		.target = (char *)"/mnt/data",
		.read_only = true};
	struct postern_error error = {0};
	json_t *object, *again;

	(void)state;
	assert_int_equal(vm_config_add_share(&config, &share), 0);
	object = vm_config_to_json(&config);
	assert_int_equal(vm_config_from_json(object, &back, &error), 0);
	again = vm_config_to_json(&back);
	assert_true(json_equal(object, again));
	assert_true(back.shares[0].read_only);
	vm_config_done(&back);
	json_decref(again);
	free(config.shares[0].tag);
	free(config.shares[0].source);
	free(config.shares[0].target);
	free(config.shares);
	json_decref(object);
}

/* What somebody may have written into vm.json by hand. */
static void bad_configs_are_refused(void **state)
{
	static const char *const changes[] = {"{\"name\": \"../x\"}", "{\"name\": 5}",
		"{\"cpus\": 0}", "{\"cpus\": 65}", "{\"cid\": 2}", "{\"cid\": 4294967295}",
		"{\"cid\": -1}", "{\"memory_bytes\": 100}", "{\"memory_bytes\": 268435457}",
		"{\"kernel\": null, \"image\": null}", "{\"kvm\": \"yes\"}",
		"{\"shares\": [{\"tag\": \"a,b\", \"source\": \"/x\"}]}",
		"{\"shares\": [{\"tag\": \"a\", \"source\": \"x\"}]}",
		("{\"shares\": [{\"tag\": \"a\", \"source\": \"/x\"}, "
		 "{\"tag\": \"a\", \"source\": \"/y\"}]}")};
	struct vm_config config = example(), back;

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		json_t *object = vm_config_to_json(&config),
		       *change = json_loads(changes[i], 0, NULL);
		struct postern_error error = {0};

		assert_non_null(change);
		assert_int_equal(json_object_update(object, change), 0);
		assert_int_equal(vm_config_from_json(object, &back, &error), -EINVAL);
		assert_int_equal(error.failure, POSTERN_USAGE);
		json_decref(object);
		json_decref(change);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_tags),
		cmocka_unit_test(sizes),
		cmocka_unit_test(sizes_for_people),
		cmocka_unit_test(durations),
		cmocka_unit_test(colons_split),
		cmocka_unit_test(qemu_options_cannot_be_smuggled_in),
		cmocka_unit_test(devices_are_there_or_not),
		cmocka_unit_test(config_there_and_back),
		cmocka_unit_test(bad_configs_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
