/* links: parser/lex.c parser/screen.c parser/grams.c parser/tree.c parser/effects*.c parser/watch*.c parser/buf.c -lpg_query -lprotobuf-c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "parser/effects.h"
#include "parser/watch.h"
#include "parser/watch_internal.h"
#include "parser/watch_items.h"

static uint64_t serials;

struct body {
	const char *language, *text;
	uint32_t flags;
	const char *settings; /* names in order, each followed by a blank; a local one by '! ' */
};

static void assert_effect(const char *what, const struct watch_effect *e, uint32_t flags, const char *settings)
{
	char got[512] = "";

	for (size_t i = 0; i < e->n_settings; i++) {
		const struct watch_setting *s = &e->settings[i];
		size_t n = strlen(got);

		if (s->name)
			snprintf(got + n, sizeof got - n, "%s%s ", s->name, s->local ? "!" : "");
		else
			snprintf(got + n, sizeof got - n, "%d/%d%s ", s->arg, s->param, s->local ? "!" : "");
	}
	if (e->flags != flags || strcmp(got, settings))
		fail_msg("%s: flags %x, expected %x; settings \"%s\", expected \"%s\"", what, e->flags, flags, got, settings);
}

static void assert_body(const struct watch *w, const struct body *b)
{
	static const char *const params[] = { "n", "v", NULL };
	struct watch_text t = { .kind = watch_language(b->language), .text = b->text, .len = strlen(b->text), .params = params,
				.n_params = 3 };
	struct watch_effect e = { 0 };

	watch_read(w, &t, &e, NULL);
	assert_effect(b->text, &e, b->flags, b->settings);
	watch_effect_release(&e);
}

