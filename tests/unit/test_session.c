/* links: state/session*.c state/channels.c state/backend.c state/ledger.c state/prepared.c state/settings.c parser/effects*.c parser/watch*.c parser/screen.c parser/grams.c parser/lex.c parser/tree.c parser/hash.c parser/buf.c parser/report.c -lpg_query -lprotobuf-c -lpthread -lm */
/* What a session tells its backend and its client, message by message, for each rule it follows. */
#include "tests/unit/fake_session.h"


static struct world w;

static int open_world(void **state)
{
	world_init(&w, 3, 2);
	return 0;
}

/* Which also proves that every reference was given back. */
static int close_world(void **state)
{
	world_release(&w);
	return 0;
}

static void a_statement_that_touches_nothing_goes_through_as_it_is(void **state)
{
	client_says(&w, 0, "Q:SELECT 1", "T D( 1) C(SELECT 1) Z(I)");
	server_was_told(&w, 0, "Q(SELECT 1)");
	assert_null(w.clients[0].on);
	assert_int_equal(w.counters.queries, 1);
	assert_int_equal(w.counters.replays, 0);
}

static void settings_fly_to_another_backend_ahead_of_the_message(void **state)
{
	const struct settings *wanted;

	client_says(&w, 0, "Q:SET work_mem = 'a'", "C(SET) Z(I)");
	wanted = w.clients[0].s.settings;
	assert_string_equal(settings_get(wanted, "work_mem"), "a");
	assert_ptr_equal(w.servers[0].facts.applied, wanted);
	server_forget(&w, 0);
	w.prefer = 1;
	client_says(&w, 0, "Q:SHOW work_mem", "T D(a) C(SHOW) Z(I)");
	server_was_told(&w, 1, "C(Spgporter_tx_begin) P(pgporter_tx_begin,BEGIN ISOLATION LEVEL READ COMMITTED) B(,pgporter_tx_begin) E() "
			       "C(Spgporter_set_1) P(pgporter_set_1,SELECT pg_catalog.set_config($1,$2,false)) B(,pgporter_set_1,work_mem,a) E() "
			       "C(Spgporter_tx_commit) P(pgporter_tx_commit,COMMIT) B(,pgporter_tx_commit) E() Q(SHOW work_mem)");
	assert_ptr_equal(w.servers[1].facts.applied, wanted);
	w.prefer = 0;
	client_says(&w, 0, "Q:SHOW work_mem", "T D(a) C(SHOW) Z(I)");
	server_was_told(&w, 0, "Q(SHOW work_mem)");
}

/* What it wants can't be set any more. */
static void goes_bad(struct session *s)
{
	settings_set(&s->settings, "work_mem", "bad");
	settings_assign(&s->want, s->settings);
}

#define NOT_RESTORED "E(22023 could not restore this session's settings on a server connection: invalid value for parameter \"work_mem\")"

static void a_barrier_that_was_skipped_with_the_settings_ahead_of_it_holds_nothing_up(void **state)
{
	goes_bad(&w.clients[0].s);
	client_says(&w, 0, "P::SET timezone = 'a'|B::|E:", NOT_RESTORED);
	client_says(&w, 0, "S", "Z(I)");
}

static void a_query_behind_extended_messages_is_skipped_with_them(void **state)
{
	goes_bad(&w.clients[0].s);
	client_says(&w, 0, "P::SELECT 1|Q:SELECT 2", NOT_RESTORED);
	client_says(&w, 0, "S", "Z(I)");
}

static void rolling_back_what_could_not_be_restored_ends_others_unnamed_statements(void **state)
{
	client_says(&w, 0, "P::SELECT 1|S", "1 Z(I)");
	goes_bad(&w.clients[1].s);
	client_says(&w, 1, "Q:SELECT 1", NOT_RESTORED " Z(I)");
	client_says(&w, 0, "B::|E:|S", "2 D( 1) C(SELECT 1) Z(I)");
}

/* The backend has a setting's name only if what was to bring it there has run. */
static void a_name_that_could_not_be_made_up_is_made_up_again(void **state)
{
	struct backend *there = &w.servers[1].facts;

	client_says(&w, 0, "Q:SET app.x = 'a'", "C(SET) Z(I)");
	goes_bad(&w.clients[0].s);
	w.prefer = 1;
	client_says(&w, 0, "Q:SELECT 1", NOT_RESTORED " Z(I)");
	assert_null(settings_get(there->seen, "app.x"));
}

