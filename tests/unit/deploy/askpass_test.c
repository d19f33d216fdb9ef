/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets the password: questions of the node and of others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "deploy/askpass.h"

static void check(const struct askpass_who *who, const char *question,
		  bool is_given)
{
	if (askpass_is_for(who, question) != is_given)
		fail_msg("\"%s\" for %s@%s: %d", question, who->user, who->host,
			 !is_given);
}

static void test_questions(void **state)
{
	struct askpass_who who = {.user = "op", .host = "10.0.0.7"};

	check(&who, "op@10.0.0.7's password: ", true);
	check(&who, "(op@10.0.0.7) Password: ", true);
	check(&who, "(op@10.0.0.7) op's password for login: ", true);
	check(&who, "op@jump's password: ", false);
	check(&who, "root@10.0.0.7's password: ", false);
	check(&who, "op@10.0.0.77's password: ", false);
	check(&who, "(op@jump) Password: ", false);
	/* A jump host that says it is the node. */
	check(&who, "(op@jump) op@10.0.0.7's password: ", false);
	check(&who, "(op@jump) (op@10.0.0.7) Password: ", false);
	check(&who, "x op@10.0.0.7's password: ", false);
	check(&who, "op@10.0.0.7's password: yes", false);
	/* Other questions of the node. */
	check(&who, "(op@10.0.0.7) Verification code: ", false);
	check(&who, "Enter op@10.0.0.7's old password: ", false);
	check(&who, "Are you sure you want to continue (yes/no)? ", false);
	check(&who, "(op@10.0.0.7", false);
	check(&who, "()", false);
	check(&who, "", false);
	check(&who, "Password: ", false);
	check(&who, "op@jump's password: ", false);
	check(&who, "(op@jump) Password: ", false);
	who.user[0] = '\0';
	check(&who, "root@10.0.0.7's password: ", true);
	check(&who, "root@10.0.0.8's password: ", false);
	check(&who, "10.0.0.7's password: ", false);
}

static void test_long_names(void **state)
{
	struct askpass_who who = {
		.user = "u123456789012345678901234567890123456789",
		.host = "Node.Example"};

	check(&who,
	      "u12345678901234567890123456789@node.example's password: ", true);
	check(&who, "u12345678901234567890123456788@node.example's password: ",
	      false);
	check(&who,
	      "(u123456789012345678901234567890123456789@node.example) "
	      "Password:",
	      true);
}

static void test_configuration(void **state)
{
	struct askpass_who who = {.host = "ssd7"}, back;
	char text[ASKPASS_WHO_LEN];

	askpass_who_parse(STR("command not found\n"), &who);
	assert_string_equal(who.host, "ssd7");
	askpass_who_parse(STR("user op\nhostname 10.0.0.7\nport 22\n"), &who);
	assert_string_equal(who.user, "op");
	assert_string_equal(who.host, "10.0.0.7");
	askpass_who_format(&who, text);
	askpass_who_read(text, &back);
	assert_string_equal(back.user, "op");
	assert_string_equal(back.host, "10.0.0.7");
	askpass_who_parse(STR("hostkeyalias seven\nhostname 10.0.0.7\n"
			      "proxyjump op@jump\n"),
			  &who);
	assert_string_equal(who.host, "seven");
	askpass_who_read("", &back);
	check(&back, "op@10.0.0.7's password: ", false);
}

static void check_version(const char *text, bool is_told, const char *name)
{
	char got[ASKPASS_SSH_LEN];

	assert_int_equal(askpass_is_told(str_of(text), got), is_told);
	assert_string_equal(got, name);
}

static void test_versions(void **state)
{
	check_version("OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.22\n", true,
		      "OpenSSH_9.2p1");
	check_version("OpenSSH_8.5p1, OpenSSL 1.1.1k\n", true, "OpenSSH_8.5p1");
	check_version("OpenSSH_10.0p2\n", true, "OpenSSH_10.0p2");
	check_version("OpenSSH_8.4p1 Debian-5\n", false, "OpenSSH_8.4p1");
	check_version("OpenSSH_7.9p1\n", false, "OpenSSH_7.9p1");
	check_version("plink: Release 0.78\n", false, "plink:");
	check_version("OpenSSH_9\n", false, "OpenSSH_9");
	check_version("", false, "");
	check_version("OpenSSH_99999999999999999999999999999999999999999999",
		      false, "OpenSSH_9999999999999999999999999999999");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_configuration),
		cmocka_unit_test(test_versions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