static void bodies_are_read(void **state)
{
	static const struct body bodies[] = {
		{ "plpgsql", "BEGIN RETURN 1; END", 0, "" },
		{ "plpgsql", "BEGIN UPDATE t SET a = 1; INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET b = 2; END", 0, "" },
		{ "plpgsql", "BEGIN PERFORM set_config('My.A', 'x', false); END", TOUCH_SETTINGS, "my.a " },
		{ "plpgsql", "BEGIN PERFORM set_config('my.a', 'x', true); END", TOUCH_LOCAL, "my.a! " },
		{ "plpgsql", "BEGIN PERFORM set_config('my' || '.a', 'x', false); END", TOUCH_SETTINGS, "my.a " },
		{ "plpgsql", "BEGIN PERFORM set_config('my.' || x, 'x', false); END", TOUCH_SETTINGS_UNKNOWN, "" },
		{ "plpgsql", "BEGIN PERFORM set_config('my.' || x, 'x', true); END", TOUCH_LOCAL, "0/0! " },
		{ "plpgsql", "BEGIN PERFORM set_config(n, v, false); END", TOUCH_SETTINGS, "1/0 " },
		{ "plpgsql", "BEGIN PERFORM set_config(n::text, v, false); END", TOUCH_SETTINGS, "1/0 " },
		{ "plpgsql", "BEGIN n := 'app.' || n; PERFORM set_config(n, v, false); END", TOUCH_SETTINGS_UNKNOWN, "" },
		{ "sql", "SELECT set_config($2, $1, false)", TOUCH_SETTINGS, "2/0 " },
		{ "plpgsql", "BEGIN IF true THEN SET search_path = a, b; ELSE RESET role; END IF; END", TOUCH_SETTINGS, "search_path role " },
		{ "plpgsql", "BEGIN SET LOCAL my.a TO 1; SET TIME ZONE 'UTC'; SET SESSION AUTHORIZATION x; END", TOUCH_SETTINGS | TOUCH_LOCAL,
		  "my.a! timezone session_authorization " },
		{ "plpgsql", "BEGIN RESET ALL; END", TOUCH_LISTED, "" },
		{ "plpgsql", "BEGIN SET TRANSACTION READ ONLY; SET CONSTRAINTS ALL IMMEDIATE; END", 0, "" },
		{ "plpgsql", "BEGIN SET seed = 0.5; END", TOUCH_SETTINGS | TOUCH_SESSION, "seed " },
		{ "plpgsql", "BEGIN RAISE NOTICE 'Set % to %', a, b; RAISE EXCEPTION 'reset %', a; END", 0, "" },
		{ "plpgsql", "BEGIN PERFORM pg_advisory_lock(1), pg_catalog.\"pg_try_advisory_lock\"(2); END", TOUCH_LOCK, "" },
		{ "plpgsql", "BEGIN PERFORM pg_advisory_xact_lock(1); END", 0, "" },
		{ "plpgsql", "BEGIN CREATE TEMP TABLE x (n int); END", TOUCH_TEMP, "" },
		{ "plpgsql", "BEGIN SELECT temp, temporary FROM readings; END", 0, "" },
		{ "plpgsql", "BEGIN DROP TABLE pg_temp.x; END", TOUCH_TEMP | TOUCH_DROP, "" },
		{ "plpgsql", "BEGIN LISTEN x; UNLISTEN y; END", TOUCH_LISTEN | TOUCH_DROP, "" },
		{ "plpgsql", "BEGIN EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'; END", TOUCH_CURSOR, "" },
		{ "plpgsql", "BEGIN EXECUTE 'SELECT 1'; EXECUTE format('SELECT * FROM t WHERE a = %L', x) INTO y; END", 0, "" },
		{ "plpgsql", "BEGIN EXECUTE 'SELECT ' || quote_literal(x) USING y; END", 0, "" },
		{ "plpgsql", "BEGIN EXECUTE 'SELECT ' || x; END", TOUCH_OPAQUE, "" },
		{ "plpgsql", "BEGIN EXECUTE format('SELECT %s', x); END", TOUCH_OPAQUE, "" },
		{ "plpgsql", "BEGIN EXECUTE format('SELECT %I()', x); END", TOUCH_OPAQUE, "" },
		{ "plpgsql", "BEGIN EXECUTE 'SELECT ' || quote_ident(x) || '()'; END", TOUCH_OPAQUE, "" },
		{ "plpgsql", "BEGIN EXECUTE format('SET search_path = %I', x); END", TOUCH_SETTINGS, "search_path " },
		{ "plpgsql", "BEGIN EXECUTE format('SET %I = %L', x, y); END", TOUCH_SETTINGS_UNKNOWN, "" },
		{ "plpgsql", "BEGIN EXECUTE 'SET ' || 'my.a' || ' = ' || quote_literal(x); END", TOUCH_SETTINGS, "my.a " },
		{ "plpgsql", "BEGIN FOR r IN EXECUTE q LOOP SET a TO 1; END LOOP; END", TOUCH_OPAQUE | TOUCH_SETTINGS, "a " },
		{ "plpgsql", "BEGIN EXECUTE $q$PREPARE x AS SELECT 1$q$; END", TOUCH_OPAQUE | TOUCH_DROP, "" },
		{ "plpgsql", "BEGIN PERFORM query_to_xml(q, true, true, ''); END", TOUCH_OPAQUE, "" },
		{ "plpgsql", "BEGIN PERFORM currval('s'); PERFORM setseed(0.1); LOAD 'x'; END", TOUCH_SEQUENCE | TOUCH_SESSION, "" },
		{ "plpgsql", "-- don't\n/* SET a = 1; */ BEGIN PERFORM 'pg_advisory_lock'; END", 0, "" },
		{ "plpython3u", "# don't\nplpy.execute(\"SET search_path = s1\")\nfor a in set([1]): pass", TOUCH_SETTINGS, "search_path " },
		{ "plpython3u", "plpy.execute('SELECT 1')\nplpy.execute(q)", TOUCH_OPAQUE, "" },
		{ "plpython3u", "SD['x'] = 1", TOUCH_SESSION, "" },
		{ "plpython3u", "sd = 1; SDX = 2", 0, "" },
		{ "plperl", "$_SHARED{x} = 1;", TOUCH_SESSION, "" },
		{ "plperl", "spi_exec_query('SELECT set_config(''a.b'', ''c'', false)');", TOUCH_SETTINGS, "a.b " },
	};
	struct watch *w = watch_new(&serials);

	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		assert_body(w, &bodies[i]);
		assert_body(NULL, &bodies[i]);
	}
	watch_free(w);
}

