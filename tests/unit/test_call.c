/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One request from its bytes to its last frame, and what its arguments may be. */
/* needs: agent/methods/call.c agent/row.c */
/* needs: agent/methods/worker/mount_options.c kmod-helpers/types.c */
#include "tests/unit/wire_build.h"

#include <sys/mount.h>

#include "agent/methods/call.h"
#include "agent/methods/mount_options.h"
#include "messages.h"
#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/verify.h"

static int run_ping(struct call *of, const ProtobufCMessage *request, ProtobufCMessage *reply);

const struct handler handlers[METHOD_COUNT] = {
	[METHOD_system_ping] = {.request = &postern__v1__system_ping_request__descriptor,
		.reply = &postern__v1__system_ping_reply__descriptor,
		.run = run_ping},
};

static struct arena arena;
static struct call call;
static struct buffer frames; /* all that was emitted */
static unsigned int parts, lasts, runs, after;
static int ping_returns;

static int emit(struct call *of, bool last)
{
	assert_ptr_equal(of, &call);
	parts++;
	lasts += last;
	return 0;
}

static void on_after(struct call *of, int arg)
{
	(void)of;
	after = (unsigned int)arg;
}

static int run_ping(struct call *of, const ProtobufCMessage *request, ProtobufCMessage *reply)
{
	const Postern__V1__SystemPingRequest *ping =
		(const Postern__V1__SystemPingRequest *)request;
	Postern__V1__SystemPingReply *pong = (Postern__V1__SystemPingReply *)reply;

	runs++;
	if (ping_returns == 1)
		return call_fail(of, POSTERN__V1__CODE__NOT_FOUND, ENOENT, "no %s", "luck");
	if (ping_returns < 0)
		return ping_returns;
	if (ping_returns == 2)
		assert_int_equal(call_more(of, reply), 0);
	of->after = on_after;
	of->after_arg = 5;
	pong->has_payload = ping->has_payload;
	pong->payload = ping->payload;
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	arena_init(&arena, ARENA_REQUEST_MAX);
	call = (struct call){.arena = &arena,
		.method = METHOD_system_ping,
		.id = 77,
		.max_frame = 4096,
		.out = &frames,
		.emit = emit};
	parts = lasts = runs = after = 0;
	ping_returns = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	buffer_clear(&frames);
	arena_done(&arena);
	return 0;
}

/* The emitted frame, checked as the host checks it; in the arena. */
static const Postern__V1__Response *response(void)
{
	struct frame_reader reader = {.in = frames, .limit = call.max_frame};
	const Postern__V1__FromAgent *from;
	const char *why = "";
	const uint8_t *body;
	size_t len;

	assert_int_equal(frame_next(&reader, &body, &len), 1);
	from = (const Postern__V1__FromAgent *)verify_unpack(
		&postern__v1__from_agent__descriptor, body, len, &verify_host_limits, &arena, &why);
	if (!from)
		fail_msg("the host refuses: %s", why);
	buffer_consume(&frames, (size_t)(body - buffer_front(&frames)) + len);
	assert_int_equal(from->kind_case, POSTERN__V1__FROM_AGENT__KIND_RESPONSE);
	assert_int_equal(from->response->id, 77);
	return from->response;
}

static const Postern__V1__Error *error_of_response(void)
{
	const Postern__V1__Response *r = response();

	assert_int_equal(r->outcome_case, POSTERN__V1__RESPONSE__OUTCOME_ERROR);
	return r->error;
}

UNIT(a_result_is_one_last_frame)
{
	const Postern__V1__Response *r;

	assert_int_equal(dispatch(&call, (const uint8_t *)"\x0a\x02hi", 4), 0);
	assert_int_equal(parts, 1);
	assert_int_equal(lasts, 1);
	assert_int_equal(after, 5);
	r = response();
	assert_false(r->more);
	assert_int_equal(r->result.len, 4);
	assert_memory_equal(r->result.data, "\x0a\x02hi", 4);
}

UNIT(parts_come_before_the_last)
{
	ping_returns = 2;
	assert_int_equal(dispatch(&call, NULL, 0), 0);
	assert_int_equal(parts, 2);
	assert_int_equal(lasts, 1);
	assert_true(response()->more);
	assert_false(response()->more);
}

UNIT(bad_parameters_never_reach_the_handler)
{
	const Postern__V1__Error *error;

	assert_int_equal(dispatch(&call, (const uint8_t *)"\x0b", 1), 0);
	assert_int_equal(runs, 0);
	assert_int_equal(lasts, 1);
	error = error_of_response();
	assert_int_equal(error->code, POSTERN__V1__CODE__INVALID_ARGUMENT);
	assert_string_equal(error->message, "params of system.ping: bad wire type");
}

