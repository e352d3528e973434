/* links: parser/lex.c parser/screen.c parser/grams.c parser/tree.c parser/effects*.c parser/watch*.c parser/buf.c -lpg_query -lprotobuf-c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "parser/buf.h"
#include "parser/effects.h"
#include "parser/screen.h"

static struct effects_memory *memory;

static const struct effects *effects(const char *text)
{
	return effects_in_full(memory, text, strlen(text), LEX_PLAIN);
}

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* One row of one text. */
static void row_is(const char *text, size_t i, enum stmt_kind kind, uint32_t flags, const char *name, const char *value)
{
	const struct effects *e = effects(text);
	const struct stmt_effects *s;

	if (i >= e->n)
		fail_msg("%s: %zu rows", text, e->n);
	s = &e->stmts[i];
	if (s->kind != kind || s->flags != flags || !same(s->name, name) || !same(s->value, value))
		fail_msg("%s: kind %d flags %x name %s value %s", text, s->kind, s->flags, s->name ? s->name : "NULL",
			 s->value ? s->value : "NULL");
	effects_release(e);
}

struct expected {
	const char *text;
	enum stmt_kind kind;
	uint32_t flags;
	const char *name, *value;
};

static void rows_are(const struct expected *rows, size_t n)
{
	struct grams g;

	screen_grams(&g);
	for (size_t i = 0; i < n; i++) {
		row_is(rows[i].text, 0, rows[i].kind, rows[i].flags, rows[i].name, rows[i].value);
		if (screen_text(&g, rows[i].text, strlen(rows[i].text), LEX_PLAIN) == SCREEN_CLEAR &&
		    (rows[i].flags & ~(uint32_t)TOUCH_TX))
			fail_msg("cleared: %s", rows[i].text);
	}
}