static void a_transaction_that_ends_because_preparing_failed_keeps_nothing(void **state)
{
	client_says(&w, 0, "P:s:SELECT 1|S", "1 Z(I)");
	w.prefer = 1;
	settings_set(&names_find(&w.clients[0].s.names, "s")->at_parse, "work_mem", "bad");
	client_says(&w, 0, "P::SET timezone = 'a'|B::|E:|B::s|S", "1 2 C(SET) E(22023 invalid value for parameter \"work_mem\") Z(I)");
	assert_int_equal(settings_size(w.servers[1].facts.applied), 0);
	client_says(&w, 0, "Q:SHOW timezone", "T D(default) C(SHOW) Z(I)");
}

static void a_sync_behind_a_begin_that_is_held_back_tells_what_the_client_was_told(void **state)
{
	static const uint8_t begin[] = "Q\0\0\0\nBEGIN";
	struct client *c = &w.clients[0];

	assert_int_equal(session_hold_begin(&c->s, begin, sizeof begin), sizeof begin);
	buf_reset(&c->out);
	assert_true(client_link(&w, c));
	client_says(&w, 0, "S", "Z(T)");
	client_says(&w, 0, "Q:ROLLBACK", "C(ROLLBACK) Z(I)");
}

static void the_next_clients_difference_takes_back_what_the_last_one_set(void **state)
{
	client_says(&w, 0, "Q:SET work_mem = 'a'|Q:SET app.x = 'secret'", "C(SET) Z(I) C(SET) Z(I)");
	client_says(&w, 1, "Q:SHOW app.x", "T D(default) C(SHOW) Z(I)");
	client_says(&w, 1, "Q:SHOW work_mem", "T D(default) C(SHOW) Z(I)");
	assert_int_equal(settings_size(w.clients[1].s.settings), 0);
}

static void nothing_runs_where_the_settings_cannot_be_restored(void **state)
{
	unsigned long ran;

	client_says(&w, 0, "Q:SET work_mem = 'a'", "C(SET) Z(I)");
	settings_set(&w.clients[0].s.settings, "work_mem", "bad"); /* valid when it was set, no longer now */
	settings_assign(&w.clients[0].s.want, w.clients[0].s.settings);
	w.prefer = 1;
	ran = w.servers[1].pg.statements;
	client_says(&w, 0, "Q:SELECT 1",
		    "E(22023 could not restore this session's settings on a server connection: invalid value for parameter \"work_mem\") Z(I)");
	client_says(&w, 0, "P::SELECT 1|B::|E:|S",
		    "E(22023 could not restore this session's settings on a server connection: invalid value for parameter \"work_mem\") Z(I)");
	assert_int_equal(w.servers[1].pg.statements, ran + 6); /* BEGIN, set_config() and ROLLBACK of ours */
	client_says(&w, 0, "P::SELECT 1|H",
		    "E(22023 could not restore this session's settings on a server connection: invalid value for parameter \"work_mem\")");
	client_says(&w, 0, "B::|E:|S", "Z(I)"); /* it waits for the client's Sync before it is rolled back */
	client_says(&w, 0, "Q:PREPARE p AS SELECT 1; EXECUTE p",
		    "E(22023 could not restore this session's settings on a server connection: invalid value for parameter \"work_mem\") Z(I)");
	assert_int_equal(w.servers[1].pg.statements, ran + 12);
	client_says(&w, 0, "Q:RESET work_mem|Q:SHOW work_mem", "C(RESET) Z(I) T D(default) C(SHOW) Z(I)");
	client_says(&w, 1, "Q:SHOW work_mem", "T D(default) C(SHOW) Z(I)");
}

static void statements_of_ours_stay_prepared_for_the_next_flight(void **state)
{
	client_says(&w, 0, "Q:SET work_mem = 'a'", "C(SET) Z(I)");
	client_says(&w, 1, "Q:SET work_mem = 'b'", "C(SET) Z(I)");
	client_says(&w, 0, "Q:SHOW work_mem", "T D(a) C(SHOW) Z(I)");
	server_forget(&w, 0);
	client_says(&w, 1, "P::SHOW work_mem|B::|E:|S", "1 2 D(b) C(SHOW) Z(I)");
	server_was_told(&w, 0,
			"B(,pgporter_tx_begin) E() B(,pgporter_set_1,work_mem,b) E() B(,pgporter_tx_commit) E() "
			"P(,SHOW work_mem) B(,) E() S");
	client_says(&w, 1, "Q:DISCARD ALL", "C(DISCARD ALL) Z(I)");
	client_says(&w, 0, "Q:SHOW work_mem", "T D(a) C(SHOW) Z(I)");
	client_says(&w, 1, "Q:SHOW work_mem", "T D(default) C(SHOW) Z(I)");
}

