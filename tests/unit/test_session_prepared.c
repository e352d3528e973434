/* links: state/session*.c state/channels.c state/backend.c state/ledger.c state/prepared.c state/settings.c parser/effects*.c parser/watch*.c parser/screen.c parser/grams.c parser/lex.c parser/tree.c parser/hash.c parser/buf.c parser/report.c -lpg_query -lprotobuf-c -lpthread -lm */
/* Prepared statements of many clients on few backends. */
#include "tests/unit/fake_session.h"

#define TASK(sql) "C(Spgporter_set) C(Ppgporter_set) P(pgporter_set," sql ") B(pgporter_set,pgporter_set"

static struct world w;

static int open_world(void **state)
{
	world_init(&w, 3, 2);
	return 0;
}

static int close_world(void **state)
{
	world_release(&w);
	return 0;
}

static void two_clients_share_a_statement_and_the_second_ones_reply_comes_in_its_place(void **state)
{
	client_says(&w, 0, "P:s:SELECT 1|B::s|E:|S", "1 2 D( 1) C(SELECT 1) Z(I)");
	server_was_told(&w, 0, "P(pgporter_1,SELECT 1) B(,pgporter_1) E() S");
	client_says(&w, 1, "P::SELECT 2|B::|E:|P:t:SELECT 1|B::t|E:|S", "1 2 D( 2) C(SELECT 1) 1 2 D( 1) C(SELECT 1) Z(I)");
	server_was_told(&w, 0, "P(,SELECT 2) B(,) E() B(,pgporter_1) E() S");
	assert_int_equal(w.counters.client_parses, 3);
	assert_int_equal(w.counters.server_parses, 2);
}

static void one_name_with_two_texts_is_two_statements(void **state)
{
	client_says(&w, 0, "P:s:SELECT 1|S", "1 Z(I)");
	client_says(&w, 1, "P:s:SELECT 2|S", "1 Z(I)");
	client_says(&w, 0, "B::s|E:|S", "2 D( 1) C(SELECT 1) Z(I)");
	client_says(&w, 1, "B::s|E:|S", "2 D( 2) C(SELECT 1) Z(I)");
}

static void a_statement_follows_its_client_and_an_unknown_one_is_unknown(void **state)
{
	client_says(&w, 0, "P:s:SELECT 1|S", "1 Z(I)");
	w.prefer = 1;
	client_says(&w, 0, "B::s|E:|S", "2 D( 1) C(SELECT 1) Z(I)");
	server_was_told(&w, 1, "P(pgporter_1,SELECT 1) B(,pgporter_1) E() S");
	client_says(&w, 1, "B::s|E:|S", "E(26000 prepared statement \"s\" does not exist) Z(I)");
	client_says(&w, 1, "B::|S", "E(26000 unnamed prepared statement does not exist) Z(I)");
}

static void a_backends_name_guessed_by_another_client_reaches_nothing(void **state)
{
	client_says(&w, 0, "P:s:SELECT 1|S|Q:PREPARE t AS SELECT 2", "1 Z(I) C(PREPARE) Z(I)");
	client_says(&w, 1, "D:S:pgporter_1|S|B::pgporter_1|S|C:S:pgporter_1|S",
		    "E(26000 prepared statement \"pgporter_none\" does not exist) Z(I) "
		    "E(26000 prepared statement \"pgporter_none\" does not exist) Z(I) 3 Z(I)");
	client_says(&w, 1, "Q:EXECUTE pgporter_2|Q:DEALLOCATE pgporter_1|P::DEALLOCATE pgporter_2|B::|E:|S|P::EXECUTE pgporter_2|B::|E:|S",
		    "E(26000 prepared statement \"pgporter_none\" does not exist) Z(I) "
		    "E(26000 prepared statement \"pgporter_none\" does not exist) Z(I) "
		    "1 2 E(26000 prepared statement \"pgporter_none\" does not exist) Z(I) "
		    "1 2 E(26000 prepared statement \"pgporter_none\" does not exist) Z(I)");
	client_says(&w, 1, "P:pgporter_1:SELECT 7|B::pgporter_1|E:|S", "1 2 D( 7) C(SELECT 1) Z(I)");
	client_says(&w, 0, "B::s|E:|S|Q:EXECUTE t", "2 D( 1) C(SELECT 1) Z(I) T D( 2) C(SELECT 1) Z(I)");
}