/* Rows leave out the name and value that are NULL. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define ROWS_ARE(...) \
	do { \
		static const struct expected rows[] = { __VA_ARGS__ }; \
		rows_are(rows, sizeof rows / sizeof rows[0]); \
	} while (0)

static void set_in_all_its_forms_has_name_and_value(void **state)
{
	ROWS_ARE({ "SET a.b = 'x'", STMT_SET, 0, "a.b", "x" }, { "SET SESSION work_mem TO '4MB'", STMT_SET, 0, "work_mem", "4MB" },
		 { "SET LOCAL work_mem = 4096", STMT_SET_LOCAL, 0, "work_mem", "4096" }, { "SET \"TimeZone\" = UTC", STMT_SET, 0, "timezone", "utc" },
		 { "SET TIME ZONE 'Europe/Berlin'", STMT_SET, 0, "timezone", "Europe/Berlin" }, { "SET TIME ZONE -7", STMT_SET, 0, "timezone", "-7" },
		 { "SET TIME ZONE 5.5", STMT_SET, 0, "timezone", "5.5" }, { "SET TIME ZONE LOCAL", STMT_RESET, 0, "timezone" },
		 { "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", STMT_SET, 0, "timezone", NULL },
		 { "SET NAMES 'utf8'", STMT_SET, 0, "client_encoding", "utf8" }, { "SET NAMES", STMT_RESET, 0, "client_encoding" },
		 { "SET SCHEMA 'Foo'", STMT_SET, 0, "search_path", "\"Foo\"" }, { "SET ROLE bob", STMT_SET, 0, "role", "bob" },
		 { "SET ROLE \"Bob\"", STMT_SET, 0, "role", "Bob" }, { "SET ROLE NONE", STMT_SET, 0, "role", "none" },
		 { "SET LOCAL ROLE 'x'", STMT_SET_LOCAL, 0, "role", "x" },
		 { "SET SESSION AUTHORIZATION bob", STMT_SET, 0, "session_authorization", "bob" },
		 { "SET SESSION AUTHORIZATION DEFAULT", STMT_RESET, 0, "session_authorization" },
		 { "SET XML OPTION DOCUMENT", STMT_SET, 0, "xmloption", "document" }, { "SET a = true", STMT_SET, 0, "a", "true" },
		 { "SET a = off", STMT_SET, 0, "a", "off" }, { "SET a = 1.50", STMT_SET, 0, "a", "1.50" },
		 { "SET a = -1e3", STMT_SET, 0, "a", "-1e3" }, { "SET a = +7", STMT_SET, 0, "a", "7" },
		 { "SET a = 99999999999", STMT_SET, 0, "a", "99999999999" }, { "SET a = E'x\\ny'", STMT_SET, 0, "a", "x\ny" },
		 { "SET a = 'it''s'", STMT_SET, 0, "a", "it's" }, { "SET a = one, 'Two', 3", STMT_SET, 0, "a", "one, Two, 3" },
		 { "SET DateStyle = 'dmy'", STMT_SET, 0, "datestyle", NULL }, { "SET a FROM CURRENT", STMT_SET, 0, "a", NULL },
		 { "SET sort_mem = 1", STMT_SET, 0, "work_mem", "1" }, { "SET seed = 0.5", STMT_SET, TOUCH_SESSION, "seed", "0.5" },
		 { "SET application_name = ''", STMT_SET, 0, "application_name", "" });
}

static void reset_in_all_its_forms_has_its_name(void **state)
{
	ROWS_ARE({ "RESET a.B", STMT_RESET, 0, "a.b" }, { "SET a TO DEFAULT", STMT_RESET, 0, "a" }, { "SET LOCAL a = DEFAULT", STMT_RESET_LOCAL, 0, "a" },
		 { "RESET ALL", STMT_RESET_ALL, 0 }, { "RESET TIME ZONE", STMT_RESET, 0, "timezone" }, { "RESET ROLE", STMT_RESET, 0, "role" },
		 { "RESET SESSION AUTHORIZATION", STMT_RESET, 0, "session_authorization" },
		 { "SET search_path = DEFAULT", STMT_RESET, 0, "search_path" });
}

static void what_ends_with_its_transaction_is_no_setting_of_the_session(void **state)
{
	ROWS_ARE({ "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", STMT_SET_TRANSACTION, 0 },
		 { "SET TRANSACTION SNAPSHOT 'x'", STMT_SET_TRANSACTION, 0 }, { "SET SESSION TRANSACTION READ ONLY", STMT_SET_TRANSACTION, 0 },
		 { "SET transaction_read_only = on", STMT_SET_TRANSACTION, 0, "transaction_read_only", "on" },
		 { "RESET TRANSACTION ISOLATION LEVEL", STMT_SET_TRANSACTION, 0, "transaction_isolation" },
		 { "SET CONSTRAINTS ALL DEFERRED", STMT_PLAIN, 0 });
}

static void lists_are_quoted_as_postgresql_quotes_them(void **state)
{
	ROWS_ARE({ "SET search_path = foo, bar", STMT_SET, 0, "search_path", "foo, bar" },
		 { "SET search_path = \"$user\", public", STMT_SET, 0, "search_path", "\"$user\", public" },
		 { "SET search_path = Foo, \"Foo\", 'a b'", STMT_SET, 0, "search_path", "foo, \"Foo\", \"a b\"" },
		 { "SET search_path = 'foo, bar'", STMT_SET, 0, "search_path", "\"foo, bar\"" },
		 { "SET search_path = ''", STMT_SET, 0, "search_path", "\"\"" }, { "SET search_path = \"a\"\"b\"", STMT_SET, 0, "search_path", "\"a\"\"b\"" },
		 { "SET search_path = 'public', 1", STMT_SET, 0, "search_path", "public, 1" },
		 { "SET search_path = \"user\"", STMT_SET, 0, "search_path", NULL }, { "SET search_path = 'select', a", STMT_SET, 0, "search_path", NULL },
		 { "SET search_path = '\xc3\xa9'", STMT_SET, 0, "search_path", "\"\xc3\xa9\"" }, { "SET search_path = _a9", STMT_SET, 0, "search_path", "_a9" },
		 { "SET search_path = '9a'", STMT_SET, 0, "search_path", "\"9a\"" },
		 { "SET temp_tablespaces = 'A'", STMT_SET, 0, "temp_tablespaces", "\"A\"" }, { "SET application_name = 'A b'", STMT_SET, 0, "application_name", "A b" });
}

static void session_characteristics_are_a_row_each(void **state)
{
	const char *text = "SELECT 1; SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY, NOT DEFERRABLE; SELECT 2";
	const struct effects *e = effects(text);

	assert_int_equal(e->n, 5);
	assert_int_equal(e->more_of_same, 1 << 2 | 1 << 3);
	assert_int_equal(e->stmts[1].at, e->stmts[3].at);
	effects_release(e);
	row_is(text, 1, STMT_SET, 0, "default_transaction_isolation", "repeatable read");
	row_is(text, 2, STMT_SET, 0, "default_transaction_read_only", "on");
	row_is(text, 3, STMT_SET, 0, "default_transaction_deferrable", "off");
	row_is("SET LOCAL SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", 0, STMT_SET_LOCAL, 0, "default_transaction_read_only", "off");
}

static void rows_beyond_what_can_be_marked_make_the_text_opaque(void **state)
{
	char text[8000] = "";
	const struct effects *e;

	for (int i = 0; i < 63; i++)
		strcat(text, "SELECT 1;");
	strcat(text, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, DEFERRABLE");
	e = effects(text);
	assert_ptr_equal(e, effects_opaque());
	e = effects(text + strlen("SELECT 1;"));
	assert_int_equal(e->n, 64);
	assert_true(e->more_of_same == (uint64_t)1 << 63);
	effects_release(e);
}

static void transaction_control_is_told_apart(void **state)
{
	ROWS_ARE({ "BEGIN READ ONLY", STMT_BEGIN, TOUCH_TX }, { "START TRANSACTION", STMT_BEGIN, TOUCH_TX }, { "COMMIT AND CHAIN", STMT_COMMIT, TOUCH_TX },
		 { "END", STMT_COMMIT, TOUCH_TX }, { "ABORT", STMT_ROLLBACK, TOUCH_TX }, { "SAVEPOINT Foo", STMT_SAVEPOINT, TOUCH_TX, "foo" },
		 { "RELEASE \"Foo\"", STMT_RELEASE, TOUCH_TX, "Foo" }, { "ROLLBACK TO SAVEPOINT x", STMT_ROLLBACK_TO, TOUCH_TX, "x" },
		 { "PREPARE TRANSACTION 'x'", STMT_COMMIT, TOUCH_TX }, { "COMMIT PREPARED 'x'", STMT_PLAIN, TOUCH_TX },
		 { "SAVEPOINT abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", STMT_SAVEPOINT, TOUCH_TX,
		   "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk" });
}

static void the_name_of_a_prepared_statement_is_found_in_the_text(void **state)
{
	static const struct {
		const char *text;
		enum stmt_kind kind;
		uint32_t flags;
		const char *name, *token;
	} rows[] = {
		{ "PREPARE foo (int, text) AS SELECT $1", STMT_PREPARE, 0, "foo", "foo" },
		{ " /* foo */ prepare -- foo\n \"Fo\"\"o\" as select 'foo'", STMT_PREPARE, 0, "Fo\"o", "\"Fo\"\"o\"" },
		{ "EXECUTE FOO(1, 'foo')", STMT_EXECUTE, 0, "foo", "FOO" },
		{ "EXPLAIN (ANALYZE, FORMAT json) EXECUTE \"foo\"(1)", STMT_EXECUTE, 0, "foo", "\"foo\"" },
		{ "EXPLAIN ANALYZE VERBOSE EXECUTE execute", STMT_EXECUTE, 0, "execute", "execute" },
		{ "CREATE TABLE execute AS EXECUTE foo", STMT_EXECUTE, TOUCH_DDL, "foo", "foo" },
		{ "CREATE TEMP TABLE a (execute, b) WITH (fillfactor = 70) AS EXECUTE b(1) WITH NO DATA", STMT_EXECUTE, TOUCH_DDL | TOUCH_TEMP, "b", "b" },
		{ "EXPLAIN CREATE TABLE execute AS EXECUTE foo", STMT_EXECUTE, TOUCH_DDL, "foo", "foo" },
		{ "DEALLOCATE foo", STMT_DEALLOCATE, 0, "foo", "foo" },
		{ "DEALLOCATE PREPARE \"all\" -- all", STMT_DEALLOCATE, 0, "all", "\"all\"" },
		{ "DEALLOCATE prepare ", STMT_DEALLOCATE, 0, "prepare", "prepare" },
		{ "EXECUTE abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", STMT_EXECUTE, 0,
		  "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk",
		  "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz" },
		{ "EXECUTE U&\"\\0061\"", STMT_PLAIN, TOUCH_OPAQUE, NULL, "" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct effects *e = effects(rows[i].text);
		const struct stmt_effects *s = &e->stmts[0];

		row_is(rows[i].text, 0, rows[i].kind, rows[i].flags, rows[i].name, NULL);
		if (s->name_len != strlen(rows[i].token) || memcmp(rows[i].text + s->name_at, rows[i].token, s->name_len))
			fail_msg("%s: %.*s", rows[i].text, (int)s->name_len, rows[i].text + s->name_at);
		effects_release(e);
	}
}