static struct watch *example(void)
{
	struct watch_items *items = watch_items_new();
	struct watch *w = watch_new(&serials);
	struct buf oids = { 0 };

	watch_items_object(items, WATCH_WRITTEN, "held", "CREATE TRIGGER x ON held EXECUTE FUNCTION fires()");
	watch_items_object(items, WATCH_NAMED, "over", "SELECT v FROM held");
	watch_items_object(items, WATCH_NAMED, "#~#", "sets()");
	watch_items_function(items, 11, "outward", false, "sql", NULL, "SELECT fires()");
	watch_items_function(items, 12, "fires", false, "plpgsql", NULL, "BEGIN PERFORM \"Sets\"(); END");
	watch_items_function(items, 13, "Sets", false, "plpgsql", NULL, "BEGIN SET my.a = 1; END");
	watch_items_function(items, 14, "sets", false, "plpgsql", NULL, "BEGIN PERFORM pg_advisory_lock(1); END");
	watch_items_function(items, 15, "named", false, "plpgsql", "n\1\1", "BEGIN PERFORM set_config(n, $2, false); END");
	watch_items_function(items, 16, "writes", false, "sql", NULL, "INSERT INTO held VALUES (1)");
	watch_items_function(items, 17, "reads", false, "sql", NULL, "SELECT FROM over");
	watch_items_function(items, 18, "proc", true, "sql", NULL, "SELECT 1");
	watch_items_function(items, 19, "lost", false, "sql", NULL, NULL);
	assert_int_equal(watch_items_solve(items, w), 7);
	watch_items_oids(items, &oids);
	buf_u8(&oids, 0);
	assert_string_equal((const char *)buf_head(&oids), "11,12,13,14,15,16,19");
	buf_release(&oids);
	watch_items_free(items);
	watch_know(w, true);
	return w;
}

static void words_of_a_statement_bring_their_effects(void **state)
{
	static const struct {
		const char *text;
		uint32_t flags;
		const char *settings;
	} rows[] = {
		{ "SELECT outward ()", TOUCH_SETTINGS, "my.a " },
		{ "SELECT outward FROM t", 0, NULL },
		{ "SELECT 'outward()' /* outward() */", 0, NULL },
		{ "SELECT \"Sets\"()", TOUCH_SETTINGS, "my.a " },
		{ "SELECT SETS()", TOUCH_LOCK, "" },
		{ "SELECT U&\"s\\0065ts\"()", TOUCH_LOCK, "" },
		{ "SELECT U&\"s!0065ts\" UESCAPE '!' ()", TOUCH_OPAQUE, "" },
		{ "SELECT * FROM held", 0, NULL },
		{ "SELECT * FROM s.held FOR UPDATE", TOUCH_SETTINGS, "my.a " },
		{ "INSERT INTO held VALUES (1)", TOUCH_SETTINGS, "my.a " },
		{ "COPY held FROM PROGRAM 'x'", TOUCH_SETTINGS, "my.a " },
		{ "DELETE FROM over", TOUCH_SETTINGS, "my.a " },
		{ "SELECT * FROM over", 0, NULL },
		{ "SELECT writes()", TOUCH_SETTINGS, "my.a " },
		{ "SELECT reads()", 0, NULL },
		{ "SELECT a #~# b", TOUCH_LOCK, "" },
		{ "SELECT a OPERATOR(s.#~#) b", TOUCH_LOCK, "" },
		{ "SELECT named('my.b', 'x')", TOUCH_SETTINGS, "my.b " },
		{ "SELECT named($1, 'x')", TOUCH_SETTINGS, "0/1 " },
		{ "SELECT named(x, 'x') FROM t", TOUCH_SETTINGS_UNKNOWN, "" },
		{ "SELECT named(n => 'x', v => 'y')", TOUCH_SETTINGS_UNKNOWN, "" },
		{ "SELECT lost()", TOUCH_OPAQUE, "" },
		{ "CALL proc()", TOUCH_COMMITS, "" },
		{ "CALL unheard_of()", TOUCH_COMMITS | TOUCH_OPAQUE, "" },
		{ "DO $$BEGIN PERFORM outward(); END$$", TOUCH_COMMITS | TOUCH_SETTINGS, "my.a " },
		{ "DO $$BEGIN NULL; END$$", TOUCH_COMMITS, "" },
		{ "DROP FUNCTION outward()", TOUCH_DDL | TOUCH_DROP, "" },
		{ "COMMENT ON FUNCTION outward() IS 'x'", 0, NULL },
	};
	struct effects_memory *m = effects_memory_new(1 << 20);
	struct watch *w = example();

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct effects *e = effects_watched(m, w, rows[i].text, strlen(rows[i].text), LEX_PLAIN);
		char got[256] = "";

		for (size_t j = 0; e->n && j < e->stmts[0].n_touched; j++) {
			const struct touched_setting *t = &e->stmts[0].touched[j];
			size_t n = strlen(got);

			if (t->name)
				snprintf(got + n, sizeof got - n, "%s%s ", t->name, t->local ? "!" : "");
			else
				snprintf(got + n, sizeof got - n, "0/%d ", t->param);
		}
		if (!rows[i].settings ? !effects_none(e) : e->n != 1 || e->flags != rows[i].flags || strcmp(got, rows[i].settings))
			fail_msg("%s: %zu rows, flags %x, settings %s", rows[i].text, e->n, e->flags, got);
		effects_release(e);
	}
	watch_free(w);
	effects_memory_free(m);
}