static void a_described_statement_is_prepared_anew_only_with_the_same_result(void **state)
{
	client_says(&w, 0, "P:s:SELECT 1|D:S:s|S", "1 t T Z(I)");
	w.prefer = 1;
	client_says(&w, 0, "B::s|E:|S", "2 D( 1) C(SELECT 1) Z(I)");
	server_was_told(&w, 1, "P(pgporter_1,SELECT 1) D(Spgporter_1) S B(,pgporter_1) E() S");
}

static void it_is_parsed_elsewhere_under_the_settings_of_its_own_parse(void **state)
{
	client_says(&w, 0, "Q:SET search_path = 'a'|P:s:SELECT parsed|S|Q:SET search_path = 'b'", "C(SET) Z(I) 1 Z(I) C(SET) Z(I)");
	w.prefer = 1;
	client_says(&w, 0, "B::s|E:|Q:SHOW search_path", "2 D(a) C(SELECT 1) T D(b) C(SHOW) Z(I)");
	client_says(&w, 1, "P:s:SELECT parsed|B::s|E:|S", "1 2 D(default) C(SELECT 1) Z(I)");
	client_says(&w, 0, "Q:BEGIN|B::s|E:|S|Q:SHOW search_path|Q:COMMIT",
		    "C(BEGIN) Z(T) 2 D(a) C(SELECT 1) Z(T) T D(b) C(SHOW) Z(T) C(COMMIT) Z(I)");
}

static void so_it_is_where_a_savepoint_took_back_that_its_setting_was_the_sessions_own(void **state)
{
	client_says(&w, 0, "Q:SET search_path = 'a'|Q:BEGIN|Q:SET LOCAL search_path = 'b'|Q:SAVEPOINT s|Q:SET LOCAL search_path = 'a'|Q:ROLLBACK TO s",
		    "C(SET) Z(I) C(BEGIN) Z(T) C(SET) Z(T) C(SAVEPOINT) Z(T) C(SET) Z(T) C(ROLLBACK) Z(T)");
	client_says(&w, 0, "P:s:SELECT parsed|S|Q:COMMIT", "1 Z(T) C(COMMIT) Z(I)");
	w.prefer = 1;
	client_says(&w, 0, "B::s|E:|S|Q:SHOW search_path", "2 D(b) C(SELECT 1) Z(I) T D(a) C(SHOW) Z(I)");
}

static void a_prepare_in_the_text_that_sets_it_is_prepared_elsewhere_as_it_ran(void **state)
{
	client_says(&w, 0, "Q:SET search_path = 'a'; PREPARE s AS SELECT parsed; SET search_path = 'b'; PREPARE t AS SELECT parsed; SELECT nothing",
		    "C(SET) C(PREPARE) C(SET) C(PREPARE) T D( nothing) C(SELECT 1) Z(I)");
	client_says(&w, 1, "Q:PREPARE s AS SELECT parsed", "C(PREPARE) Z(I)");
	w.prefer = 1;
	client_says(&w, 0, "Q:EXECUTE s; EXECUTE t", "T D(a) C(SELECT 1) T D(b) C(SELECT 1) Z(I)");
	client_says(&w, 1, "Q:EXECUTE s", "T D(default) C(SELECT 1) Z(I)");
}

static void a_duplicate_name_is_refused_under_the_name_that_was_said(void **state)
{
	client_says(&w, 0, "P:s:SELECT 1|P:t:SELECT 1|S", "1 1 Z(I)");
	client_says(&w, 0, "P:t:SELECT 3|S", "E(42P05 prepared statement \"t\" already exists) Z(I)");
	w.prefer = 1;
	client_says(&w, 0, "P:s:SELECT 3|S|B::s|E:|S", "E(42P05 prepared statement \"s\" already exists) Z(I) 2 D( 1) C(SELECT 1) Z(I)");
}

static void a_parse_that_failed_or_was_skipped_leaves_no_name(void **state)
{
	client_says(&w, 0, "P:s:syntax|P:t:SELECT 1|S", "E(42601 syntax error at or near \"syntax\") Z(I)");
	assert_int_equal(w.clients[0].s.names.count, 0);
	assert_int_equal(w.servers[0].facts.prepared.count, 0);
	client_says(&w, 1, "P:u:SELECT 2|S", "1 Z(I)");
	client_says(&w, 0, "P:s:syntax|P:u:SELECT 2|S", "E(42601 syntax error at or near \"syntax\") Z(I)"); /* an invented one */
	assert_int_equal(w.clients[0].s.names.count, 0);
	client_says(&w, 0, "P:s:SELECT 1|P:t:SELECT 1|S", "1 1 Z(I)");
}

