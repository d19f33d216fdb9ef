/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics: the text is what Prometheus reads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "web/metrics.h"

static void test_samples(void **state)
{
	struct strbuf out = {0};

	metric_head(&out, "a_total", METRIC_COUNTER, "how \\ many\nlines");
	metric_u64(&out, "a_total", NULL, NULL, UINT64_MAX);
	metric_u64(&out, "a_total", "name", "x\"y\\z\n", 1);
	metric_head(&out, "b", METRIC_GAUGE, "b");
	metric_u64(&out, "b", NULL, NULL, 0);
	assert_string_equal(out.p, "# HELP a_total how \\\\ many\\nlines\n"
				   "# TYPE a_total counter\n"
				   "a_total 18446744073709551615\n"
				   "a_total{name=\"x\\\"y\\\\z\\n\"} 1\n"
				   "# HELP b b\n"
				   "# TYPE b gauge\n"
				   "b 0\n");
	strbuf_fini(&out);
}

static void test_hist(void **state)
{
	static const double bounds[] = {1, 15, 100, 1e6};
	struct strbuf out = {0};
	struct hist h;

	hist_init(&h);
	metric_hist(&out, "e", &h, bounds, 1);
	assert_string_equal(out.p, "e_bucket{le=\"1\"} 0\n"
				   "e_bucket{le=\"+Inf\"} 0\n"
				   "e_sum 0\ne_count 0\n");
	strbuf_reset(&out);
	hist_add(&h, 0);
	hist_add(&h, 1);
	hist_add(&h, 2);
	hist_add(&h, 15);
	hist_add(&h, 50);
	hist_add(&h, 5000);
	hist_add(&h, UINT64_MAX / 2);
	metric_hist(&out, "h", &h, bounds, ARRAY_SIZE(bounds));
	assert_string_equal(out.p, "h_bucket{le=\"1\"} 2\n"
				   "h_bucket{le=\"15\"} 4\n"
				   "h_bucket{le=\"100\"} 5\n"
				   "h_bucket{le=\"1000000\"} 6\n"
				   "h_bucket{le=\"+Inf\"} 7\n"
				   "h_sum 9223372036854780875\n"
				   "h_count 7\n");
	strbuf_fini(&out);
}

/* Edges are hist's own: a bound that is a quantile's edge holds all of it. */
static void test_edges_agree_with_hist(void **state)
{
	for (uint64_t v = 1; v < 1u << 20; v = v * 9 / 8 + 1) {
		struct strbuf out = {0}, expected = {0};
		struct hist h;
		double edge;
		size_t i;

		hist_init(&h);
		hist_add(&h, v);
		for (i = 0; h.bucket[i] == 0; i++)
			;
		edge = (double)hist_edge(i);
		metric_hist(&out, "x", &h, &edge, 1);
		strbuf_addf(&expected, "x_bucket{le=\"%.10g\"} 1\n", edge);
		assert_true(str_has_prefix(strbuf_str(&out),
					   strbuf_str(&expected)));
		edge -= 1;
		strbuf_reset(&out);
		metric_hist(&out, "x", &h, &edge, 1);
		assert_non_null(strstr(out.p, "\"} 0\n"));
		strbuf_fini(&out);
		strbuf_fini(&expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_hist),
		cmocka_unit_test(test_edges_agree_with_hist),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
