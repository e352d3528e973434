/* links: server/console_parse.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "server/console_parse.h"

static struct console_command parsed(const char *text)
{
	/* At the very end of its own memory: a sanitizer sees a byte read too far. */
	size_t len = strlen(text) + 1;
	char *copy = malloc(len);
	struct console_command cmd;

	memcpy(copy, text, len);
	console_parse(copy, &cmd);
	free(copy);
	return cmd;
}

static void is_command(const char *text, const char *word, const char *arg)
{
	struct console_command cmd = parsed(text);

	assert_int_equal(cmd.kind, CONSOLE_COMMAND);
	assert_string_equal(cmd.word, word);
	assert_string_equal(cmd.arg, arg);
}

static void is_set(const char *text, const char *key, const char *value)
{
	struct console_command cmd = parsed(text);

	assert_int_equal(cmd.kind, CONSOLE_SET);
	assert_string_equal(cmd.arg, key);
	assert_string_equal(cmd.value, value);
}

static void is_kind(const char *text, enum console_kind kind)
{
	assert_int_equal(parsed(text).kind, kind);
}

static void a_command_is_a_word_and_perhaps_another(void **state)
{
	is_command("reload", "reload", "");
	is_command("RELOAD;", "RELOAD", "");
	is_command(" \t\r\n Show\n pools ; ", "Show", "pools");
	is_command("pause p_1", "pause", "p_1");
	is_command("kill_client 17;", "kill_client", "17");
}

static void quotes_hold_any_name(void **state)
{
	is_command("PAUSE \"my-db\"", "PAUSE", "my-db");
	is_command("PAUSE \"a \"\"b\"\"; c\";", "PAUSE", "a \"b\"; c");
	is_command("PAUSE \"\"", "PAUSE", "");
	is_command("\"pause\" x", "pause", "x");
}

static void set_takes_a_word_or_a_string(void **state)
{
	is_set("SET verbose = 1", "verbose", "1");
	is_set("set verbose=2;", "verbose", "2");
	is_set("set verbose TO 3 ;", "verbose", "3");
	is_set("SET server_check_query='select ''1'';'", "server_check_query", "select '1';");
	is_set("SET admin_users to \"a,b\"", "admin_users", "a,b");
	is_set("SET query_wait_timeout = 1.5", "query_wait_timeout", "1.5");
	is_set("SET admin_users = ''", "admin_users", "");
	is_set("SET tom to 1", "tom", "1");
}

static void what_is_blank_is_empty(void **state)
{
	is_kind("", CONSOLE_EMPTY);
	is_kind(" \n", CONSOLE_EMPTY);
	is_kind(" ; ", CONSOLE_EMPTY);
}

static void anything_else_is_unknown(void **state)
{
	static const char *const texts[] = {
		"show pools; show clients", "show pools clients", "pause \"unended", "pause my-db", "select 1, 2", "select *",
		";;",			    "set",		   "set x",	      "set = 1",   "set x = ",	   "set x to1",
		"set x 1",		    "set \"\" = 1",	   "set x = 'unended", "set x = 1 2", "(", "show 'pools'",
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (parsed(texts[i]).kind != CONSOLE_UNKNOWN)
			fail_msg("'%s' is taken for something", texts[i]);
}

static void what_does_not_fit_is_told(void **state)
{
	char text[600];

	is_kind("abcdefghijklmno x", CONSOLE_COMMAND);
	is_kind("abcdefghijklmnop x", CONSOLE_TOO_LONG);
	memset(text, 'x', sizeof text);
	memcpy(text, "pause ", 6);
	text[6 + 63] = 0;
	is_kind(text, CONSOLE_COMMAND);
	text[6 + 63] = 'x';
	text[6 + 64] = 0;
	is_kind(text, CONSOLE_TOO_LONG);
	text[6 + 64] = 'x';
	memcpy(text, "set a=", 6);
	text[6 + 255] = 0;
	is_kind(text, CONSOLE_SET);
	text[6 + 255] = 'x';
	text[599] = 0;
	is_kind(text, CONSOLE_TOO_LONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_is_a_word_and_perhaps_another),
		cmocka_unit_test(quotes_hold_any_name),
		cmocka_unit_test(set_takes_a_word_or_a_string),
		cmocka_unit_test(what_is_blank_is_empty),
		cmocka_unit_test(anything_else_is_unknown),
		cmocka_unit_test(what_does_not_fit_is_told),
	};

	return cmocka_run_group_tests_name("console_parse", tests, NULL, NULL);
}