static void prepare_does_nothing_until_it_is_executed(void **state)
{
	const struct effects *e = effects("PREPARE x AS SELECT set_config($1, $2, false), pg_advisory_lock(1)");

	assert_int_equal(e->flags, 0);
	assert_int_equal(e->stmts[0].kind, STMT_PREPARE);
	assert_int_equal(e->stmts[0].inner_flags, TOUCH_SETTINGS | TOUCH_LOCK);
	assert_int_equal(e->stmts[0].inner_kind, STMT_PLAIN);
	assert_int_equal(e->stmts[0].n_touched, 1);
	assert_int_equal(e->stmts[0].touched[0].param, 1);
	effects_release(e);
	e = effects("PREPARE x AS SELECT pg_advisory_unlock_all()");
	assert_int_equal(e->stmts[0].inner_kind, STMT_UNLOCK_ALL);
	effects_release(e);
}

static void statements_lie_between_blanks_comments_and_semicolons(void **state)
{
	const char *text = " -- x\n/* ; */ SELECT ';' /* a */ ;; SET a = b -- y\n;\n";
	const struct effects *e = effects(text);

	assert_int_equal(e->n, 2);
	assert_int_equal(e->stmts[0].len, strlen("SELECT ';'"));
	assert_memory_equal(text + e->stmts[0].at, "SELECT ';'", e->stmts[0].len);
	assert_int_equal(e->stmts[1].len, strlen("SET a = b"));
	assert_memory_equal(text + e->stmts[1].at, "SET a = b", e->stmts[1].len);
	effects_release(e);
	assert_true(effects_none(effects(" ; /* x */ ; ")));
}

struct touched {
	const char *text;
	uint32_t flags;
	size_t n;
	const char *name;
	int param;
	bool local;
};