static void what_a_transaction_leaves_is_what_postgresql_kept(void **state)
{
	client_says(&w, 0, "Q:BEGIN|Q:SET work_mem = 'a'|Q:COMMIT", "C(BEGIN) Z(T) C(SET) Z(T) C(COMMIT) Z(I)");
	assert_string_equal(settings_get(w.clients[0].s.settings, "work_mem"), "a");
	client_says(&w, 0, "Q:BEGIN|Q:SET work_mem = 'b'|Q:ROLLBACK", "C(BEGIN) Z(T) C(SET) Z(T) C(ROLLBACK) Z(I)");
	assert_string_equal(settings_get(w.clients[0].s.settings, "work_mem"), "a");
	client_says(&w, 0, "Q:BEGIN|Q:SET work_mem = 'b'|Q:SELECT 1/0|Q:COMMIT",
		    "C(BEGIN) Z(T) C(SET) Z(T) E(22012 division by zero) Z(E) C(ROLLBACK) Z(I)");
	assert_string_equal(settings_get(w.clients[0].s.settings, "work_mem"), "a");
	client_says(&w, 0, "Q:SET work_mem = 'b'; SELECT 1/0", "C(SET) E(22012 division by zero) Z(I)");
	assert_string_equal(settings_get(w.clients[0].s.settings, "work_mem"), "a");
	assert_ptr_equal(w.servers[0].facts.applied, w.clients[0].s.settings);
	assert_int_equal(w.counters.observations, 0);
}

static void a_set_behind_the_end_of_a_transaction_in_one_query_is_asked_about(void **state)
{
	client_says(&w, 0, "Q:BEGIN; SET work_mem = 'a'; ROLLBACK; SET app.x = 'b'", "C(BEGIN) C(SET) C(ROLLBACK) C(SET) Z(I)");
	assert_int_equal(w.counters.observations, 1);
	assert_string_equal(settings_get(w.clients[0].s.settings, "app.x"), "b");
	client_says(&w, 1, "Q:SHOW app.x", "T D(default) C(SHOW) Z(I)");
	client_says(&w, 0, "Q:SHOW app.x|Q:SHOW work_mem", "T D(b) C(SHOW) Z(I) T D(default) C(SHOW) Z(I)");
}

static void a_savepoint_rolled_back_makes_it_ask(void **state)
{
	client_says(&w, 0, "Q:BEGIN|Q:SET work_mem = 'a'|Q:SAVEPOINT s|Q:SET work_mem = 'b'|Q:ROLLBACK TO s|Q:COMMIT",
		    "C(BEGIN) Z(T) C(SET) Z(T) C(SAVEPOINT) Z(T) C(SET) Z(T) C(ROLLBACK) Z(T) C(COMMIT) Z(I)");
	assert_int_equal(w.counters.observations, 1);
	assert_string_equal(settings_get(w.clients[0].s.settings, "work_mem"), "a");
}

static void a_setting_local_to_its_transaction_is_left_to_postgresql(void **state)
{
	client_says(&w, 0, "Q:BEGIN|Q:SET LOCAL work_mem = 'a'|Q:SHOW work_mem|Q:COMMIT|Q:SHOW work_mem",
		    "C(BEGIN) Z(T) C(SET) Z(T) T D(a) C(SHOW) Z(T) C(COMMIT) Z(I) T D(default) C(SHOW) Z(I)");
	assert_int_equal(settings_size(w.clients[0].s.settings), 0);
	assert_int_equal(w.counters.observations, 0);
}

static void portals_bound_anew_in_a_long_transaction_do_not_pile_up(void **state)
{
	size_t n = 0;

	client_says(&w, 0, "Q:BEGIN", "C(BEGIN) Z(T)");
	client_says(&w, 0, "P::SELECT pg_advisory_lock(1)|B::|E:|B::|E:|B::|E:|S|B:p:|E:p|C:P:p|B:p:|E:p|S",
		    "1 2 D() C(SELECT 1) 2 D() C(SELECT 1) 2 D() C(SELECT 1) Z(T) 2 D() C(SELECT 1) 3 2 D() C(SELECT 1) Z(T)");
	for (const struct portal *p = w.clients[0].s.portals; p; p = p->next)
		n++;
	assert_int_equal(n, 2); /* the unnamed one and p */
	client_says(&w, 0, "Q:COMMIT", "C(COMMIT) Z(I)");
	assert_null(w.clients[0].s.portals);
}

