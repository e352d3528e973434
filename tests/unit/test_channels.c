/* links: state/channels.c parser/hash.c parser/buf.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "state/channels.h"

static const char *asked(struct channels *c)
{
	static char text[4096];
	struct buf sql = { 0 };

	text[0] = 0;
	if (channels_ask(c, &sql))
		snprintf(text, sizeof text, "%.*s", (int)buf_len(&sql), (const char *)buf_head(&sql));
	buf_release(&sql);
	return text;
}

/* A marker goes out and comes back. */
static void say(struct subscriber *s, char op, const char *name)
{
	char payload[MARKER_MAX];
	uint64_t n = marker_new(s, op, name, payload);

	assert_ptr_equal(channels_marked(s->channels, payload), s);
	assert_true(s->heard_n == n);
}

static struct channels *up(void)
{
	struct channels *c = channels_new("marker");

	channels_up(c);
	return c;
}

static size_t listeners(struct channels *c, const char *name)
{
	const struct subscriptions *all = channels_listeners(c, name);
	const struct subscription *one;
	size_t n = 0;

	if (all)
		TAILQ_FOREACH (one, all, in_channel)
			n++;
	return n;
}

static void a_channel_is_listened_to_before_its_marker_goes_out(void **state)
{
	struct channels *c = channels_new("marker");
	struct subscriber *a = subscriber_new(c, 7, NULL);

	assert_int_equal(channels_reserve(a, "x"), CHANNEL_PENDING);
	assert_string_equal(asked(c), "");
	channels_up(c);
	assert_int_equal(channels_reserve(a, "x"), CHANNEL_PENDING);
	assert_string_equal(asked(c), "LISTEN \"x\";");
	assert_int_equal(channels_reserve(a, "x"), CHANNEL_PENDING);
	assert_string_equal(asked(c), "");
	channels_answered(c);
	assert_ptr_equal(channels_next_waiting(c), a);
	assert_null(channels_next_waiting(c));
	assert_int_equal(channels_reserve(a, "x"), CHANNEL_READY);
	assert_int_equal(listeners(c, "x"), 0);
	say(a, '+', "x");
	say(a, '+', "x");
	assert_int_equal(listeners(c, "x"), 1);
	assert_string_equal(subscriber_channel(a, 0), "x");
	assert_null(subscriber_channel(a, 1));
	subscriber_free(a);
	channels_free(c);
}

static void names_are_quoted(void **state)
{
	struct channels *c = up();
	struct subscriber *a = subscriber_new(c, 7, NULL);

	channels_reserve(a, "a\"b; c");
	assert_string_equal(asked(c), "LISTEN \"a\"\"b; c\";");
	subscriber_free(a);
	channels_free(c);
}

static void what_was_rolled_back_is_given_up_in_the_end(void **state)
{
	struct channels *c = up();
	struct subscriber *a = subscriber_new(c, 7, NULL);

	channels_reserve(a, "x");
	asked(c);
	channels_answered(c);
	subscriber_settle(a); /* no marker has come */
	channels_sweep(c);
	assert_string_equal(asked(c), "");
	channels_sweep(c);
	assert_string_equal(asked(c), "UNLISTEN \"x\";");
	assert_int_equal(channels_reserve(a, "x"), CHANNEL_PENDING); /* wanted again meanwhile */
	channels_answered(c);
	assert_string_equal(asked(c), "LISTEN \"x\";");
	channels_answered(c);
	assert_int_equal(channels_reserve(a, "x"), CHANNEL_READY);
	subscriber_free(a);
	channels_free(c);
}

static void unlisten_all_spares_what_came_after_it(void **state)
{
	struct channels *c = up();
	struct subscriber *a = subscriber_new(c, 7, NULL), *b = subscriber_new(c, 7 + 1024, NULL);
	char before[24];

	say(a, '+', "x");
	say(a, '+', "y");
	say(b, '+', "x");
	snprintf(before, sizeof before, "%llu", (unsigned long long)a->last_n + 1);
	say(a, '+', "z");
	say(a, '*', before);
	assert_string_equal(subscriber_channel(a, 0), "z");
	assert_null(subscriber_channel(a, 1));
	assert_int_equal(listeners(c, "x"), 1);
	say(a, '-', "z");
	say(a, '-', "never");
	say(a, '.', NULL);
	assert_null(subscriber_channel(a, 0));
	subscriber_free(a);
	subscriber_free(b);
	channels_free(c);
}