static void names_given_and_closed_in_a_skipped_batch_end_as_they_were(void **state)
{
	client_says(&w, 0, "P:old:SELECT 1|S", "1 Z(I)");
	client_says(&w, 0, "B::no|P:s:SELECT 2|C:S:s|C:S:old|P:old:SELECT 3|S", "E(26000 prepared statement \"no\" does not exist) Z(I)");
	assert_null(names_find(&w.clients[0].s.names, "s"));
	client_says(&w, 0, "P:s:SELECT 2|B::old|E:|S", "1 2 D( 1) C(SELECT 1) Z(I)");
}

static void close_is_answered_in_its_place_and_leaves_others_theirs(void **state)
{
	client_says(&w, 0, "P:s:SELECT 1|S", "1 Z(I)");
	client_says(&w, 1, "P:s:SELECT 1|S", "1 Z(I)");
	server_forget(&w, 0);
	client_says(&w, 0, "P::SELECT 2|C:S:s|B::|E:|S|B::s|S",
		    "1 3 2 D( 2) C(SELECT 1) Z(I) E(26000 prepared statement \"s\" does not exist) Z(I)");
	client_says(&w, 1, "B::s|E:|S", "2 D( 1) C(SELECT 1) Z(I)");
}

static void a_backend_holds_no_more_statements_than_it_may(void **state)
{
	w.servers[0].facts.prepared_max = 2;
	client_says(&w, 0, "P:a:SELECT 1|P:b:SELECT 2|B::a|E:|P:c:SELECT 3|S", "1 1 2 D( 1) C(SELECT 1) 1 Z(I)");
	server_was_told(&w, 0, "P(pgporter_1,SELECT 1) P(pgporter_2,SELECT 2) B(,pgporter_1) E() C(Spgporter_2) P(pgporter_3,SELECT 3) S");
	client_says(&w, 0, "D:S:b|S|D:S:c|S|D:S:a|S|B::b|E:|S", "t T Z(I) t T Z(I) t T Z(I) 2 D( 2) C(SELECT 1) Z(I)");
	assert_int_equal(w.servers[0].facts.prepared.count, 2);
	client_says(&w, 0, "Q:EXECUTE a; EXECUTE b; EXECUTE c", "T D( 1) C(SELECT 1) T D( 2) C(SELECT 1) T D( 3) C(SELECT 1) Z(I)");
	client_says(&w, 0, "P:d:SELECT 4|S", "1 Z(I)");
	assert_int_equal(w.servers[0].facts.prepared.count, 2);
}

static void the_unnamed_statement_is_never_another_clients(void **state)
{
	client_says(&w, 0, "P::SELECT 1|S", "1 Z(I)");
	client_says(&w, 1, "P::SELECT 2|S", "1 Z(I)");
	client_says(&w, 2, "B::|E:|S", "E(26000 unnamed prepared statement does not exist) Z(I)");
	client_says(&w, 0, "B::|E:|S", "2 D( 1) C(SELECT 1) Z(I)");
	w.prefer = 1;
	client_says(&w, 1, "B::|E:|S", "2 D( 2) C(SELECT 1) Z(I)");
	client_says(&w, 1, "Q:SELECT 1|B::|S", "T D( 1) C(SELECT 1) Z(I) E(26000 unnamed prepared statement does not exist) Z(I)");
}

static void an_unnamed_statement_whose_close_was_skipped_is_no_next_clients(void **state)
{
	client_says(&w, 0, "P::SELECT 1|S|B::no|C:S:|S", "1 Z(I) E(26000 prepared statement \"no\" does not exist) Z(I)");
	client_says(&w, 1, "B::|E:|S", "E(26000 unnamed prepared statement does not exist) Z(I)");
}

static void sql_prepare_shares_the_namespace_and_is_renamed(void **state)
{
	client_says(&w, 0, "Q:PREPARE s AS SELECT 1", "C(PREPARE) Z(I)");
	server_was_told(&w, 0, "Q(PREPARE pgporter_1 AS SELECT 1)");
	client_says(&w, 0, "Q:PREPARE s AS SELECT 2|P:s:SELECT 1|S",
		    "E(42P05 prepared statement \"s\" already exists) Z(I) E(42P05 prepared statement \"s\" already exists) Z(I)");
	server_forget(&w, 0);
	client_says(&w, 1, "Q:PREPARE s AS SELECT 2; EXECUTE s; DEALLOCATE s; EXECUTE s",
		    "C(PREPARE) T D( 2) C(SELECT 1) C(DEALLOCATE) E(26000 prepared statement \"s\" does not exist) Z(I)");
	w.prefer = 1;
	client_says(&w, 0, "Q:EXECUTE s", "T D( 1) C(SELECT 1) Z(I)");
	server_was_told(&w, 1, TASK("PREPARE pgporter_1 AS SELECT 1") ") E(pgporter_set) S Q(EXECUTE pgporter_1)");
	client_says(&w, 0, "Q:DEALLOCATE s|Q:EXECUTE s|Q:DEALLOCATE s",
		    "C(DEALLOCATE) Z(I) E(26000 prepared statement \"s\" does not exist) Z(I) E(26000 prepared statement \"s\" does not exist) Z(I)");
	client_says(&w, 0, "Q:PREPARE s AS SELECT 1|Q:DEALLOCATE ALL|Q:EXECUTE s",
		    "C(PREPARE) Z(I) C(DEALLOCATE ALL) Z(I) E(26000 prepared statement \"s\" does not exist) Z(I)");
}