static void a_reset_goes_back_to_the_clients_own_startup_value(void **state)
{
	client_start_with(&w, 0, "timezone", "mine");
	client_says(&w, 0, "Q:SET timezone = 'a'|Q:RESET timezone|Q:SHOW timezone",
		    "C(SET) S(TimeZone=a) Z(I) C(RESET) S(TimeZone=mine) Z(I) T D(mine) C(SHOW) Z(I)");
	client_says(&w, 0, "Q:SET timezone = 'a'|P::RESET timezone|B::|E:|S|P::SHOW timezone|B::|E:|S",
		    "C(SET) S(TimeZone=a) Z(I) 1 2 C(RESET) S(TimeZone=mine) Z(I) 1 2 D(mine) C(SHOW) Z(I)");
	client_says(&w, 0, "Q:SET timezone = 'a'|Q:SELECT 1; RESET ALL; SHOW timezone",
		    "C(SET) S(TimeZone=a) Z(I) T D( 1) C(SELECT 1) C(RESET) T D(mine) C(SHOW) S(TimeZone=mine) Z(I)");
	client_says(&w, 1, "Q:SHOW timezone", "T D(default) C(SHOW) Z(I)");
}

static void drivers_reset_batches_are_answered_without_a_backend(void **state)
{
	client_start_with(&w, 0, "timezone", "mine");
	client_says(&w, 0, "Q:SET timezone = 'a'|P:s:SELECT 1|S", "C(SET) S(TimeZone=a) Z(I) 1 Z(I)");
	server_forget(&w, 0);
	client_says(&w, 0, "Q:DISCARD ALL", "C(DISCARD ALL) S(TimeZone=mine) Z(I)");
	client_says(&w, 0, "Q:SELECT pg_advisory_unlock_all();CLOSE ALL;UNLISTEN *;RESET ALL",
		    "T D() C(SELECT 1) C(CLOSE CURSOR ALL) C(UNLISTEN) C(RESET) Z(I)");
	client_says(&w, 0, "Q:DEALLOCATE ALL|S|H", "C(DEALLOCATE ALL) Z(I) Z(I)");
	client_says(&w, 0, "Q:RESET ALL|Q:SET SESSION AUTHORIZATION DEFAULT|Q:reset role", "C(RESET) Z(I) C(SET) Z(I) C(RESET) Z(I)");
	server_was_told(&w, 0, "");
	assert_int_equal(w.counters.local_answers, 6);
	client_says(&w, 0, "B::s|E:|S|Q:SHOW timezone", "E(26000 prepared statement \"s\" does not exist) Z(I) T D(mine) C(SHOW) Z(I)");
}

static void discard_all_in_a_transaction_is_for_postgresql_to_refuse(void **state)
{
	client_says(&w, 0, "Q:BEGIN|Q:DISCARD ALL|Q:ROLLBACK",
		    "C(BEGIN) Z(T) E(25001 DISCARD ALL cannot run inside a transaction block) Z(E) C(ROLLBACK) Z(I)");
}

static void what_clients_read_of_parameters_is_told_before_ready_for_query(void **state)
{
	client_says(&w, 0, "Q:SET timezone = 'a'", "C(SET) S(TimeZone=a) Z(I)");
	client_says(&w, 1, "Q:SET timezone = 'b'|Q:SELECT 1", "C(SET) S(TimeZone=b) Z(I) T D( 1) C(SELECT 1) Z(I)");
	client_says(&w, 0, "Q:SELECT 1", "T D( 1) C(SELECT 1) Z(I)");
	client_says(&w, 2, "Q:SELECT 1", "T D( 1) C(SELECT 1) Z(I)");
	assert_int_equal(settings_size(w.clients[2].s.settings), 0); /* nothing sticks to who comes next */
	client_says(&w, 0, "Q:BEGIN|Q:SET timezone = 'c'|Q:ROLLBACK",
		    "C(BEGIN) Z(T) C(SET) S(TimeZone=c) Z(T) C(ROLLBACK) S(TimeZone=a) Z(I)");
}