static int refuse(struct call *of)
{
	return call_fail_errno(of, -EPERM, "prepare");
}

UNIT(what_cannot_be_prepared_does_not_run)
{
	call.prepare = refuse;
	assert_int_equal(dispatch(&call, NULL, 0), 0);
	assert_int_equal(runs, 0);
	assert_int_equal(error_of_response()->code, POSTERN__V1__CODE__PERMISSION_DENIED);
}

/* INTERNAL is a fault of the agent: what a caller, a disk or a server can bring about is none. */
UNIT(an_errno_is_a_fault_of_the_agent_only_where_it_can_be)
{
	static const int faults[] = {EBADF, EFAULT, ECHILD, EBADFD};
	static const struct {
		int sys_errno;
		Postern__V1__Code code;
	} others[] = {
		{EROFS, POSTERN__V1__CODE__FAILED_PRECONDITION},
		{ENOTEMPTY, POSTERN__V1__CODE__FAILED_PRECONDITION},
		{ENOTBLK, POSTERN__V1__CODE__INVALID_ARGUMENT},
		{EXDEV, POSTERN__V1__CODE__INVALID_ARGUMENT},
		{EIO, POSTERN__V1__CODE__UNAVAILABLE},
		{ECONNRESET, POSTERN__V1__CODE__UNAVAILABLE},
		{EMSGSIZE, POSTERN__V1__CODE__RESOURCE_EXHAUSTED},
		{EKEYREJECTED, POSTERN__V1__CODE__PERMISSION_DENIED},
		{EUCLEAN, POSTERN__V1__CODE__DATA_LOSS},
		{EBADMSG, POSTERN__V1__CODE__DATA_LOSS},
	};

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		assert_int_equal(code_of_errno(faults[i]), POSTERN__V1__CODE__INTERNAL);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(code_of_errno(others[i].sys_errno), others[i].code);
}

UNIT(failures_carry_code_errno_and_words)
{
	const Postern__V1__Error *error;

	ping_returns = 1;
	assert_int_equal(dispatch(&call, NULL, 0), 0);
	error = error_of_response();
	assert_int_equal(error->code, POSTERN__V1__CODE__NOT_FOUND);
	assert_int_equal(error->sys_errno, ENOENT);
	assert_string_equal(error->message, "no luck");
	assert_int_equal(after, 0);
}

UNIT(failures_without_words_get_some)
{
	const Postern__V1__Error *error;

	ping_returns = -EBUSY;
	assert_int_equal(dispatch(&call, NULL, 0), 0);
	error = error_of_response();
	assert_int_equal(error->code, POSTERN__V1__CODE__FAILED_PRECONDITION);
	assert_non_null(strstr(error->message, "system.ping: "));
}

/* Nothing is left for the error itself, and the caller is told all the same. */
UNIT(a_handler_that_uses_up_its_memory_still_answers)
{
	const Postern__V1__Error *error;

	arena_done(&arena);
	arena_init(&arena, 1);
	(void)call_fail(&call, POSTERN__V1__CODE__FAILED_PRECONDITION, EBUSY, "%s is busy", "/mnt");
	assert_int_equal(dispatch_error(&call, -EBUSY), 0);
	arena_done(&arena);
	arena_init(&arena, ARENA_REQUEST_MAX);
	error = error_of_response();
	assert_int_equal(error->code, POSTERN__V1__CODE__FAILED_PRECONDITION);
	assert_int_equal(error->sys_errno, EBUSY);
	assert_non_null(strstr(error->message, "used up its memory"));
}

UNIT(deferred_calls_emit_nothing)
{
	ping_returns = CALL_DEFERRED;
	assert_int_equal(dispatch(&call, NULL, 0), CALL_DEFERRED);
	assert_int_equal(parts, 0);
}

UNIT(answers_that_do_not_fit_become_errors)
{
	struct buffer params = {0};
	static uint8_t payload[5000];

	put_bytes(&params, 1, payload, sizeof(payload));
	assert_int_equal(dispatch(&call, buffer_front(&params), buffer_len(&params)), 0);
	assert_int_equal(parts, 1);
	assert_int_equal(lasts, 1);
	assert_int_equal(error_of_response()->code, POSTERN__V1__CODE__RESOURCE_EXHAUSTED);
	buffer_clear(&params);
}

