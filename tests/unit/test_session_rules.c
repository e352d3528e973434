/* links: state/session*.c state/channels.c state/backend.c state/ledger.c state/prepared.c state/settings.c parser/effects*.c parser/watch*.c parser/screen.c parser/grams.c parser/lex.c parser/tree.c parser/hash.c parser/buf.c parser/report.c -lpg_query -lprotobuf-c -lpthread -lm */
/* What an operator's rules make of a session's statements. */
#include "tests/unit/fake_rules.h"

static int open_world(void **state)
{
	open_ruled(3, 2, "it's $pgporter$ \\ \"u\"");
	return 0;
}

static void a_refused_statement_needs_no_backend_outside_of_a_transaction(void **state)
{
	rule(RULE_LOCK, RULE_REFUSE);
	client_says(&w, 0, "Q:SELECT pg_advisory_lock(1)", "E(0A000 session advisory locks: not allowed here) Z(I)");
	client_says(&w, 0, "P::SELECT pg_advisory_lock(1)|B::|E:|S", "E(0A000 session advisory locks: not allowed here) Z(I)");
	server_was_told(&w, 0, "");
	server_was_told(&w, 1, "");
	assert_int_equal(w.counters.refused, 2);
	client_says(&w, 0, "Q:SELECT 1", "T D( 1) C(SELECT 1) Z(I)");
}

static void in_a_transaction_postgresql_raises_it(void **state)
{
	rule(RULE_TEMP, RULE_REFUSE);
	rules.from[RULE_TEMP] = FROM_USER;
	client_says(&w, 0, "Q:BEGIN", "C(BEGIN) Z(T)");
	server_forget(&w, 0);
	script_put(&w.clients[0].in, "Q:CREATE TEMP TABLE x (v int)");
	client_turn(&w, &w.clients[0]);
	server_was_told(&w, 0, "Q(DO $pgporter$BEGIN RAISE EXCEPTION USING MESSAGE=E'temporary objects: not allowed here',"
			       "DETAIL=E'pgporter refuses it by the rule state_temp = refuse (user it?s ?pgporter? ? ?u?).',"
			       "HINT=E'An operator can allow it by state_temp in the configuration, for all, one database or one user.',"
			       "ERRCODE='0A000';END$pgporter$)");
}

static void a_place_is_taken_when_the_statement_is_sent_and_given_back_if_it_has_not_pinned(void **state)
{
	limit.max = 1;
	client_does(0, "Q:BEGIN|Q:SELECT pg_try_advisory_lock(1)");
	assert_int_equal(limit.count, 1);
	client_says(&w, 1, "Q:SELECT pg_advisory_lock(2)", "E(53400 too many pinned sessions) Z(I)");
	client_does(0, "Q:ROLLBACK");
	assert_int_equal(limit.count, 0);
	client_says(&w, 1, "Q:SELECT 1", "T D( 1) C(SELECT 1) Z(I)");
}

static void settings_that_a_rule_ignores_are_neither_kept_nor_taken_back(void **state)
{
	rule(RULE_SETTINGS, RULE_IGNORE);
	client_says(&w, 0, "Q:SET work_mem = 'a'", "C(SET) Z(I)");
	assert_int_equal(settings_size(w.clients[0].s.settings), 0);
	assert_true(w.servers[0].facts.left & 1u << RULE_SETTINGS);
	assert_int_equal(w.counters.ignored, 1);
	client_says(&w, 1, "Q:SHOW work_mem", "T D(a) C(SHOW) Z(I)");
	client_says(&w, 0, "Q:SET role = 'r'", "C(SET) Z(I)"); /* a kind of its own */
	assert_string_equal(settings_get(w.clients[0].s.settings, "role"), "r");
}

static void pgporter_pin_pins_until_it_is_off(void **state)
{
	client_says(&w, 0, "Q:SET pgporter.pin = on", "C(SET) Z(I)");
	assert_int_equal(w.clients[0].s.pins, PIN_HAND);
	assert_non_null(w.clients[0].on);
	assert_int_equal(limit.count, 1);
	client_says(&w, 0, "Q:SET pgporter.pin = maybe", "E(22023 parameter \"pgporter.pin\" requires a Boolean value) Z(I)");
	client_says(&w, 0, "Q:SET pgporter.pin = of", "C(SET) Z(I)");
	assert_int_equal(w.clients[0].s.pins, 0);
	assert_null(w.clients[0].on);
	assert_int_equal(limit.count, 0);
}

static void a_whole_session_is_pinned_from_its_first_statement_on(void **state)
{
	rules.applications = "one, two words ,three";
	session_start_with(&w.clients[0].s, "application_name", "two words");
	session_start_with(&w.clients[1].s, "application_name", "two");
	assert_int_equal(w.clients[0].s.pins, 0);
	client_does(0, "Q:SHOW work_mem");
	client_does(1, "Q:SHOW work_mem");
	assert_int_equal(w.clients[0].s.pins, PIN_WHOLE);
	assert_int_equal(w.clients[1].s.pins, 0);
	client_does(0, "Q:SET application_name = 'another'");
	assert_int_equal(w.clients[0].s.pins, PIN_WHOLE);
}

static void lists_are_parted_by_commas_only(void **state)
{
	assert_true(rules_list_has("a b, c", "a b"));
	assert_true(rules_list_has(" a ,\tc ", "c"));
	assert_false(rules_list_has("a b, c", "a"));
	assert_false(rules_list_has(" , ,", ""));
	assert_false(rules_list_has(NULL, "a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_refused_statement_needs_no_backend_outside_of_a_transaction, open_world, close_world),
		cmocka_unit_test_setup_teardown(in_a_transaction_postgresql_raises_it, open_world, close_world),
		cmocka_unit_test_setup_teardown(a_place_is_taken_when_the_statement_is_sent_and_given_back_if_it_has_not_pinned, open_world,
						close_world),
		cmocka_unit_test_setup_teardown(settings_that_a_rule_ignores_are_neither_kept_nor_taken_back, open_world, close_world),
		cmocka_unit_test_setup_teardown(pgporter_pin_pins_until_it_is_off, open_world, close_world),
		cmocka_unit_test_setup_teardown(a_whole_session_is_pinned_from_its_first_statement_on, open_world, close_world),
		cmocka_unit_test(lists_are_parted_by_commas_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
