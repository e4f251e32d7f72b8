/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may do what: the grammar, which rule decides, the verdicts of an identity. */
/* needs: agent/policy agent/row.c */
#include "tests/unit/unit.h"

#include <sys/stat.h>

#include "agent/policy/policy.h"

static const struct identity host = {IDENTITY_HOST, 0}, host_root = {IDENTITY_HOST_ROOT, 0};

static char dir[] = "/tmp/postern-unit-XXXXXX", problem[512];
static const char *const names[] = {"10-a.policy", "20-b.policy", "9-c.policy", ".hidden.policy",
	"notes.txt", "x.policy~", ".policy"};

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int empty_dir(void **state)
{
	char path[64];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

static void put_bytes_in(const char *name, const char *text, size_t len)
{
	char path[64];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static void put(const char *name, const char *text)
{
	put_bytes_in(name, text, strlen(text));
}

static struct policy policy_of(const char *text)
{
	struct policy policy = {0};

	put("10-a.policy", text);
	if (policy_read(&policy, dir, problem, sizeof(problem)) != 0)
		fail_msg("%s", problem);
	return policy;
}

/* The last word on a name under these rules. */
static bool allows(const char *text, const struct identity *identity, const char *name)
{
	struct policy policy = policy_of(text);
	const struct rule *rule;
	enum allowed allowed = policy_decide(&policy, identity, name, &rule);

	policy_clear(&policy);
	return allowed == ALLOWED_YES;
}

UNIT(no_rule_no_access)
{
	assert_false(allows("", &host, "system.ping"));
	assert_false(allows("# nothing\n\n \t\n", &host, "system.ping"));
	assert_false(allows("allow host system.info\n", &host, "system.ping"));
}

UNIT(deny_beats_allow_in_either_order)
{
	assert_false(allows("allow host *\ndeny host system.ping\n", &host, "system.ping"));
	assert_false(allows("deny host system.ping\nallow host *\n", &host, "system.ping"));
	assert_true(allows("deny host system.ping\nallow host *\n", &host, "system.info"));
	assert_false(allows("allow host system.ping\ndeny host *\n", &host, "system.ping"));
}

UNIT(patterns_stand_for_any_characters)
{
	assert_true(allows("allow host *", &host, "system.ping"));
	assert_true(allows("allow host mounts.*", &host, "mounts.list"));
	assert_false(allows("allow host mounts.*", &host, "mounts"));
	assert_false(allows("allow host mounts.*", &host, "shares.list"));
	assert_true(allows("allow host *.list", &host, "mounts.list"));
	assert_true(allows("allow host notify.*", &host, "notify.mounts.mount"));
	assert_true(allows("allow host s*.p*g", &host, "system.ping"));
	assert_false(allows("allow host system.pin", &host, "system.ping"));
	assert_false(allows("allow host system.ping", &host, "system.pingx"));
	assert_false(allows("allow host systemxping", &host, "system.ping"));
	assert_false(allows("allow host system.ping", &host, "systemxping"));
}

UNIT(a_rule_may_name_many)
{
	const char *text = "allow host system.ping mounts.*\tshares.list\n";

	assert_true(allows(text, &host, "system.ping"));
	assert_true(allows(text, &host, "mounts.unmount"));
	assert_true(allows(text, &host, "shares.list"));
	assert_false(allows(text, &host, "shares.mount"));
}

UNIT(host_covers_host_root_and_not_the_reverse)
{
	assert_true(allows("allow host system.ping", &host_root, "system.ping"));
	assert_false(allows("allow host-root system.ping", &host, "system.ping"));
	assert_true(allows("allow host-root system.ping", &host_root, "system.ping"));
	assert_false(allows("allow host *\ndeny host-root *", &host_root, "system.ping"));
	assert_true(allows("allow host *\ndeny host-root *", &host, "system.ping"));
	assert_false(allows("allow host-root *\ndeny host *", &host_root, "system.ping"));
}

UNIT(numbers_are_the_identity)
{
	const struct identity guest = {IDENTITY_GUEST, 5}, local = {IDENTITY_LOCAL, 5};

	assert_true(allows("allow guest:5 *", &guest, "system.ping"));
	assert_false(allows("allow guest:6 *", &guest, "system.ping"));
	assert_false(allows("allow guest:5 *", &local, "system.ping"));
	assert_true(allows("allow local:* *", &local, "system.ping"));
	assert_false(allows("allow local:* *", &guest, "system.ping"));
	assert_false(allows("allow local:* *\ndeny local:5 *", &local, "system.ping"));
	assert_false(allows("allow host *", &guest, "system.ping"));
	assert_false(allows("allow guest:* *", &host, "system.ping"));
	assert_true(allows("allow local:4294967294 *",
		&(struct identity){IDENTITY_LOCAL, 4294967294}, "system.ping"));
}

UNIT(comments_and_blanks_are_nothing)
{
	assert_true(allows(
		"  # x\n\tallow\thost  system.ping # deny host *\r\n", &host, "system.ping"));
	assert_true(allows("allow host system.ping", &host, "system.ping"));
}

static void refused(const char *text, const char *words)
{
	struct policy policy = {0};
	char expected[256];

	put("10-a.policy", text);
	assert_int_equal(policy_read(&policy, dir, problem, sizeof(problem)), -EINVAL);
	(void)snprintf(expected, sizeof(expected), "%s/10-a.policy:%s", dir, words);
	assert_string_equal(problem, expected);
	assert_null(policy.rules);
	assert_int_equal(policy.n, 0);
}

UNIT(mistakes_are_told_by_line)
{
	static const char *const identities[] = {"hosts", "Host", "guest", "guest:", "guest:x",
		"guest:-1", "guest:+1", "guest:5x", "guest:4294967295",
		"guest:99999999999999999999", "local:", "local:**", "*", "host:5"};

	refused("permit host *\n", "1: expected allow or deny");
	refused("allow host *\nALLOW host *\n", "2: expected allow or deny");
	refused("allow\n", "1: expected host, host-root, guest:CID or local:UID");
	refused("allow host\n", "1: expected at least one method or topic");
	refused("\n\nallow host # mounts.*\n", "3: expected at least one method or topic");
	refused("allow host mounts.list,mounts.mount\n",
		"1: a method is made of a-z, 0-9, '_', '.', '-' and '*'");
	refused("allow host Mounts.list\n",
		"1: a method is made of a-z, 0-9, '_', '.', '-' and '*'");
	refused("allow host ok bad?\n", "1: a method is made of a-z, 0-9, '_', '.', '-' and '*'");
	refused("allow host [a]\n", "1: a method is made of a-z, 0-9, '_', '.', '-' and '*'");
	for (size_t i = 0; i < sizeof(identities) / sizeof(identities[0]); i++) {
		char text[64];

		(void)snprintf(text, sizeof(text), "deny %s *\n", identities[i]);
		refused(text, "1: expected host, host-root, guest:CID or local:UID");
	}
}

UNIT(long_lines_are_refused_whole)
{
	char text[1100];

	memset(text, ' ', sizeof(text));
	memcpy(text, "allow host a", 12);
	text[1023] = '\n';
	text[1024] = '\0';
	assert_true(allows(text, &host, "a"));
	text[1023] = ' ';
	text[1024] = '\n';
	text[1025] = '\0';
	refused(text, "1: a line is longer than 1023 bytes");
	/* A comment too: its rest must not become a rule. */
	memset(text, '#', 1030);
	memcpy(text + 1030, "\nallow host *\n", 15);
	refused(text, "1: a line is longer than 1023 bytes");
}

UNIT(a_nul_byte_cannot_hide_the_rest)
{
	static const char inside[] = "allow host *\0\ndeny host *\n";
	static const char last[] = "allow host *\0 but not that";
	struct policy policy = {0};

	put_bytes_in("10-a.policy", inside, sizeof(inside) - 1);
	assert_int_equal(policy_read(&policy, dir, problem, sizeof(problem)), -EINVAL);
	assert_non_null(strstr(problem, ":1: a line holds a NUL byte"));
	put_bytes_in("10-a.policy", last, sizeof(last) - 1);
	assert_int_equal(policy_read(&policy, dir, problem, sizeof(problem)), -EINVAL);
}

UNIT(a_folder_without_policies_is_an_error)
{
	struct policy policy = {0};

	assert_int_equal(policy_read(&policy, dir, problem, sizeof(problem)), -ENOENT);
	assert_non_null(strstr(problem, "*.policy"));
	put(".hidden.policy", "allow host *\n");
	put("notes.txt", "allow host *\n");
	put("x.policy~", "allow host *\n");
	put(".policy", "allow host *\n");
	assert_int_equal(policy_read(&policy, dir, problem, sizeof(problem)), -ENOENT);
	assert_int_equal(policy_read(&policy, "/nonexistent", problem, sizeof(problem)), -ENOENT);
	assert_non_null(strstr(problem, "/nonexistent"));
}

UNIT(an_unreadable_file_is_an_error)
{
	struct policy policy = {0};
	char path[64];

	put("10-a.policy", "allow host *\n");
	(void)snprintf(path, sizeof(path), "%s/20-b.policy", dir);
	assert_int_equal(symlink("/nonexistent", path), 0);
	assert_int_equal(policy_read(&policy, dir, problem, sizeof(problem)), -ENOENT);
	assert_non_null(strstr(problem, "20-b.policy"));
	assert_int_equal(policy.n, 0);
}

UNIT(files_are_read_in_lexical_order)
{
	struct policy policy = {0};
	struct verdicts verdicts;
	const struct rule *rule;

	put("9-c.policy", "deny guest:* system.ping\n");
	put("20-b.policy", "\ndeny guest:* *\nallow host system.ping\n");
	put("10-a.policy", "# a\n#\n#\ndeny guest:9 system.*\n");
	assert_int_equal(policy_read(&policy, dir, problem, sizeof(problem)), 0);
	assert_int_equal(policy.n, 4);
	/* The first one that denies is the one that is named. */
	assert_int_equal(
		policy_verdicts(&policy, &(struct identity){IDENTITY_GUEST, 9}, &verdicts), 0);
	assert_string_equal(verdicts.method[METHOD_system_ping].rule, "10-a.policy:4");
	assert_string_equal(verdicts.method[METHOD_mounts_list].rule, "20-b.policy:2");
	assert_int_equal(
		policy_verdicts(&policy, &(struct identity){IDENTITY_GUEST, 8}, &verdicts), 0);
	assert_string_equal(verdicts.method[METHOD_system_ping].rule, "20-b.policy:2");
	assert_int_equal(policy_decide(&policy, &host, "system.ping", &rule), ALLOWED_YES);
	assert_non_null(rule);
	assert_int_equal(policy_decide(&policy, &host, "mounts.list", &rule), ALLOWED_NO);
	assert_null(rule);
	policy_clear(&policy);
	assert_int_equal(policy.n, 0);
}

UNIT(a_mistake_in_a_later_file_drops_all)
{
	struct policy policy = {0};

	put("10-a.policy", "allow host *\n");
	put("20-b.policy", "oops\n");
	assert_int_equal(policy_read(&policy, dir, problem, sizeof(problem)), -EINVAL);
	assert_int_equal(policy.n, 0);
	assert_null(policy.rules);
}

UNIT(verdicts_hold_every_row)
{
	struct policy policy = policy_of("allow host system.* notify.mounts.*\n"
					 "deny host system.info\n");
	static struct verdicts verdicts;
	size_t allowed = 0, n = policy_verdicts(&policy, &host, &verdicts);

	for (int i = 0; i < METHOD_COUNT; i++) {
		const struct verdict *verdict = &verdicts.method[i];
		bool expected =
			strncmp(method_rows[i].name, "system.", 7) == 0 && i != METHOD_system_info;

		assert_int_equal(verdict->allowed, expected);
		assert_string_equal(verdict->rule, i == METHOD_system_info ? "10-a.policy:2" : "");
		allowed += verdict->allowed;
	}
	for (int i = 0; i < TOPIC_COUNT; i++) {
		assert_int_equal(verdicts.topic[i].allowed,
			strncmp(topic_rows[i].name, "notify.mounts.", 14) == 0);
		allowed += verdicts.topic[i].allowed;
	}
	assert_int_equal(n, allowed);
	assert_true(n > 2);
	assert_int_equal(
		policy_verdicts(&policy, &(struct identity){IDENTITY_GUEST, 3}, &verdicts), 0);
	assert_int_equal(verdicts.method[METHOD_system_ping].allowed, 0);
	policy_clear(&policy);
}

UNIT(identities_are_printed_as_rules_name_them)
{
	char text[32];

	identity_print(&host, text, sizeof(text));
	assert_string_equal(text, "host");
	identity_print(&host_root, text, sizeof(text));
	assert_string_equal(text, "host-root");
	identity_print(&(struct identity){IDENTITY_GUEST, 4294967294}, text, sizeof(text));
	assert_string_equal(text, "guest:4294967294");
	identity_print(&(struct identity){IDENTITY_LOCAL, 0}, text, sizeof(text));
	assert_string_equal(text, "local:0");
}

#define POLICY_TEST(name)                                                                          \
	{                                                                                          \
#name, test_##name, NULL, empty_dir, NULL                                          \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		POLICY_TEST(no_rule_no_access),
		POLICY_TEST(deny_beats_allow_in_either_order),
		POLICY_TEST(patterns_stand_for_any_characters),
		POLICY_TEST(a_rule_may_name_many),
		POLICY_TEST(host_covers_host_root_and_not_the_reverse),
		POLICY_TEST(numbers_are_the_identity),
		POLICY_TEST(comments_and_blanks_are_nothing),
		POLICY_TEST(mistakes_are_told_by_line),
		POLICY_TEST(long_lines_are_refused_whole),
		POLICY_TEST(a_nul_byte_cannot_hide_the_rest),
		POLICY_TEST(a_folder_without_policies_is_an_error),
		POLICY_TEST(an_unreadable_file_is_an_error),
		POLICY_TEST(files_are_read_in_lexical_order),
		POLICY_TEST(a_mistake_in_a_later_file_drops_all),
		POLICY_TEST(verdicts_hold_every_row),
		POLICY_TEST(identities_are_printed_as_rules_name_them),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