static void a_prepare_that_the_backend_has_already_is_answered_as_if_it_ran(void **state)
{
	client_says(&w, 0, "Q:PREPARE s AS SELECT 1|Q:DEALLOCATE s", "C(PREPARE) Z(I) C(DEALLOCATE) Z(I)");
	server_forget(&w, 0);
	client_says(&w, 0, "Q:PREPARE s AS SELECT 1", "C(PREPARE) Z(I)");
	server_was_told(&w, 0, "Q(SELECT)");
	client_says(&w, 0, "Q:EXECUTE s", "T D( 1) C(SELECT 1) Z(I)");
}

static void a_rollback_prepared_by_name_ends_a_failed_transaction_on_any_backend(void **state)
{
	client_says(&w, 0, "P:r:ROLLBACK|P:s:SELECT 1|S", "1 1 Z(I)");
	w.prefer = 1;
	client_says(&w, 0, "Q:BEGIN|Q:SELECT 1/0|B::s|S|B::r|E:|S",
		    "C(BEGIN) Z(T) E(22012 division by zero) Z(E) "
		    "E(25P02 current transaction is aborted, commands ignored until end of transaction block) Z(E) 2 C(ROLLBACK) Z(I)");
}

static void two_tasks_in_one_transaction_do_not_meet(void **state)
{
	client_says(&w, 0, "Q:PREPARE a AS SELECT 1|Q:PREPARE b AS SELECT 2", "C(PREPARE) Z(I) C(PREPARE) Z(I)");
	w.prefer = 1;
	client_says(&w, 0, "Q:BEGIN|Q:EXECUTE a|Q:EXECUTE b|Q:COMMIT",
		    "C(BEGIN) Z(T) T D( 1) C(SELECT 1) Z(T) T D( 2) C(SELECT 1) Z(T) C(COMMIT) Z(I)");
}

static void statements_of_another_pool_are_other_statements(void **state)
{
	struct session_counters other = { 0 };

	w.clients[1].s.counters = &other;
	client_says(&w, 0, "P:s:SELECT 1|S", "1 Z(I)");
	w.prefer = 1;
	client_says(&w, 1, "P:s:SELECT 1|S", "1 Z(I)");
	server_was_told(&w, 1, "P(pgporter_2,SELECT 1) S");
}

#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(two_clients_share_a_statement_and_the_second_ones_reply_comes_in_its_place),
		T(one_name_with_two_texts_is_two_statements),
		T(a_statement_follows_its_client_and_an_unknown_one_is_unknown),
		T(a_backends_name_guessed_by_another_client_reaches_nothing),
		T(a_described_statement_is_prepared_anew_only_with_the_same_result),
		T(it_is_parsed_elsewhere_under_the_settings_of_its_own_parse),
		T(so_it_is_where_a_savepoint_took_back_that_its_setting_was_the_sessions_own),
		T(a_prepare_in_the_text_that_sets_it_is_prepared_elsewhere_as_it_ran),
		T(a_duplicate_name_is_refused_under_the_name_that_was_said),
		T(a_parse_that_failed_or_was_skipped_leaves_no_name),
		T(names_given_and_closed_in_a_skipped_batch_end_as_they_were),
		T(close_is_answered_in_its_place_and_leaves_others_theirs),
		T(a_backend_holds_no_more_statements_than_it_may),
		T(the_unnamed_statement_is_never_another_clients),
		T(an_unnamed_statement_whose_close_was_skipped_is_no_next_clients),
		T(sql_prepare_shares_the_namespace_and_is_renamed),
		T(a_prepare_that_the_backend_has_already_is_answered_as_if_it_ran),
		T(a_rollback_prepared_by_name_ends_a_failed_transaction_on_any_backend),
		T(two_tasks_in_one_transaction_do_not_meet),
		T(statements_of_another_pool_are_other_statements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