static void a_lock_pins_until_it_is_given_back(void **state)
{
	client_says(&w, 0, "Q:SELECT pg_advisory_lock(1)", "T D() C(SELECT 1) Z(I)");
	assert_ptr_equal(w.clients[0].on, &w.servers[0]);
	assert_int_equal(w.clients[0].s.pins, PIN_LOCK);
	assert_string_equal(w.clients[0].s.pin_text, "SELECT pg_advisory_lock(1)");
	assert_false(session_releasable(&w.clients[0].s));
	assert_true(session_idle(&w.clients[0].s));
	client_says(&w, 1, "Q:SELECT 1", "T D( 1) C(SELECT 1) Z(I)");
	server_was_told(&w, 1, "Q(SELECT 1)");
	client_says(&w, 0, "Q:SELECT pg_advisory_unlock(1)", "T D() C(SELECT 1) Z(I)");
	assert_null(w.clients[0].on);
	assert_int_equal(w.counters.pins, 1);
}

static void what_an_opaque_statement_set_is_found_and_carried(void **state)
{
	client_says(&w, 0, "Q:DO 'search_path a'", "C(DO) Z(I)");
	assert_int_equal(w.counters.observations, 1);
	w.prefer = 1;
	client_says(&w, 0, "Q:SHOW search_path", "T D(a) C(SHOW) Z(I)");
	client_says(&w, 1, "Q:SHOW search_path", "T D(default) C(SHOW) Z(I)");
}

/* PostgreSQL 18: state/session_half_ended.c. */
#define HALF_ENDED "P::SET timezone = 'a'|B::|E:|Q:SELECT 1|S"
#define HALF_ENDED_SAYS "1 2 C(SET) T D( 1) C(SELECT 1) S(TimeZone=a) Z(T) Z(I)"
#define LOST "E(XX000 unexpected state STARTED)"

static void a_transaction_that_is_ended_by_half_is_its_clients_loss_and_nobody_elses(void **state)
{
	world_half_ends(&w);
	client_says(&w, 0, HALF_ENDED, HALF_ENDED_SAYS);
	assert_null(w.clients[0].on);
	assert_true(w.servers[0].opened);
	server_was_told(&w, 0, "P(,SET timezone = 'a') B(,) E() H Q(SELECT 1) S Q()");
	client_says(&w, 1, "Q:SHOW timezone", "T D(default) C(SHOW) Z(I)");
	client_says(&w, 0, "C:S:x|S|S", "3 Z(I) Z(I)"); /* begins nothing */
	server_forget(&w, 0);
	client_says(&w, 0, "Q:SET app.x = 'lost'|Q:SHOW timezone", LOST " S(TimeZone=default) Z(I) T D(default) C(SHOW) Z(I)");
	server_was_told(&w, 0, "Q(SHOW timezone)");
	client_says(&w, 0, HALF_ENDED, HALF_ENDED_SAYS);
	client_says(&w, 0, "P:s:SELECT parsed|B::s|E:|Q:SELECT 3|S|Q:SHOW timezone", LOST " S(TimeZone=default) Z(I) T D(default) C(SHOW) Z(I)");
	client_says(&w, 0, HALF_ENDED, HALF_ENDED_SAYS);
	client_says(&w, 0, "C:S:x|B::s|S|B::s|S", "3 " LOST " S(TimeZone=default) Z(I) E(26000 prepared statement \"s\" does not exist) Z(I)");
	client_says(&w, 0, HALF_ENDED, HALF_ENDED_SAYS);
	client_says(&w, 0, "C:S:x|Q:SELECT 1|S", "3 " LOST " S(TimeZone=default) Z(I) Z(I)");
	client_says(&w, 0, HALF_ENDED "|Q:SELECT 1|Q:SELECT 2", HALF_ENDED_SAYS " " LOST " S(TimeZone=default) Z(I) T D( 2) C(SELECT 1) Z(I)");
}

static void what_is_answered_without_a_backend_fails_with_it_too(void **state)
{
	world_half_ends(&w);
	client_says(&w, 0, "P:s:SELECT parsed|S", "1 Z(I)");
	client_says(&w, 0, HALF_ENDED, HALF_ENDED_SAYS);
	client_says(&w, 0, "Q:DISCARD ALL|B::s|E:|S", LOST " S(TimeZone=default) Z(I) 2 D(default) C(SELECT 1) Z(I)");
}