static void each_statement_of_a_text_has_its_own(void **state)
{
	static const char text[] = "SELECT 1; SELECT outward(); PREPARE p AS SELECT sets()";
	struct effects_memory *m = effects_memory_new(1 << 20);
	struct watch *w = example();
	const struct effects *e = effects_watched(m, w, text, sizeof text - 1, LEX_PLAIN);

	assert_int_equal(e->n, 3);
	assert_int_equal(e->stmts[0].flags, 0);
	assert_int_equal(e->stmts[1].flags, TOUCH_SETTINGS);
	assert_int_equal(e->stmts[2].flags, 0);
	assert_int_equal(e->stmts[2].inner_flags, TOUCH_LOCK);
	effects_release(e);
	watch_free(w);
	effects_memory_free(m);
}

static void a_statement_that_defines_says_what(void **state)
{
	static const struct {
		const char *text, *word;
		int when;
		uint32_t flags; /* ~0: defines nothing; ~1: nor changes the catalogue */
	} rows[] = {
		{ "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT set_config(''my.c'', ''x'', false)'", "f", WATCH_CALLED, TOUCH_SETTINGS },
		{ "CREATE OR REPLACE FUNCTION s.f(n int) RETURNS int RETURN outward()", "f", WATCH_CALLED, TOUCH_SETTINGS },
		{ "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = s AS 'SELECT 1'", NULL, 0, ~0u },
		{ "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'pg_advisory_lock'", NULL, 0, ~0u },
		{ "CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'", "p", WATCH_CALLED, 0 },
		{ "CREATE VIEW v AS SELECT outward()", "v", WATCH_NAMED, TOUCH_SETTINGS },
		{ "CREATE VIEW v AS SELECT * FROM held", "v", WATCH_WRITTEN, TOUCH_SETTINGS },
		{ "CREATE TRIGGER x AFTER INSERT ON s.t EXECUTE FUNCTION fires()", "t", WATCH_WRITTEN, TOUCH_SETTINGS },
		{ "CREATE TABLE t (n int DEFAULT sets())", "t", WATCH_WRITTEN, TOUCH_LOCK },
		{ "ALTER TABLE t ALTER n SET DEFAULT pg_advisory_lock(1)", "t", WATCH_WRITTEN, TOUCH_LOCK },
		{ "CREATE TABLE t (n int)", NULL, 0, ~1u },
		{ "CREATE POLICY p ON t USING (sets())", "t", WATCH_NAMED, TOUCH_LOCK },
		{ "CREATE OPERATOR ### (FUNCTION = sets, LEFTARG = int)", "###", WATCH_NAMED, TOUCH_LOCK },
		{ "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION sets()", "create", WATCH_NAMED, TOUCH_LOCK },
		{ "ALTER FUNCTION sets() RENAME TO g", "g", WATCH_CALLED, TOUCH_LOCK },
		{ "ALTER FUNCTION outward() OWNER TO x", NULL, 0, ~1u },
	};
	struct effects_memory *m = effects_memory_new(1 << 20);
	struct watch *w = example();

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct effects *e = effects_watched(m, w, rows[i].text, strlen(rows[i].text), LEX_PLAIN);
		const struct stmt_effects *row = &e->stmts[0];
		bool nothing = rows[i].flags >= ~1u;

		if (e->n != 1 || !(row->flags & TOUCH_CATALOGUE) != (rows[i].flags == ~1u) || !row->n_defined != nothing)
			fail_msg("%s: flags %x, defines %zu", rows[i].text, e->flags, row->n_defined);
		if (!nothing && (strcmp(row->defined[0].word, rows[i].word) || row->defined[0].when != rows[i].when ||
				 row->defined[0].does->flags != rows[i].flags))
			fail_msg("%s: %s %d %x", rows[i].text, row->defined[0].word, row->defined[0].when, row->defined[0].does->flags);
		if (row->flags & (TOUCH_LOCK | TOUCH_SETTINGS) && rows[i].text[0] != 'A')
			fail_msg("%s: it only stores, and is said to touch %x", rows[i].text, row->flags);
		effects_release(e);
	}
	watch_free(w);
	effects_memory_free(m);
}

