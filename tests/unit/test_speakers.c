/* links: state/speakers.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "state/speakers.h"

enum { A = 11, B = 22, C = 33, MS = 1000 };

static void nobody_has_spoken(void **state)
{
	struct speakers s = { 0 };

	assert_int_equal(speakers_heard(&s, 0), 0);
	speakers_said(&s, 0);
	speakers_leave(&s, false, 0);
	speakers_marked(&s, A);
	assert_int_equal(speakers_heard(&s, MS), 0);
}

static void who_has_the_backend_is_heard(void **state)
{
	struct speakers s = { 0 };

	assert_false(speakers_enter(&s, A, A, true, true, 0));
	assert_int_equal(speakers_heard(&s, MS), A);
	speakers_leave(&s, false, MS);
	assert_int_equal(speakers_heard(&s, 500 * MS), A);
	speakers_enter(&s, B, B, false, false, 600 * MS);
	assert_int_equal(speakers_heard(&s, 601 * MS), B);
}

static void who_said_notify_is_heard_after_others_have_come(void **state)
{
	struct speakers s = { 0 };

	speakers_enter(&s, A, A, false, false, 0);
	speakers_said(&s, 0);
	speakers_leave(&s, false, MS);
	speakers_enter(&s, B, B, false, false, MS);
	speakers_leave(&s, true, 2 * MS);
	speakers_enter(&s, C, C, false, false, 2 * MS);
	speakers_said(&s, 2 * MS);
	assert_int_equal(speakers_heard(&s, 3 * MS), A);
	assert_int_equal(speakers_heard(&s, 3 * MS), A); /* of one transaction */
	assert_int_equal(speakers_heard(&s, 4 * MS), C);
}

static void what_was_never_heard_is_waited_for_only_so_long(void **state)
{
	struct speakers s = { 0 };

	speakers_enter(&s, A, A, false, false, 0);
	speakers_said(&s, 0);
	speakers_leave(&s, false, 0);
	speakers_enter(&s, B, B, false, false, SPEAKER_UNDER_WAY_US);
	assert_int_equal(speakers_heard(&s, SPEAKER_UNDER_WAY_US), B);
}

static void a_marker_tells_where_ones_own_begin(void **state)
{
	struct speakers s = { 0 };

	speakers_enter(&s, A, A, false, false, 0);
	speakers_leave(&s, false, MS);
	assert_true(speakers_enter(&s, B, B, true, true, 2 * MS));
	assert_int_equal(speakers_heard(&s, 3 * MS), A); /* a function of its own, perhaps */
	speakers_marked(&s, B);
	assert_int_equal(speakers_heard(&s, 3 * MS), B);
}

static void who_does_not_listen_needs_one_where_something_was_said(void **state)
{
	struct speakers s = { 0 };

	speakers_enter(&s, A, A, false, true, 0);
	speakers_leave(&s, false, 0);
	assert_false(speakers_enter(&s, B, B, false, true, 0));
	speakers_said(&s, 0);
	speakers_leave(&s, false, 0);
	assert_true(speakers_enter(&s, C, C, false, true, 0));
	assert_int_equal(speakers_heard(&s, MS), B);
	speakers_leave(&s, false, MS);
	assert_false(speakers_enter(&s, A, A, false, true, 2 * MS));
}

static void the_marker_of_who_had_it_before_is_not_the_latests(void **state)
{
	struct speakers s = { 0 };

	speakers_enter(&s, A, A, false, true, 0);
	speakers_said(&s, 0);
	speakers_leave(&s, false, 0);
	assert_true(speakers_enter(&s, B, B, false, true, MS));
	speakers_said(&s, MS);
	speakers_leave(&s, false, MS);
	assert_true(speakers_enter(&s, C, C, true, true, MS));
	speakers_marked(&s, B);
	assert_int_equal(speakers_heard(&s, 2 * MS), B);
	speakers_marked(&s, C);
	assert_int_equal(speakers_heard(&s, 3 * MS), C);
}