static void set_config_tells_what_it_touches(void **state)
{
	static const struct touched rows[] = {
		{ "SELECT set_config('App.Tenant', 'x', false)", TOUCH_SETTINGS, 1, "app.tenant", 0, false },
		{ "SELECT pg_catalog.set_config('a', 'x', true)", TOUCH_LOCAL, 1, "a", 0, true },
		{ "SELECT \"set_config\"('a'::text, 'x', 't'::bool)", TOUCH_LOCAL, 1, "a", 0, true },
		{ "SELECT set_config($3, $1, $2)", TOUCH_SETTINGS, 1, NULL, 3, false },
		{ "SELECT set_config($1::varchar, 'x', true)", TOUCH_LOCAL, 1, NULL, 1, true },
		{ "SELECT set_config('a' || 'b', 'x', false)", TOUCH_SETTINGS_UNKNOWN, 0, NULL, 0, false },
		{ "SELECT set_config(name, 'x', true) FROM t", TOUCH_SETTINGS_UNKNOWN | TOUCH_LOCAL, 0, NULL, 0, false },
		{ "SELECT set_config('abc'::varchar(2), 'x', false)", TOUCH_SETTINGS_UNKNOWN, 0, NULL, 0, false },
		{ "SELECT set_config(is_local => true, setting_name => 'a', new_value => 'b')", TOUCH_LOCAL, 1, "a", 0, true },
		{ "SELECT set_config(VARIADIC 'a')", TOUCH_SETTINGS_UNKNOWN, 0, NULL, 0, false },
		{ "SELECT set_config('transaction_read_only', 'on', false)", TOUCH_LOCAL, 1, "transaction_read_only", 0, true },
		{ "SELECT set_config('seed', '0.5', false)", TOUCH_SETTINGS | TOUCH_SESSION, 1, "seed", 0, false },
		{ "SELECT 1 FROM set_config('a', 'x', false)", TOUCH_SETTINGS, 1, "a", 0, false },
		{ "WITH x AS (SELECT set_config('a', 'x', false)) SELECT * FROM x", TOUCH_SETTINGS, 1, "a", 0, false },
		{ "SELECT 1 WHERE EXISTS (SELECT CASE WHEN set_config('a', 'x', false) = 'x' THEN 1 END)", TOUCH_SETTINGS, 1, "a", 0, false },
		{ "UPDATE t SET a = COALESCE(set_config('a', 'x', false), '')", TOUCH_SETTINGS, 1, "a", 0, false },
		{ "INSERT INTO t VALUES (ARRAY[set_config('a', 'x', false)]) ON CONFLICT DO NOTHING", TOUCH_SETTINGS, 1, "a", 0, false },
		{ "COPY (SELECT set_config('a', 'x', false)) TO STDOUT", TOUCH_SETTINGS, 1, "a", 0, false },
		{ "EXPLAIN ANALYZE SELECT set_config('a', 'x', false)", TOUCH_SETTINGS, 1, "a", 0, false },
		{ "EXPLAIN SELECT set_config('a', 'x', false)", 0, 0, NULL, 0, false },
		{ "EXECUTE p(set_config('a', 'x', false))", TOUCH_SETTINGS, 1, "a", 0, false },
		{ "DECLARE c CURSOR FOR SELECT set_config('a', 'x', false)", TOUCH_SETTINGS, 1, "a", 0, false },
		{ "CREATE TABLE t AS SELECT set_config('a', 'x', false)", TOUCH_SETTINGS | TOUCH_DDL, 1, "a", 0, false },
		{ "ALTER TABLE t ALTER a TYPE text USING set_config('a', 'x', false)", TOUCH_SETTINGS | TOUCH_DDL | TOUCH_DROP, 1, "a", 0, false },
		{ "CREATE FUNCTION f() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT set_config('a', 'x', false); END", TOUCH_DDL, 0, NULL, 0, false },
		{ "SELECT set_limit(0.5)", TOUCH_SETTINGS, 1, "pg_trgm.similarity_threshold", 0, false },
		{ "SELECT current_setting('a', true)", 0, 0, NULL, 0, false },
		{ "SELECT set_config FROM t", 0, 0, NULL, 0, false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct effects *e = effects(rows[i].text);
		const struct stmt_effects *s = &e->stmts[0];

		if (s->flags != rows[i].flags || s->n_touched != rows[i].n ||
		    (s->n_touched && (!same(s->touched[0].name, rows[i].name) || s->touched[0].param != rows[i].param ||
				      s->touched[0].local != rows[i].local)))
			fail_msg("%s: flags %x, %zu touched", rows[i].text, s->flags, s->n_touched);
		effects_release(e);
	}
}

static void a_statement_that_does_nothing_but_set_is_told_apart(void **state)
{
	static const struct { const char *text; bool surely; } rows[] = {
		{ "SELECT set_config('a.b', 'x', true)", true },
		{ "SELECT pg_catalog.set_config('a.b', $1::text, true) AS v, set_config($2, $3, $4)", true },
		{ "PREPARE p AS SELECT set_config('a.b', $1, true)", true },
		{ "SELECT own.set_config('a.b', 'x', true)", false },
		{ "SELECT set_config('a.b', 'x', true), current_setting('a.b')", false },
		{ "SELECT set_config('a.b', current_setting('a.b'), true)", false },
		{ "SELECT set_config('a.b', 'x', true) WHERE false", false },
		{ "SELECT set_config('a.b', 'x', true) FROM t", false },
		{ "SELECT set_config('a.b', 'x', true) LIMIT 0", false },
		{ "SELECT set_config('a.b', 'x', true) UNION SELECT 1", false },
		{ "SELECT set_config('a.b', 'x', true) FILTER (WHERE false)", false },
		{ "EXPLAIN ANALYZE SELECT set_config('a.b', 'x', true)", false },
		{ "DECLARE c CURSOR FOR SELECT set_config('a.b', 'x', true)", false },
		{ "DO $$BEGIN PERFORM set_config('a.b', 'x', true); END$$", false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct effects *e = effects(rows[i].text);

		for (size_t j = 0; j < e->stmts[0].n_touched; j++)
			if (e->stmts[0].touched[j].surely != rows[i].surely)
				fail_msg("%s", rows[i].text);
		assert_true(e->stmts[0].n_touched);
		effects_release(e);
	}
}

/* {: a value begins, }: ends, [N]: a plain NULL, [C]: the call of pg_listening_channels(), <: its name goes here. */
static void put_places(const char *text, const struct stmt_effects *s, char *out)
{
	size_t done = 0;

	for (size_t i = 0; i < s->n_places; i++) {
		static const char *const marks[] = { "{", "}", "[N]", "[C]", "<" };
		const struct text_place *p = &s->places[i];

		out += sprintf(out, "%.*s%s", (int)(p->at - done), text + done, marks[p->what]);
		done = p->at + p->len;
		assert_true(!p->name == (p->what >= PLACE_CHANNELS));
	}
	strcpy(out, text + done);
}

static void places_where_a_session_says_something_else_are_found(void **state)
{
	static const struct { const char *text, *places; } rows[] = {
		{ "SELECT set_config('a', 'x', false)", "SELECT set_config('a', 'x', false)" },
		{ "SELECT set_config('a', NULL, false)", "SELECT set_config('a', [N], false)" },
		{ "SELECT pg_catalog . \"set_config\" ( 'a' , /* , */ f(1, 2) , true)", "SELECT pg_catalog . \"set_config\" ( 'a' , /* , */ {f(1, 2)} , true)" },
		{ "SELECT set_config('a', $1, false)", "SELECT set_config('a', {$1}, false)" },
		{ "SELECT set_config($1, NULL, false)", "SELECT set_config($1, NULL, false)" },
		{ "SELECT set_config(is_local => true, new_value := (v), setting_name => 'a')", "SELECT set_config(is_local => true, new_value := {(v)}, setting_name => 'a')" },
		{ "SELECT set_config('a', set_config('b', null, true) || x[1:2], true)", "SELECT set_config('a', {set_config('b', [N], true) || x[1:2]}, true)" },
		{ "SELECT pg_listening_channels()", "SELECT [C]<" },
		{ "SELECT 1, (pg_catalog.pg_listening_channels( ))::text FROM t", "SELECT 1, ([C])::text< FROM t" },
		{ "SELECT pg_listening_channels() AS c, pg_listening_channels() x, f(pg_listening_channels())", "SELECT [C] AS c, [C] x, f([C])" },
		{ "SELECT pg_listening_channels() || 'x' WHERE true", "SELECT [C] || 'x' WHERE true" },
		{ "SELECT ARRAY(SELECT pg_listening_channels()), 2", "SELECT ARRAY(SELECT [C]<), 2" },
		{ "SELECT CAST(pg_listening_channels() AS text) COLLATE \"C\" ORDER BY 1", "SELECT CAST([C] AS text) COLLATE \"C\"< ORDER BY 1" },
		{ "SELECT * FROM pg_listening_channels()", "SELECT * FROM [C]<" },
		{ "SELECT * FROM pg_listening_channels() c", "SELECT * FROM [C] c" },
		{ "SELECT * FROM pg_listening_channels() WITH ORDINALITY WHERE true", "SELECT * FROM [C] WITH ORDINALITY< WHERE true" },
		{ "SELECT * FROM ROWS FROM (pg_listening_channels()) WITH ORDINALITY, t", "SELECT * FROM ROWS FROM ([C]) WITH ORDINALITY<, t" },
		{ "SELECT EXISTS (SELECT 1 FROM pg_listening_channels() AS c(d) WHERE d = 'x')", "SELECT EXISTS (SELECT 1 FROM [C] AS c(d) WHERE d = 'x')" },
		{ "PREPARE p AS SELECT PG_LISTENING_CHANNELS()", "PREPARE p AS SELECT [C]<" },
		{ "SELECT own.pg_listening_channels(), pg_listening_channels(1)", "SELECT own.pg_listening_channels(), pg_listening_channels(1)" },
	};
	char out[512];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct effects *e = effects(rows[i].text);

		put_places(rows[i].text, &e->stmts[0], out);
		assert_string_equal(out, rows[i].places);
		effects_release(e);
	}
}

static void views_of_ones_own_session_are_seen(void **state)
{
	ROWS_ARE({ "SELECT * FROM pg_prepared_statements", STMT_PLAIN, TOUCH_OWN_VIEWS },
		 { "SELECT 1 FROM pg_catalog.\"pg_prepared_statements\" p", STMT_PLAIN, TOUCH_OWN_VIEWS },
		 { "SELECT (SELECT count(*) FROM PG_CURSORS)", STMT_PLAIN, TOUCH_OWN_VIEWS },
		 { "SELECT name FROM pg_prepared_statement()", STMT_PLAIN, TOUCH_OWN_VIEWS },
		 { "WITH c AS (SELECT pg_cursor()) SELECT * FROM c", STMT_PLAIN, TOUCH_OWN_VIEWS },
		 { "COPY (SELECT name FROM pg_cursors) TO STDOUT", STMT_PLAIN, TOUCH_OWN_VIEWS },
		 { "TABLE pg_cursors", STMT_PLAIN, TOUCH_OWN_VIEWS }, { "SELECT pg_cursors FROM t", STMT_PLAIN, 0 });
}

static void functions_that_leave_state_are_seen(void **state)
{
	ROWS_ARE({ "SELECT pg_advisory_lock(1)", STMT_PLAIN, TOUCH_LOCK }, { "SELECT pg_advisory_xact_lock(1)", STMT_PLAIN, 0 },
		 { "SELECT pg_advisory_unlock_all()", STMT_UNLOCK_ALL, TOUCH_LOCK }, { "SELECT pg_catalog.pg_advisory_unlock_all()", STMT_UNLOCK_ALL, TOUCH_LOCK },
		 { "SELECT x.pg_advisory_unlock_all()", STMT_PLAIN, TOUCH_LOCK }, { "SELECT pg_advisory_unlock_all(), 1", STMT_PLAIN, TOUCH_LOCK },
		 { "SELECT pg_advisory_unlock_all() FROM t", STMT_PLAIN, TOUCH_LOCK }, { "SELECT pg_advisory_unlock_all() UNION SELECT f()", STMT_PLAIN, TOUCH_LOCK },
		 { "SELECT currval('s'), lastval()", STMT_PLAIN, TOUCH_SEQUENCE }, { "SELECT setseed(0.1)", STMT_PLAIN, TOUCH_SESSION },
		 { "SELECT dblink_connect('x')", STMT_PLAIN, TOUCH_SESSION }, { "SELECT pg_backup_start('x')", STMT_PLAIN, TOUCH_SESSION },
		 { "SELECT query_to_xml('x', true, true, '')", STMT_PLAIN, TOUCH_OPAQUE }, { "LOAD 'x'", STMT_PLAIN, TOUCH_SESSION },
		 { "DO 'x'", STMT_PLAIN, TOUCH_OPAQUE }, { "CALL p(1)", STMT_PLAIN, TOUCH_OPAQUE });
}

static void objects_that_are_temporary_are_seen(void **state)
{
	ROWS_ARE({ "CREATE TEMP TABLE t (a int) ON COMMIT DROP", STMT_PLAIN, TOUCH_DDL | TOUCH_TEMP }, { "CREATE TABLE t (a int)", STMT_PLAIN, TOUCH_DDL },
		 { "CREATE TABLE pg_temp.t (a int)", STMT_PLAIN, TOUCH_DDL | TOUCH_TEMP }, { "CREATE TEMPORARY VIEW v AS SELECT 1", STMT_PLAIN, TOUCH_DDL | TOUCH_TEMP },
		 { "CREATE LOCAL TEMP SEQUENCE s", STMT_PLAIN, TOUCH_DDL | TOUCH_TEMP }, { "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS ''", STMT_PLAIN, TOUCH_DDL | TOUCH_TEMP },
		 { "CREATE TYPE pg_temp.t AS ENUM ()", STMT_PLAIN, TOUCH_DDL | TOUCH_TEMP }, { "CREATE DOMAIN pg_temp.t AS int", STMT_PLAIN, TOUCH_DDL | TOUCH_TEMP },
		 { "CREATE AGGREGATE pg_temp.a(int) (sfunc = f, stype = int)", STMT_PLAIN, TOUCH_DDL | TOUCH_TEMP },
		 { "SELECT 1 INTO TEMP t", STMT_PLAIN, TOUCH_DDL | TOUCH_TEMP }, { "SELECT 1 INTO t", STMT_PLAIN, TOUCH_DDL },
		 { "SELECT 1 INTO pg_temp.t", STMT_PLAIN, TOUCH_DDL | TOUCH_TEMP }, { "CREATE TEMP TABLE t AS SELECT 1", STMT_PLAIN, TOUCH_DDL | TOUCH_TEMP },
		 { "CREATE MATERIALIZED VIEW v AS SELECT 1", STMT_PLAIN, TOUCH_DDL }, { "SELECT * FROM pg_temp.t", STMT_PLAIN, 0 },
		 { "EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", STMT_PLAIN, TOUCH_DDL | TOUCH_TEMP },
		 { "CREATE SCHEMA s CREATE TEMP TABLE t (a int)", STMT_PLAIN, TOUCH_DDL | TOUCH_TEMP });
}

static void what_makes_and_ends_state_is_told(void **state)
{
	ROWS_ARE({ "DECLARE c CURSOR WITH HOLD FOR SELECT 1", STMT_PLAIN, TOUCH_CURSOR, "c" }, { "DECLARE \"C\" NO SCROLL CURSOR FOR SELECT 1", STMT_PLAIN, 0, "C" },
		 { "CLOSE c", STMT_CLOSE, TOUCH_DROP, "c" }, { "CLOSE ALL", STMT_CLOSE_ALL, TOUCH_DROP }, { "LISTEN a", STMT_LISTEN, TOUCH_LISTEN, "a" },
		 { "UNLISTEN a", STMT_UNLISTEN, TOUCH_DROP, "a" }, { "UNLISTEN *", STMT_UNLISTEN_ALL, TOUCH_DROP }, { "DISCARD ALL", STMT_DISCARD_ALL, TOUCH_DROP },
		 { "DISCARD PLANS", STMT_DISCARD_PLANS, TOUCH_DROP }, { "DISCARD SEQUENCES", STMT_DISCARD_SEQUENCES, TOUCH_DROP },
		 { "DISCARD TEMPORARY", STMT_DISCARD_TEMP, TOUCH_DROP }, { "DEALLOCATE ALL", STMT_DEALLOCATE_ALL, 0 }, { "DEALLOCATE PREPARE ALL", STMT_DEALLOCATE_ALL, 0 },
		 { "DROP TABLE t", STMT_PLAIN, TOUCH_DDL | TOUCH_DROP }, { "ALTER TABLE t ADD a int", STMT_PLAIN, TOUCH_DDL | TOUCH_DROP },
		 { "DROP OWNED BY bob", STMT_PLAIN, TOUCH_DDL | TOUCH_DROP }, { "ALTER TYPE t ADD VALUE 'x'", STMT_PLAIN, TOUCH_DDL | TOUCH_DROP },
		 { "CREATE INDEX CONCURRENTLY i ON t (a)", STMT_PLAIN, TOUCH_DDL }, { "CREATE EXTENSION x", STMT_PLAIN, TOUCH_DDL },
		 { "TRUNCATE t", STMT_PLAIN, 0 }, { "COPY t FROM STDIN", STMT_PLAIN, TOUCH_COPY_IN }, { "COPY t FROM stdout", STMT_PLAIN, TOUCH_COPY_IN },
		 { "COPY t TO STDOUT", STMT_PLAIN, 0 }, { "COPY t FROM '/x'", STMT_PLAIN, 0 }, { "NOTIFY a", STMT_PLAIN, 0 });
}

static void databases_and_their_defaults_are_told(void **state)
{
	ROWS_ARE({ "CREATE DATABASE x", STMT_PLAIN, TOUCH_DDL | TOUCH_DATABASE, "x" },
		 { "CREATE DATABASE x OWNER o TEMPLATE = \"Y\"", STMT_PLAIN, TOUCH_DDL | TOUCH_DATABASE, "x", "Y" },
		 { "DROP DATABASE IF EXISTS x WITH (FORCE)", STMT_PLAIN, TOUCH_DDL | TOUCH_DROP | TOUCH_DATABASE, "x" },
		 { "ALTER DATABASE x RENAME TO y", STMT_PLAIN, TOUCH_DDL | TOUCH_DROP | TOUCH_DATABASE, "x" },
		 { "ALTER DATABASE x OWNER TO y", STMT_PLAIN, TOUCH_DDL | TOUCH_DROP | TOUCH_DATABASE, "x" },
		 { "ALTER DATABASE x SET TABLESPACE y", STMT_PLAIN, TOUCH_DDL | TOUCH_DROP | TOUCH_DATABASE, "x" },
		 { "DROP ROLE IF EXISTS x, \"Y\"", STMT_PLAIN, TOUCH_DDL | TOUCH_DROP | TOUCH_ROLE },
		 { "ALTER USER x RENAME TO y", STMT_PLAIN, TOUCH_DDL | TOUCH_DROP | TOUCH_ROLE },
		 { "ALTER DATABASE x SET a = b", STMT_PLAIN, TOUCH_ROLE_DEFAULTS }, { "ALTER ROLE ALL RESET ALL", STMT_PLAIN, TOUCH_ROLE_DEFAULTS },
		 { "ALTER USER x IN DATABASE y SET a = b", STMT_PLAIN, TOUCH_ROLE_DEFAULTS }, { "ALTER SYSTEM SET a = b", STMT_PLAIN, TOUCH_ROLE_DEFAULTS });
}

static void what_the_parser_cannot_read_is_opaque(void **state)
{
	static const char *const texts[] = { "SELEC 1", "SELECT '", "SET a.b = 'x", "CREATE TABLE t (", "EXPLAIN SELECT 1 1 1", "REINDEX SYSTEM CONCURRENTLY IF a" };

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		assert_ptr_equal(effects(texts[i]), effects_opaque());
	assert_int_equal(effects_opaque()->n, 1);
	assert_int_equal(effects_opaque()->flags, TOUCH_OPAQUE);
	assert_ptr_equal(effects_in_full(memory, "SET a = '\x80'", 11, LEX_UNSAFE_BYTES), effects_opaque());
	assert_ptr_equal(effects_in_full(memory, "SET a\0= b", 9, LEX_PLAIN), effects_opaque());
	/* New to the parser, and yet cleared. */
	assert_true(effects_none(effects_of(memory, "SELECT 1 RETURNING WITH", 23, LEX_PLAIN)));
}

static void backslashes_are_read_as_standard_conforming_strings_says(void **state)
{
	static const struct {
		const char *text;
		unsigned mode;
		const char *value;
	} rows[] = {
		{ "SET my.a = 'a\\'b'", LEX_BACKSLASH, "a'b" },   { "SET my.a = 'a\\\\b'", LEX_BACKSLASH, "a\\b" },
		{ "SET my.a = 'a\\\\b'", LEX_PLAIN, "a\\\\b" },   { "SET my.a = 'a\\nb'", LEX_BACKSLASH, "a\nb" },
		{ "SET my.a = 'a\\nb'", LEX_PLAIN, "a\\nb" },	     { "SET my.a = E'a\\nb'", LEX_PLAIN, "a\nb" },
		{ "SET my.a = E'a\\nb'", LEX_BACKSLASH, "a\nb" },  { "SET my.a = $$a\\nb$$", LEX_BACKSLASH, "a\\nb" },
		{ "SET my.a = '\\'; RESET ALL --'", LEX_PLAIN, "\\" }, { "SET my.a = '\\'; RESET ALL --'", LEX_BACKSLASH, "'; RESET ALL --" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct effects *e = effects_of(memory, rows[i].text, strlen(rows[i].text), rows[i].mode);

		if (e == effects_opaque() || e->stmts[0].kind != STMT_SET || !same(e->stmts[0].value, rows[i].value))
			fail_msg("%s in mode %u: %s", rows[i].text, rows[i].mode, e->stmts[0].value ? e->stmts[0].value : "NULL");
		effects_release(e);
	}
	assert_ptr_equal(effects_in_full(memory, "SET a = 'x\\'", 12, LEX_BACKSLASH), effects_opaque());
	assert_ptr_equal(effects_in_full(memory, "SET a = U&'x\\\\'", 15, LEX_BACKSLASH), effects_opaque());
}

struct named {
	const char *name;
	bool local;
};

/* names ends with a row of NULL. */
static void touches(const char *text, uint32_t flags, const struct named *names)
{
	const struct effects *e = effects(text);
	const struct stmt_effects *s = &e->stmts[0];
	size_t i;

	if (s->flags != flags)
		fail_msg("%s: flags %x", text, s->flags);
	for (i = 0; i < s->n_touched && names[i].name; i++)
		if (strcmp(s->touched[i].name, names[i].name) || s->touched[i].local != names[i].local)
			fail_msg("%s: %s%s", text, s->touched[i].name, s->touched[i].local ? " local" : "");
	if (i < s->n_touched || names[i].name)
		fail_msg("%s: %zu touched", text, s->n_touched);
	effects_release(e);
}

#define TOUCHES(text, flags, ...) touches(text, flags, (const struct named[]){ __VA_ARGS__ { NULL, false } })
#define BODY (TOUCH_OPAQUE | TOUCH_SETTINGS)
#define LOST (TOUCH_OPAQUE | TOUCH_SETTINGS_UNKNOWN)

static void settings_in_the_body_of_do_are_found(void **state)
{
	TOUCHES("DO $$BEGIN PERFORM set_config('App.tenant', '7', false); END$$", BODY, { "app.tenant", false },);
	TOUCHES("DO $$BEGIN PERFORM set_config('a.b', x(1, '2'), true); END$$", TOUCH_OPAQUE | TOUCH_LOCAL, { "a.b", true },);
	TOUCHES("DO $$BEGIN PERFORM pg_catalog.\"set_config\"('a.b'::text, '7', x AND true); END$$", BODY, { "a.b", false },);
	TOUCHES("DO $$BEGIN PERFORM set_config($a$a.b$a$, set_config('c.d', '', false), false); END$$", BODY, { "a.b", false }, { "c.d", false },);
	TOUCHES("DO $$BEGIN PERFORM set_config('a.b', '', false); PERFORM set_config('A.B', '', false); END$$", BODY, { "a.b", false },);
	TOUCHES("DO 'BEGIN SET a.b = 1; SET SESSION c.d TO 1; SET LOCAL \"e\".F.g = 1; RESET h.i; SET work_mem = 1; END'",
		BODY | TOUCH_LOCAL, { "a.b", false }, { "c.d", false }, { "e.f.g", true }, { "h.i", false },);
	TOUCHES("DO 'BEGIN SET ROLE x; SET SESSION AUTHORIZATION y; SET LOCAL SESSION AUTHORIZATION z; END'", BODY | TOUCH_LOCAL,
		{ "role", false }, { "session_authorization", false }, { "session_authorization", true },);
	TOUCHES("DO LANGUAGE plpgsql $$BEGIN -- SET a.b = 1\n/* set_config('c.d', '', true) */ UPDATE t SET e = f; END$$", TOUCH_OPAQUE,);
	TOUCHES("DO $$BEGIN UPDATE t SET a.b = 1; END$$", BODY, { "a.b", false },);
	TOUCHES("DO $$BEGIN PERFORM set_config('seed', '0', false); END$$", BODY | TOUCH_SESSION, { "seed", false },);
}

static void settings_in_the_body_of_do_whose_names_are_computed_are_unknown(void **state)
{
	TOUCHES("DO $$BEGIN PERFORM set_config(n, '', false); END$$", LOST,);
	TOUCHES("DO $$BEGIN PERFORM set_config('a.' || n, '', true); END$$", LOST,);
	TOUCHES("DO $$BEGIN PERFORM set_config(E'a\\x2eb', '', true); END$$", LOST,);
	TOUCHES("DO $$BEGIN PERFORM set_config(setting_name => 'a.b', new_value => '', is_local => true); END$$", LOST,);
	TOUCHES("DO $$BEGIN PERFORM \"set_config\"(n, '', true); END$$", LOST,);
	TOUCHES("DO $$BEGIN PERFORM U&\"set\\005fconfig\"('a', '', true); END$$", LOST,);
}

static void strings_in_the_body_of_do_are_looked_into(void **state)
{
	TOUCHES("DO $$BEGIN EXECUTE 'SET a.b = 1; SELECT set_config(''c.d'', ''1'', false)'; END$$", BODY, { "a.b", false }, { "c.d", false },);
	TOUCHES("DO $$BEGIN EXECUTE format('SET a.b = %L', x); END$$", BODY, { "a.b", false },);
	TOUCHES("DO $$BEGIN EXECUTE $q$DO $w$BEGIN SET a.b = 1; END$w$ $q$; END$$", BODY, { "a.b", false },);
	TOUCHES("DO $$BEGIN EXECUTE 'SET ' || n || ' = 1'; END$$", LOST,);
	TOUCHES("DO $$BEGIN EXECUTE format('SELECT 1; SET LOCAL %I = 1', x); END$$", LOST,);
	TOUCHES("DO $$BEGIN EXECUTE 'SET a.' || n || ' = 1'; END$$", LOST,);
	TOUCHES("DO $$BEGIN EXECUTE 'UPDATE ' || n || ' SET ' || m; END$$", LOST,); /* may be a SET of its own */
	TOUCHES("DO $$BEGIN EXECUTE 'UPDATE t SET ' || m; END$$", TOUCH_OPAQUE,);
	TOUCHES("DO LANGUAGE plpython3u $$plpy.execute(\"SET a.b = 1\") # don't\nplpy.execute(\"SET c.d = 1\")$$", BODY, { "a.b", false }, { "c.d", false },);
	TOUCHES("DO LANGUAGE plperlu $$my $x = 'SET a.b = 1'; spi_exec_query($x);$$", BODY, { "a.b", false },);
}

static void names_in_the_body_of_do_beyond_the_limit_make_all_unknown(void **state)
{
	char text[4096], *p = stpcpy(text, "DO '");
	const struct effects *e;

	for (int i = 0; i < 70; i++)
		p += sprintf(p, "SET a.b%d = 1; SET a.b%d = 2;", i, i);
	strcpy(p, "'");
	e = effects(text);
	assert_int_equal(e->flags, BODY | LOST);
	assert_int_equal(e->stmts[0].n_touched, 64);
	effects_release(e);
}

static void an_update_of_pg_settings_is_a_set(void **state)
{
	static const char *const others[] = { "UPDATE pg_settings SET setting = '1'", "UPDATE pg_settings s SET setting = '1' FROM t WHERE name = 'a'",
					      "UPDATE pg_settings SET setting = '1' WHERE name LIKE 'a'", "UPDATE pg_settings SET setting = '1' WHERE name <> 'a'",
					      "UPDATE pg_settings SET setting = '1' WHERE name = 'a' OR true" };

	TOUCHES("UPDATE pg_settings SET setting = '4MB' WHERE name = 'Work_mem'", TOUCH_SETTINGS, { "work_mem", false },);
	TOUCHES("UPDATE ONLY pg_catalog.\"pg_settings\" SET setting = '4MB' WHERE 'work_mem'::text = name", TOUCH_SETTINGS, { "work_mem", false },);
	TOUCHES("WITH x AS (UPDATE pg_settings SET setting = '1' WHERE name = 'a' RETURNING 1) SELECT * FROM x", TOUCH_SETTINGS, { "a", false },);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		TOUCHES(others[i], TOUCH_OPAQUE,);
	TOUCHES("SELECT * FROM pg_settings FOR UPDATE", 0,);
	TOUCHES("UPDATE t SET a = 1 FROM pg_settings WHERE name = 'a'", 0,);
	ROWS_ARE({ "UPDATE pg_settings SET setting = $1 WHERE name = $2", STMT_PLAIN, TOUCH_SETTINGS },
		 { "UPDATE \"pg_settings\" SET setting = 'a'", STMT_PLAIN, TOUCH_OPAQUE });
}

static void reset_batches_are_known(void **state)
{
	static const char *const batches[] = { "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;", "DISCARD ALL", "DEALLOCATE ALL; DISCARD TEMP",
					       "RESET ALL; SET SESSION AUTHORIZATION DEFAULT", "RESET ROLE" };
	static const char *const others[] = { "RESET ALL; SELECT 1", "RESET a", "SELECT 1", "CLOSE c", "" };
	const struct effects *e;

	for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
		e = effects(batches[i]);
		assert_true(effects_reset_batch(e));
		effects_release(e);
	}
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		e = effects(others[i]);
		assert_false(effects_reset_batch(e));
		effects_release(e);
	}
}

