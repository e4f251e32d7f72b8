/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rules that ask for parameters: their grammar, and what they say of requests. */
/* needs: agent/policy agent/row.c agent/methods/judge.c */
#include "tests/unit/unit.h"

#include <stdarg.h>

#include "agent/methods/judge.h"
#include "agent/policy/condition.h"
#include "agent/policy/rule.h"
#include "messages.h"

static const struct identity host = {IDENTITY_HOST, 0};

/* Of lines, as a file would have them. */
static struct policy policy_of(const char *text)
{
	struct policy policy = {.rules = calloc(8, sizeof(struct rule))};
	char lines[1024], *rest = lines, *line, why[RULE_WHY_MAX];

	(void)snprintf(lines, sizeof(lines), "%s", text);
	while ((line = strsep(&rest, "\n"))) {
		struct rule *rule = &policy.rules[policy.n];
		int r = rule_parse(line, rule, why);

		if (r < 0)
			fail_msg("%s", why);
		if (r > 0)
			(void)snprintf(rule->place, sizeof(rule->place), "line:%zu", ++policy.n);
	}
	return policy;
}

static char rule_of[64];
static bool by_path;

/* The whole way: verdict, clauses, judgement. */
static bool allows(const char *text, enum method method, const void *request)
{
	static struct verdicts verdicts;
	struct policy policy = policy_of(text);
	struct buffer clauses = {0};
	const char *rule = "";
	bool allowed;

	(void)policy_verdicts(&policy, &host, &verdicts);
	assert_int_equal(policy_clauses(&policy, &host, &verdicts, &clauses), 0);
	by_path = false;
	if (verdicts.method[method].allowed == ALLOWED_BY_PARAMETERS)
		allowed = judge_allows(buffer_front(&clauses), buffer_len(&clauses), method,
			request, &rule, &by_path);
	else
		allowed = verdicts.method[method].allowed == ALLOWED_YES;
	(void)snprintf(rule_of, sizeof(rule_of), "%s", rule);
	buffer_clear(&clauses);
	policy_clear(&policy);
	return allowed;
}

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
}

static bool reads(const char *text, const char *path, uint64_t length)
{
	Postern__V1__FilesReadRequest request = POSTERN__V1__FILES_READ_REQUEST__INIT;

	request.has_path = path != NULL;
	if (path)
		request.path = bytes(path);
	request.has_length = length != 0;
	request.length = length;
	return allows(text, METHOD_files_read, &request);
}

UNIT(under_is_by_whole_parts)
{
	const char *rule = "allow host files.read where path under /srv/data";

	assert_true(reads(rule, "/srv/data", 0));
	assert_true(by_path);
	assert_true(reads(rule, "/srv/data/a/b", 0));
	assert_true(reads(rule, "//srv/./data//a/", 0));
	assert_true(reads(rule, "srv/data/a", 0));
	assert_false(reads(rule, "/srv/database", 0));
	assert_false(reads(rule, "/srv", 0));
	assert_false(reads(rule, "/", 0));
	assert_false(reads(rule, "/srv/data/../other", 0));
	assert_false(reads(rule, "/srv/data/..", 0));
	assert_true(reads(rule, "/srv/data/..a", 0));
	assert_false(reads(rule, NULL, 0));
	assert_true(reads("allow host files.read where path under /", "/anything", 0));
}

UNIT(a_deny_that_holds_beats_all)
{
	const char *rules = "allow host files.*\ndeny host files.read where path under /etc\n"
			    "allow host files.read where path under /etc/postern";

	assert_true(reads(rules, "/srv/a", 0));
	assert_string_equal(rule_of, "line:1");
	assert_true(by_path);
	assert_false(reads(rules, "/etc/postern/x", 0));
	assert_string_equal(rule_of, "line:2");
	/* What cannot be told is denied. */
	assert_false(reads(rules, "/srv/../etc/shadow", 0));
	assert_true(reads(rules, NULL, 0));
	assert_false(reads("deny host *\nallow host files.read where path under /", "/a", 0));
}

