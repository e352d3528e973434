/* links: server/log.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <regex.h>
#include <unistd.h>

#include "server/log.h"

static char dir[] = "/tmp/pgporter_log_XXXXXX";
static char path[128], moved[128];

static int make_dir(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof path, "%s/log", dir);
	snprintf(moved, sizeof moved, "%s/log.1", dir);
	return 0;
}

static int remove_dir(void **state)
{
	unlink(path);
	unlink(moved);
	return rmdir(dir);
}

static int configure(const char *file, int verbose)
{
	struct log_options o = { .logfile = file, .quiet = true, .verbose = verbose };

	return log_configure(&o);
}

/* Starts a fresh file. */
static void fresh(int verbose)
{
	unlink(path);
	unlink(moved);
	assert_int_equal(configure(path, verbose), 0);
}

static const char *written(const char *file)
{
	static char text[32768];
	FILE *f = fopen(file, "r");

	assert_non_null(f);
	text[fread(text, 1, sizeof text - 1, f)] = 0;
	fclose(f);
	return text;
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t re;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&re, text, 0, NULL, 0))
		fail_msg("\"%s\" does not match %s", text, pattern);
	regfree(&re);
}

static void lines_have_the_format_that_tools_parse(void **state)
{
	char pattern[256];

	fresh(0);
	log_line(LOG_LEVEL_LOG, "process up: %s %d", "pgporter", 1);
	snprintf(pattern, sizeof pattern,
		 "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3} [^ ]+ \\[%ld\\] LOG process up: pgporter 1\n$", (long)getpid());
	assert_matches(written(path), pattern);
}

static void prefixed(enum log_level level, const char *prefix, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vline(level, prefix, fmt, ap);
	va_end(ap);
}

static void a_prefix_stands_before_the_text(void **state)
{
	fresh(0);
	prefixed(LOG_LEVEL_WARNING, "C-0x1: a/b@c:1 ", "closing because: %s (age=%ds)", "x", 2);
	assert_matches(written(path), "\\] WARNING C-0x1: a/b@c:1 closing because: x \\(age=2s\\)\n$");
}

static void verbose_lets_more_levels_through(void **state)
{
	for (int verbose = 0; verbose <= 3; verbose++) {
		fresh(verbose);
		assert_true(log_wants(LOG_LEVEL_FATAL));
		assert_true(log_wants(LOG_LEVEL_LOG));
		assert_int_equal(log_wants(LOG_LEVEL_DEBUG), verbose >= 1);
		assert_int_equal(log_wants(LOG_LEVEL_NOISE), verbose >= 2);
		log_line(LOG_LEVEL_DEBUG, "detail");
		assert_int_equal(strstr(written(path), "DEBUG detail") != NULL, verbose >= 1);
	}
}

static void a_file_moved_away_is_made_anew_by_configuring_again(void **state)
{
	fresh(0);
	log_line(LOG_LEVEL_LOG, "one");
	assert_int_equal(rename(path, moved), 0);
	log_line(LOG_LEVEL_LOG, "two");
	assert_int_equal(configure(path, 0), 0);
	log_line(LOG_LEVEL_LOG, "three");
	assert_matches(written(moved), "LOG one\n.* LOG two\n$");
	assert_matches(written(path), "LOG three\n$");
	assert_null(strstr(written(path), "two"));
}

static void a_file_that_cannot_be_opened_leaves_the_old_one(void **state)
{
	fresh(0);
	assert_int_equal(configure("/nowhere/at/all", 0), -1);
	assert_int_equal(errno, ENOENT);
	log_line(LOG_LEVEL_LOG, "still here");
	assert_matches(written(path), "LOG still here\n$");
}

static void control_bytes_cannot_forge_a_line(void **state)
{
	fresh(0);
	log_line(LOG_LEVEL_LOG, "db=%s", "a\n2024-01-01 FATAL\x1b[31m\x7f");
	assert_matches(written(path), "LOG db=a 2024-01-01 FATAL \\[31m \n$");
}

static void long_lines_are_cut_and_say_so(void **state)
{
	char *text = malloc(20000);

	memset(text, 'x', 19999);
	text[19999] = 0;
	fresh(0);
	log_line(LOG_LEVEL_LOG, "%s", text);
	assert_matches(written(path), "xxx\\.\\.\\.\n$");
	assert_int_equal(strlen(written(path)), 8191);
	prefixed(LOG_LEVEL_LOG, text, "%s", "tail");
	assert_matches(written(path), "x\\.\\.\\.\n$");
	free(text);
}

static void errno_survives_a_line(void **state)
{
	fresh(0);
	errno = EDOM;
	log_line(LOG_LEVEL_LOG, "x");
	assert_int_equal(errno, EDOM);
}

static void without_a_file_nothing_is_written(void **state)
{
	fresh(0);
	assert_int_equal(configure("", 0), 0);
	log_line(LOG_LEVEL_LOG, "nowhere");
	assert_string_equal(written(path), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_have_the_format_that_tools_parse),
		cmocka_unit_test(a_prefix_stands_before_the_text),
		cmocka_unit_test(verbose_lets_more_levels_through),
		cmocka_unit_test(a_file_moved_away_is_made_anew_by_configuring_again),
		cmocka_unit_test(a_file_that_cannot_be_opened_leaves_the_old_one),
		cmocka_unit_test(control_bytes_cannot_forge_a_line),
		cmocka_unit_test(long_lines_are_cut_and_say_so),
		cmocka_unit_test(errno_survives_a_line),
		cmocka_unit_test(without_a_file_nothing_is_written),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
