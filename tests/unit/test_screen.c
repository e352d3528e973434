/* links: parser/lex.c parser/screen.c parser/grams.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

#include "parser/effects.h"
#include "parser/lex.h"
#include "parser/screen.h"
#include "tests/lexable.h"

/* Text that ends where no byte can be read any more. */
static const char *at_the_edge(const char *text, size_t len)
{
	static char *area;
	const size_t size = 1 << 21;

	if (!area) {
		area = mmap(NULL, size + (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(area, MAP_FAILED);
		assert_int_equal(mprotect(area + size, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE), 0);
	}
	assert_true(len <= size);
	memcpy(area + size - len, text, len);
	return area + size - len;
}

static enum screen_result at_sight(const char *text, size_t len, unsigned mode)
{
	struct grams g;

	screen_grams(&g);
	return screen_text(&g, at_the_edge(text, len), len, mode);
}

/* Words are looked for at many places at a time: whichever they are. A text that can't be read may be clear at sight. */
static enum screen_result screen(const char *text, unsigned mode)
{
	enum screen_result result = screen_exactly(at_the_edge(text, strlen(text)), strlen(text), mode);
	bool select = !strncmp(text, "SELECT ", 7), whole = lexable(text, strlen(text), mode);
	char shifted[4096];

	for (size_t blanks = 0; blanks < 70; blanks++) {
		size_t len = strlen(text) + blanks;

		assert_true(len < sizeof shifted);
		memset(shifted, ' ', blanks);
		strcpy(shifted + blanks, text);
		if (whole && at_sight(shifted, len, mode) != result)
			fail_msg("%zu blanks before: %s", blanks, text);
		memset(shifted + blanks, ' ', select ? 6 : 0);
		memmove(shifted, "SELECT", select ? 6 : 0);
		if (whole && at_sight(shifted, len, mode) != result)
			fail_msg("%zu blanks behind the SELECT: %s", blanks, text);
		memset(shifted, ' ', blanks);
		memmove(shifted, "SELECT", blanks < 7 ? 0 : 6);
		memmove(shifted + blanks - 1, ";", blanks < 7 ? 0 : 1);
		strcpy(shifted + blanks, text);
		if (whole && at_sight(shifted, len, mode) != result)
			fail_msg("behind a SELECT of %zu bytes: %s", blanks, text);
	}
	return result;
}

static void cleared(const char *const *texts, unsigned mode)
{
	for (; *texts; texts++)
		if (screen(*texts, mode) != SCREEN_CLEAR)
			fail_msg("not cleared: %s", *texts);
}

static void kept(const char *const *texts, unsigned mode)
{
	for (; *texts; texts++)
		if (screen(*texts, mode) != SCREEN_PARSE)
			fail_msg("cleared: %s", *texts);
}

#define CLEARED(mode, ...) cleared((const char *const[]){ __VA_ARGS__, NULL }, mode)
#define KEPT(mode, ...) kept((const char *const[]){ __VA_ARGS__, NULL }, mode)

static void statements_that_touch_nothing_are_cleared(void **state)
{
	CLEARED(LEX_PLAIN, "", ";", " ; ; -- x", "select 1", "SELECT 1;", "((select 1))", "SELECT 1; UPDATE t SET a = 1",
		"INSERT INTO t VALUES (1, 'x') RETURNING id", "DELETE FROM t USING u", "VALUES (1)", "TABLE t",
		"WITH a AS (SELECT 1) SELECT * FROM a", "BEGIN", "BEGIN; SELECT 1; COMMIT", "START TRANSACTION READ ONLY", "END",
		"SAVEPOINT \"s1\"", "RELEASE SAVEPOINT s1", "ROLLBACK TO SAVEPOINT s1", "ABORT", "FETCH 10 FROM c", "MOVE 1 FROM c",
		"COPY t FROM '/tmp/x'", "COPY t TO PROGRAM 'cat'", "SHOW search_path", "VACUUM t", "ANALYZE t", "NOTIFY a, 'b'",
		"LOCK t", "REINDEX TABLE t", "CLUSTER t", "CHECKPOINT", "TRUNCATE t", "COMMENT ON TABLE t IS 'temp'",
		"GRANT SELECT ON t TO u", "REVOKE ALL ON t FROM u", "SELECT * FROM t FOR UPDATE SKIP LOCKED",
		"SELECT 1e5, .5, 1.5e-3, 0x1f, 1_000, 1..2, $1, $12", "SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(2)",
		"SELECT configuration, set_configuration, temperature, templates, \"temp\" FROM pg_tables",
		"MERGE INTO t USING u ON a = b WHEN MATCHED THEN DELETE RETURNING merge_action()");
}

static void words_in_literals_and_comments_do_not_matter(void **state)
{
	CLEARED(LEX_PLAIN, "SELECT 'set_config(', E'it\\'s set_config(' -- set_config(\n, $$set_config($$, $a$ $$ set_config( $b$ $a$",
		"SELECT /* set_config( /* temp */ temp */ 1", "SELECT B'01', X'ff', N'temp', U&'temp \\0041'", "SELECT 'a''temp'' b', 'c'",
		"SELECT a$b$temp FROM a$temp$x", "SELECT E'a'\n-- c\n'\\' temp'", "SELECT E'a' 'temp'", "SELECT 'x' -- it's temp\r, 'y'");
}

static void words_that_matter_are_found_wherever_they_are(void **state)
{
	KEPT(LEX_PLAIN, "SELECT set_config('a', 'b', false)", "SELECT SET_Config('a', 'b', false)", "SELECT \"set_config\"('a', 'b', false)",
	     "SELECT pg_catalog.set_config('a','b',false)", "SELECT 'x'set_config(1)", "SELECT -set_config('a','b',false)",
	     "SELECT 1/*'*/,set_config('a','b',true)/*'*/", "SELECT 1--'\n,set_config()--'", "SELECT 1--'\r,set_config()--'",
	     "SELECT U&\"set\\005fconfig\"('a','b',false)", "SELECT $$a$$,set_config($$b$$)", "SELECT $a$ $b$ $a$,set_config()",
	     "SELECT a$$,set_config($$)", "WITH x AS (SELECT set_config('a','b',false)) SELECT 1", "SELECT 1; SELECT set_config()",
	     "SELECT pg_advisory_lock(1)", "SELECT pg_try_advisory_lock_shared(1)", "SELECT pg_advisory_unlock_all()", "SELECT setseed(0.5)",
	     "SELECT dblink_connect('a')", "SELECT dblink_connect_u('a')", "SELECT currval('s')", "SELECT lastval()",
	     "SELECT * FROM pg_prepared_statements", "SELECT * FROM pg_cursors", "SELECT pg_listening_channels()",
	     "SELECT pg_create_logical_replication_slot('a','b',true)", "SELECT pg_backup_start('x')", "SELECT * FROM pg_temp.t",
	     "SELECT * FROM \"pg_temp_3\".t", "SELECT query_to_xml('select set_config(''a'',''b'',false)',true,true,'')",
	     "SELECT * FROM crosstab3('select 1')", "SELECT set_limit(0.3)", "SELECT 1 INTO TEMP t", "SELECT 1 INTO TEMPORARY t");
}

static void strings_that_go_on_behind_a_newline_keep_their_backslashes(void **state)
{
	/* PostgreSQL reads one literal here, and set_config() behind it. */
	KEPT(LEX_PLAIN, "SELECT E'a'\n'\\'', set_config('a','b',false) --'", "SELECT E'a' -- c\n 'b\\'', set_config('a','b',false) --'",
	     "SELECT E'a'\r'\\'', set_config('a','b',false) --'");
	/* No newline between: two literals, and an error. */
	CLEARED(LEX_PLAIN, "SELECT E'a' '\\', ', set_config('");
}

static void first_words_that_are_not_known_go_to_the_parser(void **state)
{
	KEPT(LEX_PLAIN, "SET a = b", "RESET ALL", "DISCARD ALL", "PREPARE a AS SELECT 1", "EXECUTE a", "DEALLOCATE a", "DECLARE c CURSOR FOR SELECT 1",
	     "CLOSE c", "LISTEN a", "UNLISTEN *", "DO 'x'", "CALL p()", "LOAD 'x'", "CREATE TABLE t()", "ALTER TABLE t ADD a int", "DROP TABLE t",
	     "EXPLAIN SELECT 1", "\"select\" 1", "1", "'select'", "SELECT 1; SET a = b", "(SET a = b)", "SECURITY LABEL ON a IS 'b'",
	     "REFRESH MATERIALIZED VIEW v", "selec", "selects 1", "seLecT1", "\xc3\xa9");
}

static void copy_from_the_client_goes_to_the_parser(void **state)
{
	KEPT(LEX_PLAIN, "COPY t FROM STDIN", "copy t (a, b) from stdin with (format csv)", "COPY t FROM STDOUT", "SELECT 1; COPY BINARY t FROM stdin");
	CLEARED(LEX_PLAIN, "SELECT stdin FROM t", "COPY t FROM 'stdin'");
}

static void into_that_makes_a_table_goes_to_the_parser(void **state)
{
	CLEARED(LEX_PLAIN, "WITH x AS (INSERT INTO t SELECT 1 RETURNING *) SELECT 1", "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
		"WITH x AS (SELECT 1), y AS (SELECT 2) MERGE INTO t USING x ON true WHEN MATCHED THEN DELETE", "INSERT/* */INTO t SELECT 1");
	KEPT(LEX_PLAIN, "SELECT * INTO t FROM u", "SELECT 1 insert INTO t", "SELECT (1) insert INTO t", "WITH x AS (SELECT 1) SELECT (1) insert INTO t",
	     "WITH x AS (SELECT 1) SELECT (a) merge INTO t FROM x", "SELECT insert INTO t FROM u", "((SELECT (1) insert INTO t))");
}

static void an_update_of_pg_settings_goes_to_the_parser(void **state)
{
	KEPT(LEX_PLAIN, "UPDATE pg_settings SET setting = 'a'", "update only pg_catalog.PG_Settings SET a = b", "UPDATE \"pg_settings\" SET a = b",
	     "SELECT 1; WITH x AS (UPDATE pg_settings SET a = b RETURNING 1) SELECT 1", "WITH x AS (UPDATE \"pg_settings\" SET a = b RETURNING 1) SELECT 1");
	CLEARED(LEX_PLAIN, "SELECT setting FROM pg_settings WHERE name = 'update'", "UPDATE t SET a = 1; SELECT * FROM pg_settings",
		"SELECT * FROM pg_settings FOR UPDATE", "UPDATE pg_setting SET a = b");
}

static void texts_that_are_not_whole_go_to_the_parser(void **state)
{
	KEPT(LEX_PLAIN, "SELECT '", "SELECT 'a''", "SELECT E'\\'", "SELECT E'\\", "SELECT \"", "SELECT $$", "SELECT $a$ $", "SELECT /*", "SELECT /* /* */",
	     "SELECT $", "SELECT $a", "SELECT $1a", "SELECT 1a", "SELECT 0xfg", "SELECT 1E'x'", "SELECT 0x1'x'", "SELECT 0x1$$", "SELECT 1e+", "SELECT\v1",
	     "SELECT U&'");
	assert_int_equal(at_sight("SELECT\0001", 8, LEX_PLAIN), SCREEN_PARSE);
	assert_int_equal(at_sight("SELECT '\0'", 10, LEX_PLAIN), SCREEN_PARSE);
	assert_int_equal(at_sight("--\0\nSELECT 1", 12, LEX_PLAIN), SCREEN_PARSE);
}

/* PostgreSQL before 15 reads a number and a word behind it. */
static void a_word_that_matters_is_seen_in_texts_that_no_token_can_be_made_of(void **state)
{
	static const char *const texts[] = {
		"SELECT 1into t", "SELECT $1into t", "SELECT 1.5set_config('a', 'b', false)", "SELECT 0x1set_config('a', 'b', false)",
		"SELECT 1eset_config, set_config('a', 'b', false)", "SELECT $a$b$a$set_config('a', 'b', false), $", "SELECT '\", set_config(1)",
		"SELECT 1\vset_config('a', 'b', false)", "SELECT \", set_config(1)", "SELECT /* set_config(1)", "SELECT '; SET a = b",
		"SELECT U&\"\\0073et_config\"(1), '", "SELECT 1, \"pg_x advisory\"(1), '", "INSERT INTO t SELECT 1into u", "SELECT '';;SET a = b; '",
	};

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		for (unsigned mode = 0; mode < 4; mode++)
			if (at_sight(texts[i], strlen(texts[i]), mode) != SCREEN_PARSE)
				fail_msg("cleared: %s", texts[i]);
}

static void long_names_are_looked_through_once(void **state)
{
	char *s = malloc(1000001), *p = s + 7;

	memcpy(s, "SELECT ", 7);
	while (p < s + 999990)
		p = stpcpy(p, "pg_1");
	assert_int_equal(at_sight(s, (size_t)(p - s), LEX_PLAIN), SCREEN_CLEAR);
	free(s);
}

static void what_is_clear_at_sight_is_clear_token_by_token(void **state)
{
	CLEARED(LEX_PLAIN, "SELECT 'a', N'b', a.e, e, \"e\", e 'x', te'\\', 'x&' , u & 'a', u&1, a$, a$b, a-b, a->>'c', a/b, 1.5, .5, $1, $12, 1e-5, a[1]",
		"INSERT INTO t VALUES ($1, 12, 0.5);", "insert\n into t select 1;  ; update t set a = 1 ;");
	KEPT(LEX_PLAIN, "SELECT e'\\', ', set_config(1)", "SELECT a, E'\\', ', set_config(1) --'", "SELECT $$'$$set_config($$'$$)",
	     "SELECT $a$x$a$set_config(1)", "SELECT a$b, set_config(1)", "SELECT 1.e5set_config(1)", "SELECT .5e3set_config(1)", "SELECT 1.5set_config(1)",
	     "SELECT \"a\"\"\", set_config(1), \"\"\"\"", "SELECT 'a''b', set_config(1), 'c'", "SELECT $1$$'$$, set_config(1), $$'$$",
	     "INSERT INTO t SELECT 1 INTO u", "SELECT 1\v", "SELECT $a", "SELECT 1 $",
	     "SELECT aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, set_config(1)");
}

static void backslashes_count_where_standard_conforming_strings_is_off(void **state)
{
	KEPT(LEX_BACKSLASH, "SELECT 'a\\', ', set_config(1) -- '", "SELECT 'a\\'', set_config('b', 'c', false), '");
	CLEARED(LEX_PLAIN, "SELECT 'a\\', ', set_config(1) -- '");
	CLEARED(LEX_BACKSLASH, "SELECT 'a\\', set_config(', 'b'", "SELECT B'\\', X'\\'", "SELECT $$\\$$");
	KEPT(LEX_BACKSLASH, "SELECT B'\\', set_config(1)", "SELECT N'\\'', set_config(1), '", "SELECT U&'a'");
}

static void high_bytes_are_letters_unless_they_may_hide_others(void **state)
{
	CLEARED(LEX_PLAIN, "SELECT '\x95\\' AS \xc3\xa9, \"\xff\"", "SELECT a\xc3set_config(1)");
	KEPT(LEX_UNSAFE_BYTES, "SELECT '\x95\\'", "SELECT \xc3\xa9", "SELECT 1 -- \x80");
	CLEARED(LEX_UNSAFE_BYTES, "SELECT 'a'");
}

static void names_of_functions_tell_what_they_touch(void **state)
{
	static const struct {
		const char *name;
		uint32_t flags;
	} rows[] = {
		{ "set_config", TOUCH_SETTINGS },	{ "SET_CONFIG", TOUCH_SETTINGS },      { "pg_advisory_lock", TOUCH_LOCK },
		{ "pg_advisory_unlock_all", TOUCH_LOCK }, { "pg_advisory_xact_lock", 0 },      { "pg_try_advisory_xact_lock_shared", 0 },
		{ "pg_try_advisory_lock", TOUCH_LOCK },	{ "currval", TOUCH_SEQUENCE },	       { "lastval", TOUCH_SEQUENCE },
		{ "nextval", 0 },			{ "setseed", TOUCH_SESSION },	       { "dblink_connect", TOUCH_SESSION },
		{ "pg_export_snapshot", 0 },		{ "pg_start_backup", TOUCH_SESSION },  { "pg_replication_origin_session_setup", TOUCH_SESSION },
		{ "query_to_xmlschema", TOUCH_OPAQUE }, { "crosstab", TOUCH_OPAQUE },	       { "", 0 },
		{ "lower", 0 },				{ "pg_copy_logical_replication_slot", TOUCH_SESSION },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(screen_function(rows[i].name, strlen(rows[i].name)), rows[i].flags);
}

static char *repeated(const char *head, const char *part, size_t times, const char *tail)
{
	char *s = malloc(strlen(head) + strlen(part) * times + strlen(tail) + 1), *p = stpcpy(s, head);

	while (times--)
		p = stpcpy(p, part);
	strcpy(p, tail);
	return s;
}

static void beyond(const char *head, const char *part, size_t times, const char *tail, bool expected)
{
	char *s = repeated(head, part, times, tail);
	const char *reason = screen_beyond_bounds(s, strlen(s), LEX_PLAIN);

	if (!reason == expected)
		fail_msg("%zu times %s: %s", times, part, reason ? reason : "within");
	free(s);
}

static void long_chains_are_beyond_the_bounds(void **state)
{
	static const char *const parts[] = { "+1",     " - 1",	  "::a",	 " NOT",      " IS NULL", " JOIN a ON b", " UNION SELECT 1",
					     "(",      "[",	  "CASE WHEN ", " COLLATE x", " || 'a'",  "a BETWEEN b AND " };

	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		beyond("SELECT a ", parts[i], 150, "", false);
		beyond("SELECT a ", parts[i], 1500, "", true);
	}
	beyond("SELECT 1", ", a + 1", 2000, "", false);
	beyond("SELECT 1 WHERE", " a = 1 OR", 2000, " b", false);
	beyond("SELECT 1", "; SELECT a UNION SELECT b JOIN c", 1000, "", false);
	beyond("SELECT ", "1,", BOUND_TOKENS / 2, "1", true);
	beyond("SELECT '", "x", BOUND_BYTES, "'", true);
	beyond("SELECT '", "x", BOUND_BYTES - 100, "'", false);
	beyond("SELECT 1", "/*", 200, "", true);
	beyond("SELECT 1", "/**/", 64, "", false);
	beyond("SELECT 1", "/**/", 65, "", true);
	beyond("SELECT 1 ", "*", 257, "", true);
}

static void texts_that_mean_something_else_to_the_parser_are_beyond_the_bounds(void **state)
{
	assert_null(screen_beyond_bounds("SET a = 'x\\y'", 13, LEX_BACKSLASH));
	assert_non_null(screen_beyond_bounds("SET a = 'x\\'", 12, LEX_BACKSLASH));
	assert_null(screen_beyond_bounds("SET a = 'x\\y'", 13, LEX_PLAIN));
	assert_null(screen_beyond_bounds("SET a = E'x\\y'", 14, LEX_BACKSLASH));
	assert_non_null(screen_beyond_bounds("SET a = '\x95\\'", 12, LEX_UNSAFE_BYTES));
	assert_non_null(screen_beyond_bounds("SET a\0= b", 9, LEX_PLAIN));
	assert_null(screen_beyond_bounds("", 0, LEX_PLAIN));
}

static void every_prefix_of_a_text_is_judged_without_reading_on(void **state)
{
	const char *text = "SELECT 'a', E'b\\'', \"c\"\"d\", U&\"e\", $f$ g $f$, /* h /* i */ */ 1.5e-3, $1::x[0] -- j\n FROM k;INSERT INTO l";

	for (unsigned mode = 0; mode < 4; mode++) {
		for (size_t n = 0; n <= strlen(text); n++) {
			at_sight(text, n, mode);
			screen_beyond_bounds(at_the_edge(text, n), n, mode);
		}
	}
}

static void many_comments_and_long_texts_are_one_pass(void **state)
{
	char *s = repeated("SELECT 1", "/**/--\n", 140000, "");

	assert_int_equal(at_sight(s, strlen(s), LEX_PLAIN), SCREEN_CLEAR);
	free(s);
	s = repeated("", "/*", 500000, "");
	assert_int_equal(at_sight(s, strlen(s), LEX_PLAIN), SCREEN_PARSE);
	free(s);
	s = repeated("SELECT $a$", "$b", 300000, "");
	assert_int_equal(screen_exactly(s, strlen(s), LEX_PLAIN), SCREEN_PARSE);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statements_that_touch_nothing_are_cleared),
		cmocka_unit_test(words_in_literals_and_comments_do_not_matter),
		cmocka_unit_test(words_that_matter_are_found_wherever_they_are),
		cmocka_unit_test(strings_that_go_on_behind_a_newline_keep_their_backslashes),
		cmocka_unit_test(first_words_that_are_not_known_go_to_the_parser),
		cmocka_unit_test(copy_from_the_client_goes_to_the_parser),
		cmocka_unit_test(into_that_makes_a_table_goes_to_the_parser),
		cmocka_unit_test(an_update_of_pg_settings_goes_to_the_parser),
		cmocka_unit_test(texts_that_are_not_whole_go_to_the_parser),
		cmocka_unit_test(a_word_that_matters_is_seen_in_texts_that_no_token_can_be_made_of),
		cmocka_unit_test(long_names_are_looked_through_once),
		cmocka_unit_test(what_is_clear_at_sight_is_clear_token_by_token),
		cmocka_unit_test(backslashes_count_where_standard_conforming_strings_is_off),
		cmocka_unit_test(high_bytes_are_letters_unless_they_may_hide_others),
		cmocka_unit_test(names_of_functions_tell_what_they_touch),
		cmocka_unit_test(long_chains_are_beyond_the_bounds),
		cmocka_unit_test(texts_that_mean_something_else_to_the_parser_are_beyond_the_bounds),
		cmocka_unit_test(every_prefix_of_a_text_is_judged_without_reading_on),
		cmocka_unit_test(many_comments_and_long_texts_are_one_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