static void flags_of_a_text_are_those_of_all_its_statements(void **state)
{
	const struct effects *e = effects("BEGIN; SELECT pg_advisory_lock(1); LISTEN a; SET b = c; COMMIT");

	assert_int_equal(e->n, 5);
	assert_int_equal(e->flags, TOUCH_TX | TOUCH_LOCK | TOUCH_LISTEN);
	effects_release(e);
}

static char *worst(const char *head, const char *part, size_t n, const char *middle, const char *close)
{
	char *s = malloc(strlen(head) + (strlen(part) + strlen(close)) * n + strlen(middle) + 1), *p = stpcpy(s, head);

	for (size_t i = 0; i < n; i++)
		p = stpcpy(p, part);
	p = stpcpy(p, middle);
	for (size_t i = 0; i < n; i++)
		p = stpcpy(p, close);
	return s;
}

/* The longest of its kind that the bounds let through is parsed, and the next one isn't tried. */
static void survives(const char *head, const char *part, const char *middle, const char *close)
{
	size_t low = 1, high = BOUND_BYTES;
	const struct effects *e;
	char *s;

	while (low < high) {
		size_t n = (low + high + 1) / 2;

		s = worst(head, part, n, middle, close);
		if (screen_beyond_bounds(s, strlen(s), LEX_PLAIN))
			high = n - 1;
		else
			low = n;
		free(s);
	}
	s = worst(head, part, low, middle, close);
	e = effects(s);
	if (e->flags)
		fail_msg("%zu times %s: flags %x", low, part, e->flags);
	effects_release(e);
	free(s);
}

