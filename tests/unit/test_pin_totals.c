/* links: state/pin_totals.c parser/hash.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "state/pin_totals.h"

static void statements_that_differ_in_literals_blanks_comments_and_case_are_one(void **state)
{
	static const char *const same[] = {
		"SELECT pg_advisory_lock(1)", "select  pg_advisory_lock( 77 );", "/* here */ SELECT pg_advisory_lock(1) -- there",
		"SELECT\npg_advisory_lock ('it''s')", "SELECT pg_advisory_lock(1.5e3)",
	};
	static const char *const others[] = {
		"SELECT pg_advisory_lock(1, 2)", "SELECT pg_advisory_lock($1)", "SELECT pg_advisory_lock2(1)", "SELECTpg_advisory_lock(1)",
		"SELECT pg_advisory_lock($2)", "LISTEN a", "LISTEN b", "",
	};
	uint64_t seen[8];

	for (size_t i = 1; i < sizeof same / sizeof *same; i++)
		assert_int_equal(statement_fingerprint(same[i]), statement_fingerprint(same[0]));
	for (size_t i = 0; i < 8; i++) {
		seen[i] = statement_fingerprint(others[i]);
		assert_int_not_equal(seen[i], statement_fingerprint(same[0]));
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(seen[i], seen[j]);
	}
}

static void every_beginning_of_a_statement_has_a_fingerprint(void **state)
{
	static const char text[] = "SELECT /* a */ 'b''c', $1, \"d\", 0x1f -- e\n, E'\\'' FROM f /* g";
	char part[sizeof text];

	for (size_t n = 0; n < sizeof text; n++) {
		memcpy(part, text, n);
		part[n] = 0;
		statement_fingerprint(part);
	}
}

static void the_statement_that_pins_most_is_known_among_many(void **state)
{
	struct pin_total t = { 0 };
	char text[64];

	assert_null(pin_total_most(&t));
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof text, "LISTEN channel_%c%c", 'a' + i % 26, 'a' + i / 26 % 26);
		pin_total_begin(&t, i % 3 ? text : "LISTEN often");
		pin_total_end(&t, i);
	}
	assert_string_equal(pin_total_most(&t)->text, "LISTEN often");
	assert_true(pin_total_most(&t)->count >= 334);
	assert_int_equal(t.ever, 1000);
	assert_int_equal(t.now, 0);
	assert_int_equal(t.total_us, 999 * 1000 / 2);
	assert_int_equal(t.longest_us, 999);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statements_that_differ_in_literals_blanks_comments_and_case_are_one),
		cmocka_unit_test(every_beginning_of_a_statement_has_a_fingerprint),
		cmocka_unit_test(the_statement_that_pins_most_is_known_among_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