UNIT(details_go_before_the_error_does)
{
	Postern__V1__ErrorDetails details = POSTERN__V1__ERROR_DETAILS__INIT;
	Postern__V1__Holder holder = POSTERN__V1__HOLDER__INIT, *holders[1] = {&holder};
	static uint8_t user[5000];

	holder.has_user = true;
	holder.user = (ProtobufCBinaryData){sizeof(user), user};
	details.n_holders = 1;
	details.holders = holders;
	assert_true(call_fail(&call, POSTERN__V1__CODE__FAILED_PRECONDITION, EBUSY, "busy") < 0);
	call.error->details = &details;
	assert_int_equal(dispatch_error(&call, -EBUSY), 0);
	assert_int_equal(lasts, 1);
	assert_null(error_of_response()->details);
}

/* Whatever a message was made of, the host must be able to read it. */
UNIT(messages_are_utf8_however_they_are_cut)
{
	char text[1100];

	for (int offset = 0; offset < 3; offset++) {
		memset(text, 'a', sizeof(text));
		for (size_t i = (size_t)offset; i + 3 < sizeof(text); i += 3)
			memcpy(text + i, "\xe2\x82\xac", 3);
		text[sizeof(text) - 1] = '\0';
		(void)call_fail(&call, POSTERN__V1__CODE__INTERNAL, 0, "%s", text);
		assert_int_equal(dispatch_error(&call, -EIO), 0);
		assert_true(strlen(error_of_response()->message) > 1000);
	}
	(void)call_fail_errno(&call, -ENOENT, "/mnt/\xff\xc3");
	assert_int_equal(dispatch_error(&call, -EIO), 0);
	assert_string_equal(error_of_response()->message, "/mnt/\?\?: No such file or directory");
}

static const char *path_of(const char *path, size_t len)
{
	ProtobufCBinaryData bytes = {len, (uint8_t *)path};

	call.error = NULL;
	return call_path(&call, true, &bytes, "target");
}

UNIT(paths_are_absolute_and_straight)
{
	static const char *const bad[] = {"a", "./a", "/.", "/..", "/a/.", "/a/..", "/a/../b",
		"/./a", "//..", "../a", "/a/b/."};
	static const struct {
		const char *given, *taken;
	} good[] = {{"/", "/"}, {"//", "/"}, {"/a", "/a"}, {"/a/b/", "/a/b"}, {"//a///b//", "/a/b"},
		{"/..a", "/..a"}, {"/a..", "/a.."}, {"/...", "/..."}, {"/.a", "/.a"}};
	static char longest[4097];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_null(path_of(bad[i], strlen(bad[i])));
		assert_int_equal(call.error->code, POSTERN__V1__CODE__INVALID_ARGUMENT);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_string_equal(path_of(good[i].given, strlen(good[i].given)), good[i].taken);
	assert_null(path_of("/a\0b", 4));
	assert_null(path_of("", 0));
	assert_string_equal(call.error->message, "target: must be given");
	memset(longest, 'x', 4096);
	longest[0] = '/';
	assert_non_null(path_of(longest, 4095));
	assert_null(path_of(longest, 4096));
	assert_null(call_path(&call, false, &(ProtobufCBinaryData){2, (uint8_t *)"/a"}, "target"));
}

#define OPTIONS 80
static Postern__V1__MountOption option[OPTIONS], *options[OPTIONS];

/* "ro size=64k" as options. Returns their number. */
static size_t options_of(const char *text)
{
	static char copy[1024];
	char *rest = NULL;
	size_t n = 0;

	(void)snprintf(copy, sizeof(copy), "%s", text);
	for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		char *equals = strchr(word, '=');

		postern__v1__mount_option__init(&option[n]);
		if (equals) {
			*equals = '\0';
			option[n].has_value = true;
			option[n].value =
				(ProtobufCBinaryData){strlen(equals + 1), (uint8_t *)equals + 1};
		}
		option[n].key = word;
		options[n] = &option[n];
		n++;
	}
	return n;
}

static unsigned int attributes(const char *text)
{
	size_t n = options_of(text);

	return mount_attributes(options, n);
}

