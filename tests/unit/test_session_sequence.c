/* links: state/session*.c state/channels.c state/backend.c state/ledger.c state/prepared.c state/settings.c parser/effects*.c parser/watch*.c parser/screen.c parser/grams.c parser/lex.c parser/tree.c parser/hash.c parser/buf.c parser/report.c -lpg_query -lprotobuf-c -lpthread -lm */
/* currval() and lastval(): on which backend, after which of our own statements. */
#include "tests/unit/fake_rules.h"

static int open_world(void **state)
{
	open_ruled(3, 1, "u");
	return 0;
}

/* How often the backend was told to discard, since last asked. */
static int discards(void)
{
	char *told = show_requests(&w.servers[0].sent);
	int n = 0;

	for (const char *at = told; (at = strstr(at, "DISCARD SEQUENCES")); at++)
		n++;
	free(told);
	server_forget(&w, 0);
	return n;
}

static void who_asks_is_pinned_behind_a_discard_where_others_were(void **state)
{
	client_does(1, "Q:SELECT 1");
	client_does(0, "Q:SELECT 1");
	assert_int_equal(discards(), 0);
	client_does(0, "Q:SELECT lastval()");
	assert_int_equal(discards(), 1);
	assert_int_equal(w.clients[0].s.pins, PIN_SEQUENCE);
	assert_string_equal(w.clients[0].s.pin_text, "SELECT lastval()");
	client_does(0, "Q:SELECT currval('s')|P::SELECT lastval()|B::|E:|S");
	assert_int_equal(discards(), 0);
	client_does(0, "Q:DISCARD SEQUENCES");
	assert_int_equal(w.clients[0].s.pins, 0);
	assert_null(w.clients[0].on);
	assert_int_equal(limit.count, 0);
}

static void who_has_a_backend_to_itself_keeps_its_numbers(void **state)
{
	client_does(0, "Q:SELECT nextval('s')|Q:SELECT currval('s')");
	assert_int_equal(discards(), 0);
	assert_int_equal(w.clients[0].s.pins, PIN_SEQUENCE);
}

static void others_of_its_kind_are_pinned_by_their_first_statement(void **state)
{
	client_start_with(&w, 2, "application_name", "another");
	client_does(0, "Q:SELECT lastval()|Q:DISCARD SEQUENCES");
	discards();
	client_does(2, "Q:SELECT nextval('s')");
	assert_int_equal(w.clients[2].s.pins, 0);
	assert_int_equal(discards(), 0);
	client_does(1, "Q:SELECT nextval('s')");
	assert_int_equal(w.clients[1].s.pins, PIN_SEQUENCE);
	assert_int_equal(discards(), 1);
}

static void in_a_transaction_it_is_discarded_too(void **state)
{
	client_does(1, "Q:SELECT nextval('s')");
	client_does(0, "Q:BEGIN|Q:SELECT currval('s')");
	assert_int_equal(discards(), 1);
	client_does(0, "Q:SELECT nextval('s')|Q:SELECT currval('s')|Q:COMMIT");
	assert_int_equal(discards(), 0);
	assert_int_equal(w.clients[0].s.pins, PIN_SEQUENCE);
}

static void a_text_that_goes_on_after_its_discard_stays_pinned(void **state)
{
	client_does(0, "Q:SELECT lastval()");
	client_does(0, "Q:BEGIN|Q:DISCARD SEQUENCES|Q:SELECT nextval('s')|Q:COMMIT");
	assert_int_equal(w.clients[0].s.pins, PIN_SEQUENCE);
}

static void where_rules_ignore_it_nothing_happens(void **state)
{
	rule(RULE_SEQUENCE, RULE_IGNORE);
	client_does(1, "Q:SELECT 1");
	client_does(0, "Q:SELECT lastval()");
	assert_int_equal(discards(), 0);
	assert_int_equal(w.clients[0].s.pins, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(who_asks_is_pinned_behind_a_discard_where_others_were),
		T(who_has_a_backend_to_itself_keeps_its_numbers),
		T(others_of_its_kind_are_pinned_by_their_first_statement),
		T(in_a_transaction_it_is_discarded_too),
		T(a_text_that_goes_on_after_its_discard_stays_pinned),
		T(where_rules_ignore_it_nothing_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