static void a_client_that_leaves_at_once_leaves_no_half_ended_backend(void **state)
{
	world_half_ends(&w);
	script_put(&w.clients[0].in, HALF_ENDED);
	while (!w.servers[0].facts.half_ended)
		world_turn(&w);
	assert_false(session_unlink(&w.clients[0].s));
}

static void a_query_behind_an_execute_costs_no_backend_where_something_has_begun_since_or_a_block_has(void **state)
{
	world_half_ends(&w);
	client_says(&w, 0, "P::SELECT 1|B::|E:|Q:SELECT 2|P::SELECT 3|B::|E:|S",
		    "1 2 D( 1) C(SELECT 1) T D( 2) C(SELECT 1) Z(T) 1 2 D( 3) C(SELECT 1) Z(I)");
	assert_null(w.clients[0].on);
	client_says(&w, 0, "P::SELECT 1|B::|E:|Q:BEGIN|S|Q:COMMIT", "1 2 D( 1) C(SELECT 1) C(BEGIN) Z(T) Z(T) C(COMMIT) Z(I)");
	assert_null(w.clients[0].on);
	client_says(&w, 0, "Q:BEGIN|P::COMMIT|B::|E:|S", "C(BEGIN) Z(T) 1 2 C(COMMIT) Z(I)");
	assert_null(w.clients[0].on);
}

static void a_parse_that_is_answered_here_begins_something_there_too(void **state)
{
	world_half_ends(&w);
	client_says(&w, 1, "P:s:SELECT parsed|S", "1 Z(I)");
	server_forget(&w, 0);
	client_says(&w, 2, "Q:BEGIN|P:s:SELECT parsed|S|Q:COMMIT", "C(BEGIN) Z(T) 1 Z(T) C(COMMIT) Z(I)");
	server_was_told(&w, 0, "Q(BEGIN) S Q(COMMIT)");
	client_says(&w, 0, "P::SET application_name = 'a'|B::|E:|Q:SELECT 1|P:s:SELECT parsed|S",
		    "1 2 C(SET) T D( 1) C(SELECT 1) S(application_name=a) Z(T) 1 Z(I)");
	client_says(&w, 0, "Q:SHOW application_name", "T D(a) C(SHOW) Z(I)");
}

/* A PostgreSQL that says the same, and commits. */
static void a_transaction_that_was_ended_after_all_is_kept(void **state)
{
	world_half_ends(&w);
	w.servers[0].pg.commits = true;
	client_says(&w, 0, HALF_ENDED, HALF_ENDED_SAYS);
	assert_null(w.clients[0].on);
	w.prefer = 1;
	client_says(&w, 0, "Q:SHOW timezone", "T D(a) C(SHOW) Z(I)");
}

static void messages_of_the_next_batch_wait_for_ready_for_query(void **state)
{
	struct client *c = &w.clients[0];

	script_put(&c->in, "Q:SELECT 1|Q:SELECT 2");
	assert_true(client_turn(&w, c));
	assert_true(client_turn(&w, c));
	assert_true(c->held);
	server_was_told(&w, 0, "Q(SELECT 1)");
	world_run(&w);
	server_was_told(&w, 0, "Q(SELECT 2)");
	buf_reset(&c->out);
}

static void an_earlier_executes_reply_does_not_let_past_the_barrier_behind_it(void **state)
{
	struct client *c = &w.clients[0];

	script_put(&c->in, "P::SELECT 1|B::|E:|P::SET search_path = 'a'|B::|E:|P:s:SELECT parsed|S");
	while (!c->held)
		assert_true(client_turn(&w, c));
	for (int i = 0; i < 3; i++)
		assert_true(server_turn(&w.servers[0]));
	while (buf_len(&w.servers[0].pg.out))
		reply_turn(&w, &w.servers[0]);
	assert_false(client_turn(&w, c)); /* the SET has not been answered */
	client_says(&w, 0, "B::s|E:|S", "1 2 D( 1) C(SELECT 1) 1 2 C(SET) 1 Z(I) 2 D(a) C(SELECT 1) Z(I)");
}

static void a_query_in_a_batch_that_has_failed_is_skipped_with_it(void **state)
{
	client_says(&w, 0, "B::nosuch|Q:SELECT 2|S|Q:SELECT 3",
		    "E(26000 prepared statement \"nosuch\" does not exist) Z(I) T D( 3) C(SELECT 1) Z(I)");
	client_says(&w, 0, "P::SELECT 1|B::|E:|Q:SELECT 2", "1 2 D( 1) C(SELECT 1) T D( 2) C(SELECT 1) Z(I)");
}