UNIT(nosuid_and_nodev_unless_told)
{
	assert_int_equal(attributes(""), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	assert_int_equal(attributes("suid"), MOUNT_ATTR_NODEV);
	assert_int_equal(attributes("suid dev"), 0);
	assert_int_equal(attributes("dev exec rw"), MOUNT_ATTR_NOSUID);
	assert_int_equal(attributes("size=64k"), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
}

UNIT(the_last_flag_wins)
{
	const unsigned int base = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

	assert_int_equal(attributes("ro rw"), base);
	assert_int_equal(attributes("rw ro"), base | MOUNT_ATTR_RDONLY);
	assert_int_equal(attributes("suid nosuid"), base);
	assert_int_equal(attributes("noatime strictatime"), base | MOUNT_ATTR_STRICTATIME);
	assert_int_equal(attributes("noatime relatime"), base | MOUNT_ATTR_RELATIME);
	assert_int_equal(attributes("strictatime noatime"), base | MOUNT_ATTR_NOATIME);
	assert_int_equal(
		attributes("nodiratime noexec"), base | MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOEXEC);
	assert_true(mount_read_only(options, options_of("rw ro")));
	assert_false(mount_read_only(options, options_of("ro rw")));
}

static int check_options(const char *type, const char *text)
{
	size_t n = options_of(text);

	call.error = NULL;
	return mount_options_check(&call, fs_type_find(type), options, n);
}

UNIT(options_are_of_the_type)
{
	assert_int_equal(check_options("tmpfs", "ro size=64k mode=0700"), 0);
	assert_true(check_options("tmpfs", "data=ordered") < 0);
	assert_non_null(strstr(call.error->message, "data is not an option that tmpfs"));
	assert_true(check_options("tmpfs", "siz=1") < 0);
	assert_true(check_options("tmpfs", "size=1 ro=1") < 0);
	assert_non_null(strstr(call.error->message, "ro takes no value"));
	assert_true(check_options("tmpfs", "size=1 size=2") < 0);
	assert_non_null(strstr(call.error->message, "given twice"));
	assert_int_equal(check_options("overlay", "lowerdir=/a lowerdir=/b"), 0);
	assert_int_equal(check_options("ext4", "noload"), 0);
	options_of("x");
	options[0]->key = NULL;
	assert_true(mount_options_check(&call, fs_type_find("tmpfs"), options, 1) < 0);
	options[0]->key = (char *)"";
	assert_true(mount_options_check(&call, fs_type_find("tmpfs"), options, 1) < 0);
	/* Two keys in one. */
	options[0]->key = (char *)"size mode";
	assert_true(mount_options_check(&call, fs_type_find("tmpfs"), options, 1) < 0);
}

UNIT(option_values_are_bounded)
{
	static uint8_t value[4097];

	options_of("size=");
	memset(value, '1', sizeof(value));
	option[0].value = (ProtobufCBinaryData){4096, value};
	assert_int_equal(mount_options_check(&call, fs_type_find("tmpfs"), options, 1), 0);
	option[0].value.len = 4097;
	assert_true(mount_options_check(&call, fs_type_find("tmpfs"), options, 1) < 0);
	option[0].value = (ProtobufCBinaryData){3, (uint8_t *)"1\0002"};
	assert_true(mount_options_check(&call, fs_type_find("tmpfs"), options, 1) < 0);
	for (size_t i = 0; i < OPTIONS; i++)
		options[i] = &option[0];
	assert_true(mount_options_check(&call, fs_type_find("tmpfs"), options, 65) < 0);
	assert_non_null(strstr(call.error->message, "at most 64"));
}

UNIT(types_are_of_the_table)
{
	const struct fs_type *type;

	assert_int_equal(mount_type_check(&call, "ext4", &type), 0);
	assert_string_equal(type->name, "ext4");
	assert_true(mount_type_check(&call, "proc", &type) < 0);
	assert_true(mount_type_check(&call, "", &type) < 0);
	assert_true(mount_type_check(&call, NULL, &type) < 0);
	/* Cut in the middle of a character, and still a text. */
	assert_true(
		mount_type_check(&call,
			"a\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
			"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac",
			&type) < 0);
	assert_int_equal(dispatch_error(&call, -EINVAL), 0);
	assert_non_null(error_of_response());
}

#define CALL_TEST(name)                                                                            \
	{                                                                                          \
#name, test_##name, set_up, tear_down, NULL                                        \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CALL_TEST(a_result_is_one_last_frame),
		CALL_TEST(parts_come_before_the_last),
		CALL_TEST(bad_parameters_never_reach_the_handler),
		CALL_TEST(what_cannot_be_prepared_does_not_run),
		CALL_TEST(an_errno_is_a_fault_of_the_agent_only_where_it_can_be),
		CALL_TEST(failures_carry_code_errno_and_words),
		CALL_TEST(failures_without_words_get_some),
		CALL_TEST(a_handler_that_uses_up_its_memory_still_answers),
		CALL_TEST(deferred_calls_emit_nothing),
		CALL_TEST(answers_that_do_not_fit_become_errors),
		CALL_TEST(details_go_before_the_error_does),
		CALL_TEST(messages_are_utf8_however_they_are_cut),
		CALL_TEST(paths_are_absolute_and_straight),
		CALL_TEST(nosuid_and_nodev_unless_told),
		CALL_TEST(the_last_flag_wins),
		CALL_TEST(options_are_of_the_type),
		CALL_TEST(option_values_are_bounded),
		CALL_TEST(types_are_of_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
