/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The agent's settings: every key, files, the kernel command line. */
/* needs: agent/config/config.c */
#include "tests/unit/unit.h"

#include "agent/config/config.h"
#include "proto/limits.h"

static char path[] = "/tmp/postern-unit-XXXXXX", problem[512];

static int make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static void put(const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

UNIT(built_in_values)
{
	struct config config;

	config_init(&config);
	assert_true(config.vsock);
	assert_int_equal(config.vsock_port, POSTERN_PORT);
	assert_int_equal(config.ready_port, POSTERN_READY_PORT);
	assert_string_equal(config.socket, "/run/postern/agent.sock");
	assert_int_equal(config.vsh_port, 0);
	assert_string_equal(config.vsh_socket, "");
	assert_string_equal(config.run_dir, "/run/postern");
	assert_string_equal(config.state_dir, "/var/lib/postern");
	assert_string_equal(config.policy_dir, "/etc/postern/policy.d");
	assert_true(config.libexec_dir[0] == '/');
	assert_true(config.user[0] != '\0');
	assert_int_equal(config.log_level, LOG_LEVEL_INFO);
}

UNIT(every_key_can_be_set)
{
	struct config c;

	memset(&c, 0, sizeof(c));
	put("# all of them\n"
	    "vsock=yes\n vsock_port = 1\nready_port\t=\t2\nsocket = /a\n\nrun_dir=/b\nstate_dir = "
	    "/c \n"
	    "policy_dir = /d\r\nlibexec_dir = /e\nuser = nobody\nsample_interval = 3\nhistory = "
	    "60\n"
	    "save_interval = 4\nlog_level = debug\n");
	assert_int_equal(config_read_file(&c, path, problem, sizeof(problem)), 0);
	assert_true(c.vsock);
	assert_int_equal(c.vsock_port, 1);
	assert_int_equal(c.ready_port, 2);
	assert_string_equal(c.socket, "/a");
	assert_string_equal(c.run_dir, "/b");
	assert_string_equal(c.state_dir, "/c");
	assert_string_equal(c.policy_dir, "/d");
	assert_string_equal(c.libexec_dir, "/e");
	assert_string_equal(c.user, "nobody");
	assert_int_equal(c.sample_interval_s, 3);
	assert_int_equal(c.history_s, 60);
	assert_int_equal(c.save_interval_s, 4);
	assert_int_equal(c.log_level, LOG_LEVEL_DEBUG);
}

static int set(const char *key, const char *value)
{
	struct config config;

	config_init(&config);
	problem[0] = '\0';
	return config_set(&config, key, value, problem, sizeof(problem));
}

UNIT(numbers_have_their_range)
{
	static const struct {
		const char *key, *least, *most, *below, *above;
	} cases[] = {
		{"vsock_port", "1", "4294967294", "0", "4294967295"},
		{"ready_port", "0", "4294967294", "-1", "4294967295"},
		{"sample_interval", "1", "3600", "0", "3601"},
		{"history", "60", "604800", "59", "604801"},
		{"save_interval", "0", "86400", "-1", "86401"},
	};
	static const char *const never[] = {"", "x", "5x", "5 5", "1.5", "0x10",
		"18446744073709551617", "99999999999999999999999"};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(set(cases[i].key, cases[i].least), 0);
		assert_int_equal(set(cases[i].key, cases[i].most), 0);
		assert_int_equal(set(cases[i].key, cases[i].below), -EINVAL);
		assert_int_equal(set(cases[i].key, cases[i].above), -EINVAL);
		assert_non_null(strstr(problem, cases[i].most));
		for (size_t j = 0; j < sizeof(never) / sizeof(never[0]); j++)
			assert_int_equal(set(cases[i].key, never[j]), -EINVAL);
	}
}

UNIT(switches_and_levels_are_words)
{
	assert_int_equal(set("vsock", "no"), 0);
	assert_int_equal(set("vsock", "true"), -EINVAL);
	assert_string_equal(problem, "vsock: expected yes or no");
	assert_int_equal(set("vsock", ""), -EINVAL);
	assert_int_equal(set("log_level", "warning"), 0);
	assert_int_equal(set("log_level", "WARNING"), -EINVAL);
	assert_string_equal(problem, "log_level: expected error, warning, info or debug");
}

UNIT(paths_are_absolute)
{
	static const char *const keys[] = {"run_dir", "state_dir", "policy_dir", "libexec_dir"};

	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(set(keys[i], "/x"), 0);
		assert_int_equal(set(keys[i], "x"), -EINVAL);
		assert_non_null(strstr(problem, "absolute"));
		assert_int_equal(set(keys[i], ""), -EINVAL);
	}
	/* No socket is a choice. */
	assert_int_equal(set("socket", ""), 0);
	assert_int_equal(set("socket", "x"), -EINVAL);
	assert_int_equal(set("vsh_socket", ""), 0);
	assert_int_equal(set("vsh_socket", "x"), -EINVAL);
}