static void the_worst_texts_within_the_bounds_are_parsed(void **state)
{
	survives("EXPLAIN SELECT 1", "+1", "", "");
	survives("EXPLAIN SELECT 1", "::a", "", "");
	survives("EXPLAIN SELECT 1", " IS NULL", "", "");
	survives("EXPLAIN SELECT ", "NOT ", "a", "");
	survives("EXPLAIN SELECT ", "- ", "a", "");
	survives("EXPLAIN SELECT a", "[1]", "", "");
	survives("EXPLAIN SELECT a", ".a", "", "");
	survives("EXPLAIN SELECT 1", " AND a OR b", "", "");
	survives("EXPLAIN SELECT 1", ",a", "", "");
	survives("EXPLAIN SELECT * FROM a", " JOIN a ON a", "", "");
	survives("EXPLAIN SELECT 1", " UNION SELECT 1", "", "");
	survives("EXPLAIN ", "SELECT (", "SELECT 1", ")");
	survives("EXPLAIN SELECT ", "(", "1", ")");
	survives("EXPLAIN SELECT ", "f(", "1", ")");
	survives("EXPLAIN SELECT ", "ARRAY[", "1", "]");
	survives("EXPLAIN SELECT ", "a[", "1", "]");
	survives("EXPLAIN SELECT ", "CASE a WHEN ", "1", " THEN b END");
	survives("EXPLAIN SELECT ", "a BETWEEN b AND NOT ", "c", "");
	survives("EXPLAIN SELECT * FROM ", "(SELECT * FROM ", "t", ") a");
	survives("EXPLAIN ", "WITH a AS (", "SELECT 1", ") SELECT 1");
	survives("EXPLAIN SELECT 1", ";EXPLAIN SELECT 1", "", "");
}