static void no_marker_is_wanted_where_nothing_can_be_under_way(void **state)
{
	struct speakers s = { 0 };

	speakers_enter(&s, A, A, true, true, 0);
	speakers_leave(&s, true, 0);
	assert_false(speakers_enter(&s, B, B, true, true, 0));
	speakers_leave(&s, false, 0);
	assert_false(speakers_enter(&s, B, B, true, true, MS));
	speakers_leave(&s, false, 2 * MS);
	assert_false(speakers_enter(&s, C, C, true, true, 2 * MS + SPEAKER_UNDER_WAY_US));
}

static void one_of_many_before_is_still_known(void **state)
{
	struct speakers s = { 0 };

	speakers_enter(&s, A, A, false, false, 0);
	speakers_said(&s, 0);
	speakers_leave(&s, false, 0);
	for (uint32_t pid = 100; pid < 102; pid++) {
		speakers_enter(&s, pid, pid, false, false, 0);
		speakers_leave(&s, false, 0);
		speakers_enter(&s, pid, pid, false, false, 0);
		speakers_leave(&s, false, 0);
	}
	assert_int_equal(speakers_heard(&s, MS), A);
	for (uint32_t pid = 200; pid < 220; pid++)
		speakers_enter(&s, pid, pid, false, false, 0);
	assert_int_equal(speakers_heard(&s, 2 * MS), 219);
}

static void nothing_is_of_who_has_a_marker_to_come(void **state)
{
	struct speakers s = { 0 };

	speakers_enter(&s, A, A, false, true, 0);
	speakers_said(&s, 0);
	speakers_leave(&s, false, 0);
	assert_true(speakers_enter(&s, B, B, true, true, MS));
	speakers_leave(&s, true, 2 * MS);
	assert_true(speakers_enter(&s, C, C, true, true, 2 * MS));
	assert_int_equal(speakers_heard(&s, 2 * SPEAKER_UNDER_WAY_US), A); /* however late it is */
	speakers_marked(&s, B);
	assert_int_equal(speakers_heard(&s, 2 * SPEAKER_UNDER_WAY_US), B); /* C's is to come */
	speakers_marked(&s, C);
	assert_int_equal(speakers_heard(&s, 2 * SPEAKER_UNDER_WAY_US), C);
}

static void a_marker_that_was_not_sent_is_not_awaited(void **state)
{
	struct speakers s = { 0 };

	speakers_enter(&s, A, A, false, true, 0);
	speakers_leave(&s, false, 0);
	assert_true(speakers_enter(&s, B, B, true, true, 0));
	speakers_unmarked(&s);
	assert_int_equal(speakers_heard(&s, MS), B);
}

static void where_all_has_come_what_comes_is_the_latests(void **state)
{
	struct speakers s = { 0 };

	speakers_caught_up(&s);
	speakers_enter(&s, A, A, false, false, 0);
	speakers_said(&s, 0);
	speakers_leave(&s, false, 0);
	assert_true(speakers_enter(&s, B, B, true, true, 0));
	speakers_caught_up(&s);
	assert_int_equal(speakers_heard(&s, MS), B);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_has_spoken),
		cmocka_unit_test(who_has_the_backend_is_heard),
		cmocka_unit_test(who_said_notify_is_heard_after_others_have_come),
		cmocka_unit_test(what_was_never_heard_is_waited_for_only_so_long),
		cmocka_unit_test(a_marker_tells_where_ones_own_begin),
		cmocka_unit_test(who_does_not_listen_needs_one_where_something_was_said),
		cmocka_unit_test(the_marker_of_who_had_it_before_is_not_the_latests),
		cmocka_unit_test(no_marker_is_wanted_where_nothing_can_be_under_way),
		cmocka_unit_test(one_of_many_before_is_still_known),
		cmocka_unit_test(nothing_is_of_who_has_a_marker_to_come),
		cmocka_unit_test(a_marker_that_was_not_sent_is_not_awaited),
		cmocka_unit_test(where_all_has_come_what_comes_is_the_latests),
	};

	return cmocka_run_group_tests_name("speakers", tests, NULL, NULL);
}