static void a_task_skipped_with_the_clients_batch_is_given_up(void **state)
{
	client_says(&w, 0, "P:s:SELECT parsed|D:S:s|S", "1 t T Z(I)");
	w.prefer = 1;
	client_says(&w, 0, "B::nosuch|B::s|E:|S|Q:SELECT 1",
		    "E(26000 prepared statement \"nosuch\" does not exist) Z(I) T D( 1) C(SELECT 1) Z(I)");
	client_says(&w, 0, "B::s|E:|S", "2 D(default) C(SELECT 1) Z(I)");
}

static void copy_data_sent_ahead_waits_for_the_copy(void **state)
{
	client_says(&w, 0, "Q:COPY t FROM STDIN|d|d|c|Q:SELECT 1", "G C(COPY 1) Z(I) T D( 1) C(SELECT 1) Z(I)");
	client_says(&w, 0, "Q:COPY t FROM STDIN|d|f", "G E(57014 COPY from stdin failed) Z(I)");
	client_says(&w, 0, "Q:COPY t FROM STDIN|Q:SELECT 2|Q:SELECT 3", "G E(08P01 unexpected message type) Z(I) T D( 3) C(SELECT 1) Z(I)");
}

static void in_an_extended_copy_sync_is_dropped_and_its_end_is_awaited(void **state)
{
	client_says(&w, 0, "P::COPY t FROM STDIN|B::|E:|S|d|H|c|S", "1 2 G C(COPY 1) Z(I)");
	server_was_told(&w, 0, "P(,COPY t FROM STDIN) B(,) E() H d c H S");
	client_says(&w, 0, "P::COPY t FROM STDIN|B::|E:|d|f|P::x|S|Q:SELECT 1",
		    "1 2 G E(57014 COPY from stdin failed) Z(I) T D( 1) C(SELECT 1) Z(I)");
}

static void without_state_carried_the_sync_behind_a_copy_is_known_to_be_ignored(void **state)
{
	w.clients[0].s.carry = false;
	client_says(&w, 0, "P::COPY t FROM STDIN|B::|E:|S|d|c|S|Q:SELECT 1", "1 2 G C(COPY 1) Z(I) T D( 1) C(SELECT 1) Z(I)");
}

static void a_cancel_while_waiting_is_answered_as_postgresql_would(void **state)
{
	struct client *c = &w.clients[0];
	struct client_message query = { .type = 'Q', .body = (const uint8_t *)"SELECT 1", .have = 9, .len = 9 };
	struct client_message parse = { .type = 'P', .body = (const uint8_t *)"\0SELECT 1\0\0", .have = 12, .len = 12 };

	assert_int_equal(session_from_client(&c->s, &query), SESSION_LINK);
	assert_true(session_cancel_waiting(&c->s, &query));
	assert_int_equal(session_from_client(&c->s, &parse), SESSION_LINK);
	assert_true(session_cancel_waiting(&c->s, &parse));
	client_says(&w, 0, "B::|E:|S|Q:SELECT 1",
		    "E(57014 canceling statement due to user request) Z(I) E(57014 canceling statement due to user request) Z(I) "
		    "T D( 1) C(SELECT 1) Z(I)");
}

static void a_session_with_a_backend_of_its_own_lets_everything_through(void **state)
{
	struct client *c = &w.clients[0];

	c->s.through = true;
	client_says(&w, 0, "P:s:SELECT 1|B::s|E:|S|Q:SET timezone = 'a'", "1 2 D( 1) C(SELECT 1) Z(I) C(SET) S(TimeZone=a) Z(I)");
	server_was_told(&w, 0, "P(s,SELECT 1) B(,s) E() S Q(SET timezone = 'a')");
	assert_ptr_equal(c->on, &w.servers[0]);
	assert_true(session_idle(&c->s));
	script_put(&c->in, "Q:COPY t FROM STDIN|d");
	world_run(&w);
	script_put(&c->in, "c");
	assert_true(client_turn(&w, c));
	assert_false(session_idle(&c->s)); /* CopyDone was sent, its answer is owed */
	assert_false(session_unlink(&c->s));
	c->on = NULL;
	buf_reset(&c->out);
	server_close(&w.servers[0]);
}