UNIT(numbers_names_and_truth)
{
	Postern__V1__MountsUnmountRequest unmount = POSTERN__V1__MOUNTS_UNMOUNT_REQUEST__INIT;
	const char *few = "allow host files.read where length within 1..4096 and path = /a";

	assert_true(reads(few, "/a", 1));
	assert_true(reads(few, "/a", 4096));
	assert_false(reads(few, "/a", 4097));
	assert_false(reads(few, "/a", 0));
	assert_false(reads(few, "/b", 1));
	assert_false(reads(few, "/a", UINT64_MAX));
	unmount.has_mode = true;
	unmount.mode = POSTERN__V1__UNMOUNT_MODE__NORMAL;
	assert_true(allows("allow host mounts.unmount where mode in NORMAL,LAZY",
		METHOD_mounts_unmount, &unmount));
	assert_false(allows(
		"allow host mounts.unmount where mode = LAZY", METHOD_mounts_unmount, &unmount));
	unmount.mode = (Postern__V1__UnmountMode)77;
	assert_false(allows("allow host mounts.unmount where mode in NORMAL,LAZY",
		METHOD_mounts_unmount, &unmount));
}

static bool starts(const char *text, size_t n, ...)
{
	Postern__V1__ExecStartRequest request = POSTERN__V1__EXEC_START_REQUEST__INIT;
	ProtobufCBinaryData argv[8];
	va_list list;

	va_start(list, n);
	for (size_t i = 0; i < n; i++)
		argv[i] = bytes(va_arg(list, const char *));
	va_end(list);
	request.n_argv = n;
	request.argv = argv;
	return allows(text, METHOD_exec_start, &request);
}

UNIT(elements_of_what_is_repeated)
{
	const char *one =
		"allow host exec.start where argv.0 = /bin/backup and argv.count within 1..2";
	const char *safe = "allow host exec.start where argv ~ [a]*";
	const char *plain = "allow host exec.start where argv ~ /bin/*";

	assert_true(starts(one, 1, "/bin/backup"));
	assert_true(starts(one, 2, "/bin/backup", "--all"));
	assert_false(starts(one, 3, "/bin/backup", "--all", "x"));
	assert_false(starts(one, 2, "/bin/sh", "/bin/backup"));
	assert_false(starts(one, 0));
	assert_true(starts(plain, 2, "/bin/a", "/bin/b"));
	assert_false(starts(plain, 2, "/bin/a", "b"));
	assert_false(starts(plain, 0));
	assert_true(starts(safe, 1, "apple"));
	/* A deny asks for any. */
	assert_false(starts(
		"allow host exec.*\ndeny host exec.start where argv ~ *sh", 2, "/bin/env", "bash"));
	assert_true(starts("allow host exec.*\ndeny host exec.start where argv.0 ~ *sh", 2,
		"/bin/env", "bash"));
	assert_true(starts("allow host exec.*\ndeny host exec.start where argv.5 = x", 1, "x"));
}

UNIT(nul_bytes_end_no_comparison_early)
{
	Postern__V1__FilesReadRequest request = POSTERN__V1__FILES_READ_REQUEST__INIT;

	request.has_path = true;
	request.path = (ProtobufCBinaryData){4, (uint8_t *)"/a\0b"};
	assert_false(allows("allow host files.read where path = /a", METHOD_files_read, &request));
	assert_false(allows("allow host files.read where path ~ /a*", METHOD_files_read, &request));
}

UNIT(quotes_keep_words_together)
{
	assert_true(reads("allow host files.read where path = \"/a b\" # x", "/a b", 0));
	assert_true(reads("allow host files.read where path = \"/a#\\\"\\\\\"", "/a#\"\\", 0));
	assert_true(reads("allow host files.read where path under \"/a b\"", "/a b/c", 0));
}

static void refused(const char *text, const char *words)
{
	char line[512], why[RULE_WHY_MAX];
	struct rule rule;

	(void)snprintf(line, sizeof(line), "%s", text);
	assert_int_equal(rule_parse(line, &rule, why), -EINVAL);
	assert_string_equal(why, words);
}

