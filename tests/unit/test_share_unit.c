/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What of a share may stand in a unit: systemd is played here. */
/* needs: agent/methods/worker/share_unit.c agent/methods/worker/mount_options.c */
/* needs: agent/methods/call.c agent/row.c kmod-helpers/types.c */
#include "tests/unit/unit.h"

#include "agent/init_kind.h"
#include "agent/methods/share.h"
#include "agent/methods/systemd.h"
#include "proto/limits.h"

const struct handler handlers[METHOD_COUNT];

static struct arena arena;
static struct call call;
static char started[256]; /* NAME WHAT OPTIONS of the unit that was started; "" */

enum init_kind init_kind(void)
{
	return INIT_SYSTEMD;
}

int systemd_mount_start(const struct mount_unit *unit, bool transient)
{
	assert_true(transient);
	(void)snprintf(started, sizeof(started), "%s %s %s", unit->name, unit->what, unit->options);
	return 0;
}

int systemd_reload(void)
{
	return 0;
}

int systemd_start(const char *name)
{
	(void)name;
	return 0;
}

int systemd_stop(const char *name)
{
	(void)name;
	return 0;
}

void systemd_reset_failed(const char *name)
{
	(void)name;
}

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
}

/* 0, or -errno with the error's words in call.error. */
static int start(const char *source, const char *target)
{
	Postern__V1__Share share = POSTERN__V1__SHARE__INIT;

	call.error = NULL;
	started[0] = '\0';
	share.has_source = share.has_target = true;
	share.source = bytes(source);
	share.target = bytes(target);
	share.type = (char *)"9p";
	return share_unit_start(&call, "mnt-data", &share);
}

static int set_up(void **state)
{
	(void)state;
	arena_init(&arena, ARENA_REQUEST_MAX);
	call = (struct call){.arena = &arena, .method = METHOD_shares_mount};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	arena_done(&arena);
	return 0;
}

UNIT(a_plain_share_is_started)
{
	assert_int_equal(start("data-5f3a", "/mnt/data"), 0);
	assert_non_null(strstr(started, "mnt-data.mount data-5f3a nosuid,nodev"));
}

/* '%' is a specifier there, a backslash takes the line's end along (systemd.syntax(7)). */
UNIT(what_would_mean_something_else_is_refused)
{
	static const char *const words[] = {"%h", "a%%b", "tag\\", "a\\x2fb", "a\"b", "a'b",
		"$HOME", "#a", "a;b", "a\nOptions=suid"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		char path[64];

		assert_true(start(words[i], "/mnt/data") < 0);
		assert_int_equal(call.error->code, POSTERN__V1__CODE__INVALID_ARGUMENT);
		assert_non_null(strstr(call.error->message, "source: "));
		assert_string_equal(started, "");
		(void)snprintf(path, sizeof(path), "/mnt/%s", words[i]);
		assert_true(start("data", path) < 0);
		assert_non_null(strstr(call.error->message, "target: "));
		assert_string_equal(started, "");
	}
}

int main(void)
{
#define UNIT_TEST(name)                                                                            \
	{                                                                                          \
#name, test_##name, set_up, tear_down, NULL                                        \
	}
	const struct CMUnitTest tests[] = {
		UNIT_TEST(a_plain_share_is_started),
		UNIT_TEST(what_would_mean_something_else_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