static void the_databases_a_statement_is_about_are_left_before_it_is_sent(void **state)
{
	struct client *c = &w.clients[0];
	const char text[] = "DROP DATABASE a; CREATE DATABASE b TEMPLATE c; CREATE DATABASE d";
	struct client_message drop = { .type = 'Q', .body = (const uint8_t *)text, .have = sizeof text, .len = sizeof text };
	size_t at = 0;

	client_says(&w, 0, "Q:BEGIN", "C(BEGIN) Z(T)");
	assert_int_equal(session_from_client(&c->s, &drop), SESSION_VACATE);
	assert_string_equal(session_vacates(&c->s, &at), "a");
	assert_string_equal(session_vacates(&c->s, &at), "c");
	assert_string_equal(session_vacates(&c->s, &at), "template1");
	assert_null(session_vacates(&c->s, &at));
	assert_int_equal(session_from_client(&c->s, &drop), SESSION_VACATE); /* asked too early */
	assert_false(session_idle(&c->s));
	session_vacated(&c->s);
	assert_int_equal(session_from_client(&c->s, &drop), SESSION_NEXT);
	at = 0;
	assert_null(session_vacates(&c->s, &at));
}

static void a_message_that_postgresql_does_not_know_is_refused(void **state)
{
	struct client_message m = { .type = 'y' };

	assert_int_equal(session_from_client(&w.clients[0].s, &m), SESSION_REFUSE);
	assert_string_equal(w.clients[0].s.refusal_code, "08P01");
	m.type = 'X';
	assert_int_equal(session_from_client(&w.clients[0].s, &m), SESSION_END);
}

#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_statement_that_touches_nothing_goes_through_as_it_is),
		T(settings_fly_to_another_backend_ahead_of_the_message),
		T(the_next_clients_difference_takes_back_what_the_last_one_set),
		T(nothing_runs_where_the_settings_cannot_be_restored),
		T(a_barrier_that_was_skipped_with_the_settings_ahead_of_it_holds_nothing_up),
		T(a_query_behind_extended_messages_is_skipped_with_them),
		T(rolling_back_what_could_not_be_restored_ends_others_unnamed_statements),
		T(a_name_that_could_not_be_made_up_is_made_up_again),
		T(a_transaction_that_ends_because_preparing_failed_keeps_nothing),
		T(a_sync_behind_a_begin_that_is_held_back_tells_what_the_client_was_told),
		T(statements_of_ours_stay_prepared_for_the_next_flight),
		T(what_a_transaction_leaves_is_what_postgresql_kept),
		T(a_set_behind_the_end_of_a_transaction_in_one_query_is_asked_about),
		T(a_savepoint_rolled_back_makes_it_ask),
		T(a_setting_local_to_its_transaction_is_left_to_postgresql),
		T(portals_bound_anew_in_a_long_transaction_do_not_pile_up),
		T(a_reset_goes_back_to_the_clients_own_startup_value),
		T(drivers_reset_batches_are_answered_without_a_backend),
		T(discard_all_in_a_transaction_is_for_postgresql_to_refuse),
		T(what_clients_read_of_parameters_is_told_before_ready_for_query),
		T(a_lock_pins_until_it_is_given_back),
		T(what_an_opaque_statement_set_is_found_and_carried),
		T(a_transaction_that_is_ended_by_half_is_its_clients_loss_and_nobody_elses),
		T(what_is_answered_without_a_backend_fails_with_it_too),
		T(a_client_that_leaves_at_once_leaves_no_half_ended_backend),
		T(a_query_behind_an_execute_costs_no_backend_where_something_has_begun_since_or_a_block_has),
		T(a_parse_that_is_answered_here_begins_something_there_too),
		T(a_transaction_that_was_ended_after_all_is_kept),
		T(messages_of_the_next_batch_wait_for_ready_for_query),
		T(an_earlier_executes_reply_does_not_let_past_the_barrier_behind_it),
		T(a_query_in_a_batch_that_has_failed_is_skipped_with_it),
		T(a_task_skipped_with_the_clients_batch_is_given_up),
		T(copy_data_sent_ahead_waits_for_the_copy),
		T(in_an_extended_copy_sync_is_dropped_and_its_end_is_awaited),
		T(without_state_carried_the_sync_behind_a_copy_is_known_to_be_ignored),
		T(a_cancel_while_waiting_is_answered_as_postgresql_would),
		T(a_session_with_a_backend_of_its_own_lets_everything_through),
		T(the_databases_a_statement_is_about_are_left_before_it_is_sent),
		T(a_message_that_postgresql_does_not_know_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