UNIT(mistakes_say_what_was_expected)
{
	refused("allow host files.read where", "expected FIELD OPERATOR VALUE behind where and "
					       "behind each and");
	refused("allow host files.read where path =", "expected FIELD OPERATOR VALUE behind where "
						      "and behind each and");
	refused("allow host files.read where path is /a",
		"expected =, in, ~, under or within between a field and its value");
	refused("allow host files.read where path = /a or path = /b",
		"expected and between conditions");
	refused("allow host files.read where file = /a",
		"where file: files.read: has no such field that a rule can ask for");
	refused("allow host files.read where path.0 = /a",
		"where path.0: files.read: has no such field that a rule can ask for");
	refused("allow host files.read where path within 1..2",
		"where path: files.read: the field is not a number");
	refused("allow host files.read where length within 1-2",
		"within: expected LOW..HIGH, two numbers");
	refused("allow host files.read where length = -1",
		"where length: files.read: expected a number that the field can have");
	refused("allow host files.read where length ~ 1*",
		"where length: files.read: the field is not text");
	refused("allow host files.read where follow_links = yes",
		"where follow_links: files.read: expected true or false");
	refused("allow host mounts.unmount where mode = SOFT",
		"where mode: mounts.unmount: the field has no such name");
	refused("allow host files.read where path under srv",
		"under: expected an absolute path without \".\", \"..\" and doubled slashes");
	refused("allow host files.read where path under /srv/../etc",
		"under: expected an absolute path without \".\", \"..\" and doubled slashes");
	refused("allow host files.read where path under /srv/",
		"under: expected an absolute path without \".\", \"..\" and doubled slashes");
	refused("allow host files.read where path in /a,,/b",
		"expected a value, which is not empty");
	refused("allow host exec.start where cwd under /srv",
		"where cwd: exec.start: starts a program: ask with = or ~");
	refused("allow host time.get where x = 1",
		"where: time.get is answered before anybody looks at its parameters: name it in a "
		"rule of its own");
	refused("allow host notify.* where x = 1",
		"where: a notification has no parameters: name it in a rule of its own");
	refused("allow host none.such where x = 1", "where: expected a method that there is");
	refused("allow host \"files.read", "expected a \" at the end of the word");
}

UNIT(clauses_that_are_cut_allow_nothing)
{
	Postern__V1__FilesReadRequest request = POSTERN__V1__FILES_READ_REQUEST__INIT;
	struct policy policy =
		policy_of("allow host files.read where length within 0..9 and path = /a");
	struct buffer clauses = {0};
	struct verdicts verdicts;
	const char *rule;
	bool looked;

	request.has_path = true;
	request.path = bytes("/a");
	request.has_length = true;
	(void)policy_verdicts(&policy, &host, &verdicts);
	assert_int_equal(policy_clauses(&policy, &host, &verdicts, &clauses), 0);
	/* Behind it is only what the next one would be aligned by. */
	for (size_t cut = 0; cut < ((struct clause *)buffer_front(&clauses))->size; cut++) {
		uint8_t *exact = malloc(cut + 1);

		memcpy(exact, buffer_front(&clauses), cut);
		assert_false(
			judge_allows(exact, cut, METHOD_files_read, &request.base, &rule, &looked));
		free(exact);
	}
	assert_true(judge_allows(buffer_front(&clauses), buffer_len(&clauses), METHOD_files_read,
		&request.base, &rule, &looked));
	buffer_clear(&clauses);
	policy_clear(&policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_under_is_by_whole_parts),
		cmocka_unit_test(test_a_deny_that_holds_beats_all),
		cmocka_unit_test(test_numbers_names_and_truth),
		cmocka_unit_test(test_elements_of_what_is_repeated),
		cmocka_unit_test(test_nul_bytes_end_no_comparison_early),
		cmocka_unit_test(test_quotes_keep_words_together),
		cmocka_unit_test(test_mistakes_say_what_was_expected),
		cmocka_unit_test(test_clauses_that_are_cut_allow_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