static void nobodys_markers_are_ignored(void **state)
{
	struct channels *c = up();
	struct subscriber *a = subscriber_new(c, 7, NULL);
	static const char *const bad[] = { "", "7", "8 1 +x", "x", "7x1 +x", "99999999999999999999 1 .", " ", "7 1" };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_null(channels_marked(c, bad[i]));
	assert_null(subscriber_channel(a, 0));
	subscriber_free(a);
	channels_free(c);
}

static void everything_is_asked_again_of_another_connection(void **state)
{
	struct channels *c = up();
	struct subscriber *a = subscriber_new(c, 7, NULL), *b = subscriber_new(c, 8, NULL);

	channels_reserve(a, "x");
	asked(c);
	channels_answered(c);
	say(a, '+', "x");
	subscriber_settle(a);
	channels_reserve(b, "y");
	channels_down(c);
	assert_true(a->gap);
	assert_false(b->gap);
	assert_int_equal(channels_wait_up(a), CHANNEL_PENDING);
	assert_string_equal(asked(c), "");
	channels_up(c);
	assert_non_null(strstr(asked(c), "LISTEN"));
	channels_answered(c);
	assert_false(channels_due(c));
	assert_int_equal(channels_reserve(b, "y"), CHANNEL_READY);
	assert_int_equal(channels_reserve(b, "x"), CHANNEL_READY);
	channels_refuse(c);
	assert_int_equal(channels_reserve(b, "y"), CHANNEL_REFUSED);
	assert_int_equal(channels_wait_up(b), CHANNEL_REFUSED);
	subscriber_free(a);
	subscriber_free(b);
	assert_false(channels_in_use(c));
	channels_free(c);
}

static void a_listen_within_a_transaction_waits_until_all_before_it_has_come_through(void **state)
{
	struct channels *c = up();
	struct subscriber *a = subscriber_new(c, 7, NULL), *b = subscriber_new(c, 8, NULL);

	assert_int_equal(channels_reserve(b, "x"), CHANNEL_PENDING);
	assert_string_equal(asked(c), "LISTEN \"x\";");
	channels_answered(c);
	assert_int_equal(channels_reserve(b, "x"), CHANNEL_READY);
	assert_int_equal(channels_reserve_within(a, "x"), CHANNEL_PENDING);
	assert_true(channels_due(c));
	assert_string_equal(asked(c), "SELECT pg_catalog.pg_notify('marker','0 1 .');");
	channels_answered(c);
	assert_int_equal(channels_reserve_within(a, "x"), CHANNEL_PENDING);
	assert_null(channels_within(c, NULL, "x"));
	assert_true(channels_own_marker("0 1 ."));
	assert_null(channels_marked(c, "0 1 ."));
	assert_int_equal(channels_reserve_within(a, "x"), CHANNEL_READY);
	assert_ptr_equal(channels_within(c, NULL, "x"), a);
	assert_null(channels_within(c, a, "x"));
	assert_null(channels_within(c, NULL, "y"));
	say(a, '+', "x");
	assert_null(channels_within(c, NULL, "x")); /* it gets them as any other */
	subscriber_settle(a);
	assert_int_equal(channels_reserve_within(a, "x"), CHANNEL_PENDING);
	channels_down(c);
	channels_up(c);
	assert_string_equal(asked(c), "LISTEN \"x\";SELECT pg_catalog.pg_notify('marker','0 2 .');");
	subscriber_free(a);
	subscriber_free(b);
	channels_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_channel_is_listened_to_before_its_marker_goes_out),
		cmocka_unit_test(a_listen_within_a_transaction_waits_until_all_before_it_has_come_through),
		cmocka_unit_test(names_are_quoted),
		cmocka_unit_test(what_was_rolled_back_is_given_up_in_the_end),
		cmocka_unit_test(unlisten_all_spares_what_came_after_it),
		cmocka_unit_test(nobodys_markers_are_ignored),
		cmocka_unit_test(everything_is_asked_again_of_another_connection),
	};

	return cmocka_run_group_tests_name("channels", tests, NULL, NULL);
}