static void a_text_is_remembered_under_the_state_of_the_set(void **state)
{
	struct effects_memory *m = effects_memory_new(1 << 20);
	struct watch *w = watch_new(&serials);
	struct watch_effect lock = { .flags = TOUCH_LOCK };
	const struct effects *e = effects_watched(m, w, "SELECT f()", 10, LEX_PLAIN);

	assert_true(effects_none(e));
	watch_add(w, "f", WATCH_CALLED, &lock);
	e = effects_watched(m, w, "SELECT f()", 10, LEX_PLAIN);
	assert_int_equal(e->flags, TOUCH_LOCK);
	effects_release(e);
	e = effects_of(m, "SELECT f()", 10, LEX_PLAIN);
	assert_true(effects_none(e));
	watch_free(w);
	effects_memory_free(m);
}

static void what_went_by_outlives_a_reading_while_it_is_held(void **state)
{
	struct watch *w = watch_new(&serials), *by = watch_new(&serials);
	struct watch_effect lock = { .flags = TOUCH_LOCK };

	watch_define(w, "before", WATCH_CALLED, &lock);
	watch_renew_begin(w);
	watch_define(w, "meanwhile", WATCH_CALLED, &lock);
	watch_renew(w, by);
	assert_null(watch_find(w, "before", WATCH_CALLED));
	assert_non_null(watch_find(w, "meanwhile", WATCH_CALLED));
	watch_hold(w);
	by = watch_new(&serials);
	watch_renew_begin(w);
	watch_renew(w, by);
	assert_non_null(watch_find(w, "meanwhile", WATCH_CALLED));
	watch_unhold(w);
	by = watch_new(&serials);
	watch_renew_begin(w);
	watch_renew(w, by);
	assert_null(watch_find(w, "meanwhile", WATCH_CALLED));
	watch_free(w);
}

static void an_exempt_word_stays_so(void **state)
{
	struct watch *w = watch_new(&serials);
	struct watch_effect lock = { .flags = TOUCH_LOCK };

	watch_exempt(w, "f");
	watch_add(w, "f", WATCH_CALLED, &lock);
	assert_int_equal(watch_count(w), 0);
	assert_false(watch_hits(w, "SELECT f()", 10, LEX_PLAIN));
	watch_free(w);
}

