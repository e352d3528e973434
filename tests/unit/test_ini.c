/* links: parser/ini.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "parser/ini.h"

static char held[512];

static struct ini_line line(const char *text)
{
	struct ini_line l;
	enum ini_kind kind;

	assert_true(strlen(text) < sizeof held);
	strcpy(held, text);
	kind = ini_line(held, &l);
	assert_int_equal(kind, l.kind);
	if (l.kind == INI_BAD)
		assert_non_null(l.error);
	return l;
}

static void blank_lines_and_comments_say_nothing(void **state)
{
	static const char *const texts[] = { "", "   ", "\t\r", "; a = b", "# a = b", "  ;; x", "  # x", "\xef;" };

	for (size_t i = 0; i + 1 < sizeof texts / sizeof *texts; i++)
		assert_int_equal(line(texts[i]).kind, INI_BLANK);
	assert_int_equal(line(texts[7]).kind, INI_BAD);
}

static void a_section_is_named_by_its_brackets(void **state)
{
	struct ini_line l = line("  [ pgbouncer ] \r");

	assert_int_equal(l.kind, INI_SECTION);
	assert_string_equal(l.name, "pgbouncer");
	assert_int_equal(line("[pgbouncer").kind, INI_BAD);
	assert_int_equal(line("[]").kind, INI_BAD);
	assert_int_equal(line("[a] ; b").kind, INI_BAD);
}

static void assert_pair(const char *text, const char *name, const char *value)
{
	struct ini_line l = line(text);

	assert_int_equal(l.kind, INI_PAIR);
	assert_string_equal(l.name, name);
	assert_string_equal(l.value, value);
}

static void a_value_runs_to_the_end_of_the_line_without_its_blanks(void **state)
{
	assert_pair("pool_mode = session", "pool_mode", "session");
	assert_pair("pool_mode=session\r", "pool_mode", "session");
	assert_pair("  logfile\t=  /a b/c ; not a comment \t", "logfile", "/a b/c ; not a comment");
	assert_pair("listen_addr =", "listen_addr", "");
	assert_pair("auth_query = SELECT 'a' = $1", "auth_query", "SELECT 'a' = $1");
	assert_pair("* = host=x", "*", "host=x");
	assert_pair("my-db.1_x = host=x", "my-db.1_x", "host=x");
}

static void quoted_keys_keep_blanks_and_undouble_quotes(void **state)
{
	assert_pair("'my db' = host=x", "my db", "host=x");
	assert_pair("'it''s'=a", "it's", "a");
	assert_pair("'=' = b", "=", "b");
	assert_int_equal(line("'my db = host=x").kind, INI_BAD);
	assert_int_equal(line("'' = x").kind, INI_BAD);
}

static void lines_that_are_neither_are_bad(void **state)
{
	assert_int_equal(line("conffile").kind, INI_BAD);
	assert_int_equal(line("= x").kind, INI_BAD);
	assert_int_equal(line("a b = x").kind, INI_BAD);
	assert_int_equal(line("%includex").kind, INI_BAD);
	assert_int_equal(line("%include").kind, INI_BAD);
	assert_int_equal(line("%include   ").kind, INI_BAD);
	assert_int_equal(line("%define x").kind, INI_BAD);
}

static void include_names_a_file(void **state)
{
	struct ini_line l = line("%include /etc/a b.ini  ");

	assert_int_equal(l.kind, INI_INCLUDE);
	assert_string_equal(l.value, "/etc/a b.ini");
}

static void pairs_are_stepped_through(void **state)
{
	char text[] = "  host=a,b port = 5432 password='it''s = me' connect_query='' x='y'";
	char *at = text, *key, *value;
	static const char *const want[][2] = {
		{ "host", "a,b" }, { "port", "5432" }, { "password", "it's = me" }, { "connect_query", "" }, { "x", "y" },
	};

	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		assert_int_equal(ini_pairs(&at, &key, &value), 1);
		assert_string_equal(key, want[i][0]);
		assert_string_equal(value, want[i][1]);
	}
	assert_int_equal(ini_pairs(&at, &key, &value), 0);
	assert_int_equal(ini_pairs(&at, &key, &value), 0);
}

static void pairs_without_their_parts_are_errors(void **state)
{
	static const char *const texts[] = { "host", "host=", "host= ", "=x", "host ='x", "host='x'y", "'host'=x", "ho'st=x", "host x" };

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		char text[32], *at = text, *key, *value;

		strcpy(text, texts[i]);
		assert_int_equal(ini_pairs(&at, &key, &value), -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blank_lines_and_comments_say_nothing),
		cmocka_unit_test(a_section_is_named_by_its_brackets),
		cmocka_unit_test(a_value_runs_to_the_end_of_the_line_without_its_blanks),
		cmocka_unit_test(quoted_keys_keep_blanks_and_undouble_quotes),
		cmocka_unit_test(lines_that_are_neither_are_bad),
		cmocka_unit_test(include_names_a_file),
		cmocka_unit_test(pairs_are_stepped_through),
		cmocka_unit_test(pairs_without_their_parts_are_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