UNIT(texts_fit_or_are_refused)
{
	char value[258];

	memset(value, '/', sizeof(value));
	value[255] = '\0';
	assert_int_equal(set("run_dir", value), 0);
	value[255] = '/';
	value[256] = '\0';
	assert_int_equal(set("run_dir", value), -EINVAL);
	assert_string_equal(problem, "run_dir: longer than 255 bytes");
}

UNIT(unknown_keys_are_mistakes)
{
	assert_int_equal(set("Vsock", "yes"), -EINVAL);
	assert_non_null(strstr(problem, "no such key"));
	assert_int_equal(set("", "yes"), -EINVAL);
	assert_int_equal(set("vsock ", "yes"), -EINVAL);
}

static void refused(const char *text, const char *words)
{
	struct config config;
	char expected[300];

	config_init(&config);
	put(text);
	assert_int_equal(config_read_file(&config, path, problem, sizeof(problem)), -EINVAL);
	(void)snprintf(expected, sizeof(expected), "%s:%s", path, words);
	assert_int_equal(strncmp(problem, expected, strlen(expected)), 0);
}

UNIT(mistakes_in_a_file_are_told_by_line)
{
	refused("vsock\n", "1: expected KEY = VALUE");
	refused("\n# x\nvsock = maybe\n", "3: vsock: expected yes or no");
	refused("vsock = yes\nnope = 1\n", "2: nope: no such key");
	refused("= yes\n", "1: : no such key");
	refused("vsock = yes = no\n", "1: vsock: expected yes or no");
	refused("[section]\n", "1: expected KEY = VALUE");
}

/* The rest of a line must not be taken for a line of its own. */
UNIT(long_lines_are_refused_whole)
{
	char text[1200];

	memset(text, '#', 1024);
	memcpy(text + 1024, "vsock = no\n", 12);
	refused(text, "1: ");
	assert_non_null(strstr(problem, "longer"));
}

UNIT(a_nul_byte_cannot_hide_the_rest)
{
	static const char text[] = "vsock = no\0 really";
	FILE *file = fopen(path, "we");
	struct config config;

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, sizeof(text) - 1, file), sizeof(text) - 1);
	assert_int_equal(fclose(file), 0);
	config_init(&config);
	assert_int_equal(config_read_file(&config, path, problem, sizeof(problem)), -EINVAL);
	assert_non_null(strstr(problem, ":1: a line holds a NUL byte"));
}

UNIT(a_name_is_not_empty)
{
	refused("user =\n", "1: user: must not be empty");
}

UNIT(the_last_word_wins)
{
	struct config config;

	config_init(&config);
	put("vsock_port = 1\nvsock_port = 2\n");
	assert_int_equal(config_read_file(&config, path, problem, sizeof(problem)), 0);
	assert_int_equal(config.vsock_port, 2);
	put("quiet postern.vsock_port=3 postern.vsock_port=4\n");
	assert_int_equal(config_read_cmdline(&config, path, problem, sizeof(problem)), 0);
	assert_int_equal(config.vsock_port, 4);
}

UNIT(a_missing_file_is_told_as_such)
{
	struct config config;

	config_init(&config);
	assert_int_equal(
		config_read_file(&config, "/nonexistent", problem, sizeof(problem)), -ENOENT);
	assert_non_null(strstr(problem, "/nonexistent"));
	assert_int_equal(config_read_file(&config, "/", problem, sizeof(problem)), -EIO);
	assert_int_equal(
		config_read_cmdline(&config, "/nonexistent", problem, sizeof(problem)), -EIO);
}

UNIT(the_command_line_is_read_for_our_words_only)
{
	struct config config;

	config_init(&config);
	put("BOOT_IMAGE=/vmlinuz root=/dev/vda1 xpostern.vsock=no postern=1 posternx.vsock=no "
	    "quiet "
	    "postern.vsock=no\tpostern.socket= postern.user=daemon");
	assert_int_equal(config_read_cmdline(&config, path, problem, sizeof(problem)), 0);
	assert_false(config.vsock);
	assert_string_equal(config.socket, "");
	assert_string_equal(config.user, "daemon");
}

UNIT(mistakes_on_the_command_line_are_errors)
{
	static const char *const lines[] = {"postern.vsock", "postern.nope=1",
		"postern.vsock=maybe", "postern.=1", "postern.vsock_port=0"};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct config config;

		config_init(&config);
		put(lines[i]);
		assert_int_equal(
			config_read_cmdline(&config, path, problem, sizeof(problem)), -EINVAL);
		assert_non_null(strstr(problem, "postern."));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(built_in_values),
		RUN(every_key_can_be_set),
		RUN(numbers_have_their_range),
		RUN(switches_and_levels_are_words),
		RUN(paths_are_absolute),
		RUN(texts_fit_or_are_refused),
		RUN(unknown_keys_are_mistakes),
		RUN(mistakes_in_a_file_are_told_by_line),
		RUN(long_lines_are_refused_whole),
		RUN(a_nul_byte_cannot_hide_the_rest),
		RUN(a_name_is_not_empty),
		RUN(the_last_word_wins),
		RUN(a_missing_file_is_told_as_such),
		RUN(the_command_line_is_read_for_our_words_only),
		RUN(mistakes_on_the_command_line_are_errors),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