static int set_up(void **state)
{
	memory = effects_memory_new(1 << 20);
	return 0;
}

static int tear_down(void **state)
{
	effects_memory_free(memory);
	return 0;
}

static void set_is(const char *name, const char *value, const char *sql)
{
	struct buf out = { 0 };
	bool written = sql_put_set(&out, name, value);

	assert_int_equal(written, sql != NULL);
	assert_int_equal(buf_len(&out), sql ? strlen(sql) : 0);
	if (sql)
		assert_memory_equal(buf_head(&out), sql, strlen(sql));
	buf_release(&out);
}

static void a_set_is_written_that_gives_the_same_text_again(void **state)
{
	set_is("work_mem", "4MB", "SET work_mem = '4MB'");
	set_is("work_mem", NULL, "SET work_mem TO DEFAULT");
	set_is("timezone", "it's \\ here", "SET timezone = E'it''s \\\\ here'");
	set_is("user.\"all\"", "", "SET \"user\".\"\"\"all\"\"\" = ''");
	set_is("datestyle", "SQL, DMY", "SET datestyle = 'SQL, DMY'");
	set_is("my.own_1", "x", "SET my.own_1 = 'x'");
	set_is("search_path", "\"$user\", public", "SET search_path = '$user', 'public'");
	set_is("search_path", "\"a, \"\"b\"\" \\\"", "SET search_path = E'a, \"b\" \\\\'");
	set_is("search_path", "\"\"", "SET search_path = ''");
}