static void a_name_that_may_have_been_cut_or_encoded_otherwise_is_found(void **state)
{
	struct watch *w = watch_new(&serials);
	struct watch_effect lock = { .flags = TOUCH_LOCK };
	char text[128];

	watch_add(w, "a123456789b123456789c123456789d123456789e123456789f123456789abc", WATCH_NAMED, &lock);
	watch_add(w, "gr\xc3\xb6\xc3\x9f" "e", WATCH_NAMED, &lock);
	snprintf(text, sizeof text, "SELECT A123456789b123456789c123456789d123456789e123456789f123456789abcdef");
	assert_true(watch_hits(w, text, strlen(text), LEX_PLAIN));
	assert_true(watch_hits(w, "SELECT gr\xf6\xdf" "e", 12, LEX_PLAIN));
	assert_false(watch_hits(w, "SELECT group", 12, LEX_PLAIN));
	watch_free(w);
}

static bool readable(const char *text)
{
	struct lex l = lex_of(text, strlen(text), false);
	enum tok t;

	while ((t = lex_next(&l)) != TOK_END)
		if (t == TOK_BAD)
			return false;
	return true;
}

/* Random texts of pieces that begin and end words, quotes, strings and comments. */
static void what_is_found_token_by_token_is_found_at_sight(void **state)
{
	static const char *const words[] = { "sets", "f", "a b", "q\"uote", "#~#", "gr\xc3\xb6\xc3\x9f" "e", "9lives", "Upper", "$x", "\"" };
	static const char *const parts[] = { "sets", "SETS", "f", "a b", "q\"\"uote", "#~#", "gr\xc3\xb6\xc3\x9f" "e", "gr\xf6", "9lives", "Upper", "upper",
					     "$x", "\"", "\"\"", "'", "E'", "\\'", "--", "\n", "/*", "*/", "(", " ", " ", ".", ";", "do", "create", "U&\"s\\0065ts\"",
					     "u&\"", "$$", "$1", "1", "_", "x", "-", "SELECT ", "call" };
	struct watch_effect lock = { .flags = TOUCH_LOCK };
	unsigned hits = 0, misses = 0;

	for (int round = 0; round < 100000; round++) {
		struct watch *w = watch_new(&serials);
		char text[512] = "";
		size_t n_words = (size_t)rand() % (sizeof words / sizeof words[0] + 1);
		bool exactly, seen;

		for (size_t i = 0; i < n_words; i++)
			watch_add(w, words[(size_t)rand() % (sizeof words / sizeof words[0])], WATCH_NAMED, &lock);
		for (int n = rand() % 14; n > 0; n--)
			strcat(text, parts[(size_t)rand() % (sizeof parts / sizeof parts[0])]);
		exactly = watch_hits_exactly(w, text, strlen(text), LEX_PLAIN);
		seen = watch_hits(w, text, strlen(text), LEX_PLAIN);
		if (readable(text) ? seen != exactly : seen && !exactly)
			fail_msg("%s: token by token %d, at sight %d", text, exactly, seen);
		hits += readable(text) && seen;
		misses += !seen;
		watch_free(w);
	}
	assert_true(hits > 5000 && misses > 5000);
}

/* As versions read it that take a number and a word behind it for two tokens. */
static void a_word_behind_a_number_is_seen(void **state)
{
	struct watch_effect lock = { .flags = TOUCH_LOCK };
	struct watch *w = watch_new(&serials);

	watch_add(w, "sets", WATCH_NAMED, &lock);
	assert_true(watch_names(w, "SELECT 1sets()", 14, LEX_PLAIN));
	assert_true(watch_names(w, "SELECT '\", sets()", 17, LEX_PLAIN));
	assert_false(watch_names(w, "SELECT resets(), setsx, 'se'", 28, LEX_PLAIN));
	watch_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies_are_read),
		cmocka_unit_test(words_of_a_statement_bring_their_effects),
		cmocka_unit_test(each_statement_of_a_text_has_its_own),
		cmocka_unit_test(a_statement_that_defines_says_what),
		cmocka_unit_test(a_text_is_remembered_under_the_state_of_the_set),
		cmocka_unit_test(what_went_by_outlives_a_reading_while_it_is_held),
		cmocka_unit_test(an_exempt_word_stays_so),
		cmocka_unit_test(a_name_that_may_have_been_cut_or_encoded_otherwise_is_found),
		cmocka_unit_test(what_is_found_token_by_token_is_found_at_sight),
		cmocka_unit_test(a_word_behind_a_number_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
