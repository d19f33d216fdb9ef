/* SPDX-License-Identifier: Apache-2.0 */
/* Reports and tables: what people and programs read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "deploy/report.h"
#include "deploy/table.h"

static void test_table(void **state)
{
	static const char *const heads[] = {"NAME", ">N", "NOTE"};
	struct strbuf out = {0};
	struct table table;

	table_init(&table, heads, 3);
	table_add(&table, "é");
	table_addf(&table, "%d", 12345);
	table_add(&table, "a note");
	table_add_line(&table, "a line\t under it");
	table_add_line(&table, "");
	table_add(&table, "longer\n");
	table_add_size(&table, 512);
	table_add(&table, "");
	table_format(&table, &out);
	assert_string_equal(out.p, "NAME         N  NOTE\n"
				   "é        12345  a note\n"
				   "    a line? under it\n"
				   "longer?  512 B  \n");
	strbuf_fini(&out);
}

static void test_endpoint_name(void **state)
{
	static const struct {
		const char *text, *name;
	} cases[] = {
		{"traddr:10.0.0.7 trsvcid:4421 subnqn:nqn.2026-11.io.x:a "
		 "trtype:TCP adrfam:IPv4 ns:3",
		 "10.0.0.7:4421 nqn.2026-11.io.x:a ns 3"},
		{"traddr:fd00::7 subnqn:nqn.2026-11.io.x:a trtype:TCP",
		 "[fd00::7]:4420 nqn.2026-11.io.x:a"},
		{"10.0.0.7:8009", "10.0.0.7:8009"},
		{"", ""},
	};
	struct strbuf out = {0};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		strbuf_reset(&out);
		add_endpoint_name(&out, cases[i].text);
		assert_string_equal(out.p ? out.p : "", cases[i].name);
	}
	strbuf_fini(&out);
}

static void fill(struct report *report)
{
	struct report_row row = {
		.outcome = OUTCOME_NEW,
		.endpoint = "traddr:a ns:1",
		.segment = "11111111-2222-3333-4444-555555555555",
		.bytes = GiB,
	};

	assert_int_equal(report_add(report, &row), 0);
	row.outcome = OUTCOME_ALREADY;
	assert_int_equal(report_add(report, &row), 0);
	row = (struct report_row){
		.outcome = OUTCOME_FAILED,
		.endpoint = "traddr:b ns:7",
		.text = "there is no namespace 7",
	};
	assert_int_equal(report_add(report, &row), 0);
}

static void test_text(void **state)
{
	struct report report = {0};
	struct strbuf out = {0};

	assert_int_equal(report_exit_status(&report), 1);
	report_format(&report, false, &out);
	assert_string_equal(out.p, "Total SSDs: 0\n"
				   "Successfully registered: 0\n"
				   "Already registered (skipped): 0\n"
				   "Failed: 0\n");
	strbuf_reset(&out);
	fill(&report);
	report_format(&report, false, &out);
	assert_string_equal(out.p, "STATE       SIZE  NAMESPACE\n"
				   "new      1.00 GB  traddr:a ns:1\n"
				   "already  1.00 GB  traddr:a ns:1\n"
				   "failed         ?  traddr:b ns:7\n"
				   "    there is no namespace 7\n\n"
				   "Total SSDs: 3\n"
				   "Successfully registered: 1\n"
				   "Already registered (skipped): 1\n"
				   "Failed: 1\n");
	assert_int_equal(report_exit_status(&report), 1);
	report_fini(&report);
	strbuf_fini(&out);
}

static void test_taken_over(void **state)
{
	struct report_row row = {.outcome = OUTCOME_TAKEN, .endpoint = "x"};
	struct report report = {0};
	struct strbuf out = {0};

	assert_int_equal(report_add(&report, &row), 0);
	report_format(&report, false, &out);
	assert_non_null(strstr(out.p, "\ntaken over "));
	assert_non_null(strstr(out.p, "Total SSDs: 1\n"
				      "Successfully registered: 1\n"
				      "Already registered (skipped): 0\n"
				      "Failed: 0\n"));
	strbuf_reset(&out);
	report_format_json(&report, &out);
	assert_non_null(strstr(out.p, "\"registered\": 1"));
	assert_int_equal(report_exit_status(&report), 0);
	report_fini(&report);
	strbuf_fini(&out);
}

static void test_removal(void **state)
{
	struct report_row row = {.outcome = OUTCOME_REMOVED};
	struct report report = {0};
	struct strbuf out = {0};

	assert_int_equal(report_add(&report, &row), 0);
	assert_int_equal(report_exit_status(&report), 0);
	report_format(&report, true, &out);
	assert_non_null(strstr(out.p, "Total SSDs: 1\n"
				      "Successfully unregistered: 1\n"
				      "Failed: 0\n"));
	report_fini(&report);
	strbuf_fini(&out);
}

/* A node's words in Latin-1, and a character that was cut in two. */
static void test_foreign_words(void **state)
{
	struct report_row row = {
		.outcome = OUTCOME_FAILED,
		.endpoint = "10.0.0.7\xe2",
		.text = "10.0.0.7: no shell: Gr\xfc\xdf"
			"e",
	};
	struct report report = {0};
	struct strbuf out = {0};
	json_t *root, *got;

	assert_int_equal(report_add(&report, &row), 0);
	report_format_json(&report, &out);
	root = json_loads(out.p, 0, NULL);
	got = json_array_get(json_object_get(root, "namespaces"), 0);
	assert_non_null(got);
	assert_string_equal(json_string_value(json_object_get(got, "message")),
			    "10.0.0.7: no shell: Gr??e");
	assert_string_equal(json_string_value(json_object_get(got, "endpoint")),
			    "10.0.0.7?");
	json_decref(root);
	report_fini(&report);
	strbuf_fini(&out);
}

static void test_json(void **state)
{
	struct report report = {0};
	struct strbuf out = {0};
	const char *message;
	json_error_t jerr;
	json_t *root, *row;

	fill(&report);
	report_format_json(&report, &out);
	root = json_loads(out.p, 0, &jerr);
	assert_non_null(root);
	assert_int_equal(json_integer_value(json_object_get(root, "total")), 3);
	assert_int_equal(json_integer_value(json_object_get(root, "failed")),
			 1);
	row = json_array_get(json_object_get(root, "namespaces"), 2);
	message = json_string_value(json_object_get(row, "message"));
	assert_string_equal(message, "there is no namespace 7");
	row = json_array_get(json_object_get(root, "namespaces"), 0);
	assert_int_equal(json_integer_value(json_object_get(row, "size")), GiB);
	json_decref(root);
	report_fini(&report);
	strbuf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_endpoint_name),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_taken_over),
		cmocka_unit_test(test_removal),
		cmocka_unit_test(test_foreign_words),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