static void a_list_that_set_would_write_otherwise_is_left_to_set_config(void **state)
{
	static const char *const lists[] = { "", "a,b", "a,  b", " a", "a ", "A", "\"a\"", "a, ", "user", "\"user\"", "\"a", "a b", "\"A\"b", ",a" };

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		set_is("search_path", lists[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_in_all_its_forms_has_name_and_value),
		cmocka_unit_test(reset_in_all_its_forms_has_its_name),
		cmocka_unit_test(what_ends_with_its_transaction_is_no_setting_of_the_session),
		cmocka_unit_test(lists_are_quoted_as_postgresql_quotes_them),
		cmocka_unit_test(session_characteristics_are_a_row_each),
		cmocka_unit_test(rows_beyond_what_can_be_marked_make_the_text_opaque),
		cmocka_unit_test(transaction_control_is_told_apart),
		cmocka_unit_test(the_name_of_a_prepared_statement_is_found_in_the_text),
		cmocka_unit_test(prepare_does_nothing_until_it_is_executed),
		cmocka_unit_test(statements_lie_between_blanks_comments_and_semicolons),
		cmocka_unit_test(set_config_tells_what_it_touches),
		cmocka_unit_test(a_set_is_written_that_gives_the_same_text_again),
		cmocka_unit_test(a_list_that_set_would_write_otherwise_is_left_to_set_config),
		cmocka_unit_test(a_statement_that_does_nothing_but_set_is_told_apart),
		cmocka_unit_test(places_where_a_session_says_something_else_are_found),
		cmocka_unit_test(views_of_ones_own_session_are_seen),
		cmocka_unit_test(functions_that_leave_state_are_seen),
		cmocka_unit_test(objects_that_are_temporary_are_seen),
		cmocka_unit_test(what_makes_and_ends_state_is_told),
		cmocka_unit_test(databases_and_their_defaults_are_told),
		cmocka_unit_test(what_the_parser_cannot_read_is_opaque),
		cmocka_unit_test(backslashes_are_read_as_standard_conforming_strings_says),
		cmocka_unit_test(settings_in_the_body_of_do_are_found),
		cmocka_unit_test(settings_in_the_body_of_do_whose_names_are_computed_are_unknown),
		cmocka_unit_test(strings_in_the_body_of_do_are_looked_into),
		cmocka_unit_test(names_in_the_body_of_do_beyond_the_limit_make_all_unknown),
		cmocka_unit_test(an_update_of_pg_settings_is_a_set),
		cmocka_unit_test(reset_batches_are_known),
		cmocka_unit_test(flags_of_a_text_are_those_of_all_its_statements),
		cmocka_unit_test(the_worst_texts_within_the_bounds_are_parsed),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
