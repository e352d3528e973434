/* links: state/settings.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "state/settings.h"

static struct settings_store *store;

static int open_store(void **state)
{
	store = settings_store_new();
	return 0;
}

/* Only the empty settings may be left. */
static int close_store(void **state)
{
	int left = (int)settings_store_count(store) - 1;

	settings_store_free(store);
	return left;
}

static void equal_settings_are_one_pointer_whatever_the_order_they_were_made_in(void **state)
{
	const struct settings *a = settings_empty(store), *b = settings_empty(store);

	settings_set(&a, "x", "1");
	settings_set(&a, "y", "2");
	settings_set(&b, "y", "3");
	settings_set(&b, "x", "1");
	assert_ptr_not_equal(a, b);
	settings_set(&b, "y", "2");
	assert_ptr_equal(a, b);
	assert_int_equal(settings_id(a), settings_id(b));
	settings_set(&a, "x", NULL);
	settings_set(&a, "y", NULL);
	settings_set(&a, "never", NULL);
	assert_int_equal(settings_size(a), 0);
	settings_release(a);
	settings_release(b);
}

static void a_value_may_come_from_the_settings_that_it_changes(void **state)
{
	const struct settings *a = settings_empty(store);

	settings_set(&a, "x", "1");
	settings_set(&a, "y", settings_get(a, "x"));
	settings_set(&a, settings_name_at(a, 0), "2");
	assert_string_equal(settings_get(a, "x"), "2");
	assert_string_equal(settings_get(a, "y"), "1");
	settings_set(&a, settings_name_at(a, 0), NULL);
	assert_null(settings_get(a, "x"));
	settings_release(a);
}

static void names_are_found_in_their_order_and_in_any_case_when_asked_for(void **state)
{
	const struct settings *a = settings_empty(store);

	settings_set(&a, "TimeZone", "UTC");
	settings_set(&a, "DateStyle", "ISO");
	settings_set(&a, "application_name", "");
	assert_string_equal(settings_name_at(a, 0), "DateStyle");
	assert_string_equal(settings_value_at(a, 1), "UTC");
	assert_null(settings_get(a, "timezone"));
	assert_string_equal(settings_get_nocase(a, "timezone"), "UTC");
	assert_string_equal(settings_get(a, "application_name"), "");
	assert_null(settings_get_nocase(a, "no"));
	settings_release(a);
}

static void tell(void *arg, const char *name, const char *was, const char *now)
{
	char *out = arg;

	sprintf(out + strlen(out), "%s:%s>%s ", name, was ? was : "-", now ? now : "-");
}

static void a_difference_names_what_came_went_and_changed(void **state)
{
	const struct settings *a = settings_empty(store), *b = settings_empty(store);
	char said[128] = "";

	settings_set(&a, "gone", "1");
	settings_set(&a, "kept", "1");
	settings_set(&a, "other", "1");
	settings_set(&b, "came", "1");
	settings_set(&b, "kept", "1");
	settings_set(&b, "other", "2");
	settings_diff(a, b, tell, said);
	assert_string_equal(said, "came:->1 gone:1>- other:1>2 ");
	*said = 0;
	settings_diff(a, a, tell, said);
	assert_string_equal(said, "");
	settings_release(a);
	settings_release(b);
}

static void what_cannot_change_a_statements_meaning_is_left_out_of_it(void **state)
{
	const struct settings *a = settings_empty(store), *b;

	settings_set(&a, "search_path", "a");
	assert_ptr_equal(settings_meaning(a), a);
	b = settings_with(a, "application_name", "one");
	settings_set(&b, "statement_timeout", "1");
	settings_set(&b, "log_statement", "all");
	assert_ptr_equal(settings_meaning(b), settings_meaning(a));
	settings_set(&b, "datestyle", "dmy");
	assert_ptr_not_equal(settings_meaning(b), settings_meaning(a));
	settings_release(b);
	b = settings_empty(store);
	settings_set(&b, "lock_timeout", "1");
	settings_release(a); /* a meaning outlives what it was first made for */
	a = settings_empty(store);
	assert_ptr_equal(settings_meaning(b), a);
	settings_release(a);
	settings_release(b);
}

static void thousands_are_told_apart_and_leave_nothing_behind(void **state)
{
	enum { N = 3000 };
	static const struct settings *many[N];
	char value[16];

	for (int i = 0; i < N; i++) {
		many[i] = settings_empty(store);
		sprintf(value, "%d", i);
		settings_set(&many[i], "x", value);
	}
	assert_int_equal(settings_store_count(store), N + 1);
	for (int i = 0; i < N; i++) {
		sprintf(value, "%d", i);
		assert_string_equal(settings_get(many[i], "x"), value);
		settings_release(many[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(equal_settings_are_one_pointer_whatever_the_order_they_were_made_in, open_store, close_store),
		cmocka_unit_test_setup_teardown(a_value_may_come_from_the_settings_that_it_changes, open_store, close_store),
		cmocka_unit_test_setup_teardown(names_are_found_in_their_order_and_in_any_case_when_asked_for, open_store, close_store),
		cmocka_unit_test_setup_teardown(a_difference_names_what_came_went_and_changed, open_store, close_store),
		cmocka_unit_test_setup_teardown(what_cannot_change_a_statements_meaning_is_left_out_of_it, open_store, close_store),
		cmocka_unit_test_setup_teardown(thousands_are_told_apart_and_leave_nothing_behind, open_store, close_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
