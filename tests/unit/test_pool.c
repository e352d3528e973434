/* links: state/pool.c state/settings.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "state/pool.h"

static struct settings_store *store;
static const struct settings *plain, *other;

static int open_store(void **state)
{
	store = settings_store_new();
	plain = settings_empty(store);
	other = settings_with(plain, "x", "1");
	return 0;
}

static int close_store(void **state)
{
	settings_release(plain);
	settings_release(other);
	settings_store_free(store);
	return 0;
}

struct fake {
	struct pool_backend node;
	struct backend facts;
};

static void fake_open(struct pool *p, struct fake *f, const struct settings *applied, int64_t now)
{
	f->facts.applied = applied;
	f->node.facts = &f->facts;
	pool_opening(p, &f->node, now);
}

static void fake_idle(struct pool *p, struct fake *f, const struct settings *applied, int64_t now)
{
	fake_open(p, f, applied, now);
	pool_opened(&f->node, now);
}

static void who_waits_is_served_in_line_and_nobody_overtakes(void **state)
{
	struct pool p;
	struct pool_waiter w[3] = { 0 };
	struct fake f = { 0 };
	struct pool_backend *b;

	pool_init(&p, NULL, NULL);
	p.size = 1;
	for (int i = 0; i < 3; i++)
		pool_wait(&p, &w[i], plain, NULL, i);
	assert_null(pool_match(&p, &b, 5));
	fake_idle(&p, &f, plain, 5);
	assert_null(pool_take(&p, plain, NULL, 5)); /* idle, but for those in line */
	pool_unwait(&w[1]);
	pool_unwait(&w[1]);
	assert_ptr_equal(pool_match(&p, &b, 6), &w[0]);
	assert_ptr_equal(b, &f.node);
	assert_null(w[0].pool);
	assert_null(pool_match(&p, &b, 7));
	pool_give_back(&f.node, 8);
	assert_ptr_equal(pool_match(&p, &b, 9), &w[2]);
	assert_int_equal(p.n_waiting, 0);
	pool_gone(&f.node);
	pool_gone(&f.node);
	assert_int_equal(pool_backends(&p), 0);
}

static void who_was_told_to_go_counts_until_it_is_gone(void **state)
{
	struct pool_limit database = { .max = 1 };
	struct pool_waiter w = { 0 };
	struct fake f = { 0 };
	struct pool p;
	struct pool_backend *b;

	pool_init(&p, &database, NULL);
	p.size = 5;
	fake_idle(&p, &f, plain, 1);
	pool_closing(&f.node, 2);
	assert_null(pool_take(&p, plain, NULL, 2));
	pool_wait(&p, &w, plain, NULL, 3);
	assert_null(pool_match(&p, &b, 3));
	assert_int_equal(pool_backends(&p), 1);
	assert_int_equal(database.count, 1);
	assert_int_equal(pool_to_open(&p, true, 3), 0);
	pool_gone(&f.node);
	assert_int_equal(pool_backends(&p), 0);
	assert_int_equal(database.count, 0);
	assert_int_equal(pool_to_open(&p, true, 4), 1);
	pool_unwait(&w);
}

static void the_backend_with_the_clients_settings_comes_first_then_the_last_used(void **state)
{
	struct pool p;
	struct fake f[3] = { 0 };

	pool_init(&p, NULL, NULL);
	p.size = 3;
	for (int i = 0; i < 3; i++)
		fake_idle(&p, &f[i], i == 0 ? other : plain, i);
	assert_ptr_equal(pool_take(&p, plain, NULL, 10), &f[2].node);
	assert_ptr_equal(pool_take(&p, other, NULL, 10), &f[0].node);
	assert_ptr_equal(pool_take(&p, other, NULL, 10), &f[1].node);
	assert_null(pool_take(&p, plain, NULL, 10));
	pool_give_back(&f[1].node, 11);
	pool_give_back(&f[0].node, 12);
	pool_give_back(&f[2].node, 13);
	p.fifo = true;
	assert_ptr_equal(pool_take(&p, other, NULL, 14), &f[0].node);
	p.paused = true;
	assert_null(pool_take(&p, plain, NULL, 15));
	p.paused = false;
	f[2].facts.applied = f[1].facts.applied = other;
	assert_ptr_equal(pool_take(&p, plain, NULL, 15), &f[1].node);
}

static void the_reserve_is_there_for_who_has_waited_long_enough(void **state)
{
	struct pool p;
	struct pool_waiter w[3] = { 0 };
	struct fake f = { 0 };

	pool_init(&p, NULL, NULL);
	p.size = 1;
	p.reserve = 1;
	p.reserve_after_us = 1000;
	fake_open(&p, &f, plain, 0);
	pool_opened(&f.node, 0);
	assert_non_null(pool_take(&p, plain, NULL, 0));
	for (int i = 0; i < 3; i++)
		pool_wait(&p, &w[i], plain, NULL, 100);
	assert_int_equal(pool_to_open(&p, true, 1099), 0);
	assert_int_equal(pool_to_open(&p, true, 1100), 1);
	p.reserve_after_us = 0;
	assert_int_equal(pool_to_open(&p, true, 100000), 0);
}

static void a_failing_server_is_tried_ever_less_often_one_at_a_time_and_never_in_step(void **state)
{
	struct pool p;
	struct pool_waiter w[5] = { 0 };
	struct fake f = { 0 };
	int64_t now = 1000000, least;

	pool_init(&p, NULL, NULL);
	p.size = 10;
	p.retry_max_us = 300 * 1000;
	for (int i = 0; i < 5; i++)
		pool_wait(&p, &w[i], plain, NULL, now);
	assert_int_equal(pool_to_open(&p, true, now), 5);
	for (int64_t after = 50000; after < 5000000; after *= 2) {
		int64_t full = after < 300000 ? after : 300000;

		pool_failed(&p, now, 0);
		assert_int_equal(p.retry_at_us, now + full);
		assert_int_equal(pool_to_open(&p, true, now + full - 1), 0);
		assert_int_equal(pool_to_open(&p, true, now + full), 1);
	}
	for (uint32_t random = 0; random < 5000; random += 37) {
		pool_failed(&p, now, random);
		least = now + 300000 - 300000 / 4;
		assert_true(p.retry_at_us > least && p.retry_at_us <= now + 300000);
	}
	fake_open(&p, &f, plain, now + 300000);
	assert_int_equal(pool_to_open(&p, true, now + 400000), 0); /* one attempt is under way */
	pool_opened(&f.node, now);
	pool_succeeded(&p);
	assert_int_equal(pool_to_open(&p, true, now), 5);
}

static void who_waits_for_another_pools_room_is_told_apart(void **state)
{
	struct pool_limit database = { .max = 1 };
	struct pool one, two;
	struct pool_waiter w = { 0 };
	struct fake f = { 0 };

	pool_init(&one, &database, NULL);
	pool_init(&two, &database, NULL);
	one.size = two.size = 1;
	fake_idle(&one, &f, plain, 0);
	assert_false(pool_blocked_by_others(&two, 0));
	pool_wait(&two, &w, plain, NULL, 0);
	assert_true(pool_blocked_by_others(&two, 0));
	assert_int_equal(pool_to_open(&two, true, 0), 0);
	two.size = 0; /* its own limit comes first */
	assert_false(pool_blocked_by_others(&two, 0));
	two.size = 1;
	pool_gone(&f.node);
	assert_false(pool_blocked_by_others(&two, 0));
	assert_int_equal(pool_to_open(&two, true, 0), 1);
}

static void a_minimum_is_kept_only_for_pools_with_clients(void **state)
{
	struct pool p;

	pool_init(&p, NULL, NULL);
	p.size = 5;
	p.min = 3;
	assert_int_equal(pool_to_open(&p, false, 0), 0);
	assert_int_equal(pool_to_open(&p, true, 0), 3);
	p.size = 2;
	assert_int_equal(pool_to_open(&p, true, 0), 2);
}

enum { POOLS = 3, NODES = 60, WAITERS = 40, STEPS = 200000 };

static int place_count(const struct fake *f, const struct pool *p, enum pool_place place)
{
	int n = 0;

	for (int i = 0; i < NODES; i++)
		n += f[i].node.pool == p && f[i].node.place == place;
	return n;
}

static int pinned_count(const struct fake *f, const struct pool *p)
{
	int n = 0;

	for (int i = 0; i < NODES; i++)
		n += f[i].node.place != PLACE_NONE && f[i].node.pool == p && f[i].node.pinned;
	return n;
}

static void who_never_named_a_setting_gets_a_backend_that_has_not_seen_it(void **state)
{
	const struct settings *named = settings_with(plain, "app.tenant", ""), *both = settings_with(named, "app.user", "");
	struct pool p;
	struct fake f[3] = { 0 };

	pool_init(&p, NULL, NULL);
	p.size = 3;
	for (int i = 0; i < 3; i++)
		fake_idle(&p, &f[i], plain, i);
	f[1].facts.seen = named;
	f[2].facts.seen = both;
	f[0].facts.seen = plain;
	assert_true(pool_has_strange(&p, plain));
	assert_false(pool_has_strange(&p, both));
	assert_ptr_equal(pool_take(&p, plain, named, 10), &f[1].node); /* rather than mark another */
	assert_ptr_equal(pool_take(&p, plain, plain, 10), &f[0].node);
	assert_null(pool_take(&p, plain, plain, 10));
	assert_null(pool_take(&p, plain, named, 10));
	assert_ptr_equal(pool_take(&p, plain, NULL, 10), &f[2].node);
	settings_release(named);
	settings_release(both);
}

static void the_line_is_kept_among_those_a_backend_may_serve(void **state)
{
	const struct settings *named = settings_with(plain, "app.tenant", "");
	struct pool p;
	struct fake f = { 0 };
	struct pool_waiter w[3] = { 0 };
	struct pool_backend *b;

	pool_init(&p, NULL, NULL);
	p.size = 1;
	f.facts.seen = named;
	fake_idle(&p, &f, plain, 0);
	pool_wait(&p, &w[0], plain, plain, 0);
	assert_ptr_equal(pool_take(&p, plain, named, 0), &f.node); /* of no use to who waits */
	pool_wait(&p, &w[1], plain, named, 0);
	pool_wait(&p, &w[2], plain, named, 0);
	pool_give_back(&f.node, 1);
	assert_null(pool_take(&p, plain, named, 1));
	assert_ptr_equal(pool_match(&p, &b, 1), &w[1]);
	pool_give_back(&f.node, 2);
	assert_ptr_equal(pool_match(&p, &b, 2), &w[2]);
	pool_give_back(&f.node, 3);
	assert_null(pool_match(&p, &b, 3));
	pool_unwait(&w[0]);
	settings_release(named);
}

static void an_idle_backend_goes_for_who_can_use_none_at_most_so_often(void **state)
{
	const struct settings *named = settings_with(plain, "app.tenant", "");
	struct pool p;
	struct fake f[2] = { 0 };
	struct pool_waiter w[2] = { 0 };
	struct pool_backend *b;
	int64_t now = 1000;

	pool_init(&p, NULL, NULL);
	p.size = 2;
	p.fresh_every_us = 100;
	for (int i = 0; i < 2; i++) {
		f[i].facts.seen = named;
		fake_idle(&p, &f[i], plain, i);
	}
	assert_null(pool_evict(&p, now));
	pool_wait(&p, &w[0], plain, named, now);
	assert_null(pool_evict(&p, now)); /* is served */
	assert_ptr_equal(pool_match(&p, &b, now), &w[0]);
	for (int i = 0; i < POOL_FRESH_BURST; i++) {
		pool_wait(&p, &w[0], plain, plain, now);
		assert_int_equal(pool_to_open(&p, true, now), 0); /* no room */
		b = pool_evict(&p, now);
		assert_ptr_equal(b, &f[0].node);
		pool_closing(b, now);
		assert_null(pool_evict(&p, now)); /* one is enough */
		assert_int_equal(pool_to_open(&p, true, now), 0);
		pool_gone(b);
		assert_int_equal(pool_to_open(&p, true, now), 1);
		f[0].facts.seen = plain;
		fake_idle(&p, &f[0], plain, now);
		assert_ptr_equal(pool_match(&p, &b, now), &w[0]);
		f[0].facts.seen = named;
		pool_give_back(&f[0].node, now);
	}
	assert_int_equal(p.fresh_opened, POOL_FRESH_BURST);
	pool_wait(&p, &w[0], plain, plain, now);
	assert_null(pool_evict(&p, now));
	assert_null(pool_evict(&p, now + 99));
	assert_ptr_equal(pool_evict(&p, now + 100), &f[0].node);
	pool_unwait(&w[0]);
	settings_release(named);
}

static void who_may_have_one_in_use_waits_for_that_but_not_for_long(void **state)
{
	const struct settings *named = settings_with(plain, "app.tenant", "");
	struct pool p;
	struct fake f[2] = { 0 };
	struct pool_waiter tenant = { 0 }, stranger = { 0 };
	struct pool_backend *b;

	pool_init(&p, NULL, NULL);
	p.size = 2;
	f[0].facts.seen = named;
	f[1].facts.seen = plain;
	fake_idle(&p, &f[0], plain, 0);
	fake_idle(&p, &f[1], plain, 0);
	assert_ptr_equal(pool_take(&p, plain, plain, 0), &f[1].node);
	pool_wait(&p, &stranger, plain, plain, 0);
	assert_null(pool_evict(&p, 1000));
	assert_ptr_equal(pool_evict(&p, 1000000), &f[0].node);
	assert_ptr_equal(pool_take(&p, plain, named, 0), &f[0].node);
	pool_unwait(&stranger);
	/* The one that has seen nothing is left to who can use no other, for a while. */
	pool_wait(&p, &tenant, plain, named, 0);
	pool_wait(&p, &stranger, plain, plain, 0);
	pool_give_back(&f[1].node, 0);
	assert_ptr_equal(pool_match(&p, &b, 1), &stranger);
	assert_null(pool_match(&p, &b, 1));
	pool_give_back(&f[1].node, 2);
	assert_ptr_equal(pool_match(&p, &b, 3), &tenant);
	settings_release(named);
}

static void every_limit_holds_at_every_instant_of_a_long_walk(void **state)
{
	static struct fake f[NODES];
	static struct pool_waiter w[WAITERS];
	struct pool_limit database = { .max = 9 }, users[2] = { { .max = 5 }, { .max = 0 } };
	struct pool pools[POOLS];
	struct pool_backend *b;
	int64_t now = 0;
	int most = 0, turned_away = 0, beyond = 0;

	srand(20240131);
	for (int i = 0; i < POOLS; i++) {
		pool_init(&pools[i], &database, &users[i % 2]);
		pools[i].size = 2 + i;
		pools[i].reserve = i;
		pools[i].reserve_after_us = 300;
		pools[i].min = i / 2;
		pools[i].pin_size = i == 1 ? 0 : 2;
	}
	for (int step = 0; step < STEPS; step++) {
		struct pool *p = &pools[rand() % POOLS];
		struct fake *one = &f[rand() % NODES];
		struct pool_waiter *waiter = &w[rand() % WAITERS];
		int total = 0, open;

		now += rand() % 20;
		switch (rand() % 9) {
		case 0:
			if (!waiter->pool && !pool_take(p, rand() % 2 ? plain : other, NULL, now))
				pool_wait(p, waiter, plain, NULL, now);
			break;
		case 1:
			pool_match(p, &b, now);
			break;
		case 2:
		case 3:
			open = pool_to_open(p, rand() % 2, now);
			for (int i = 0; i < NODES && open > 0; i++)
				if (f[i].node.place == PLACE_NONE) {
					fake_open(p, &f[i], rand() % 2 ? plain : other, now);
					open--;
				}
			assert_int_equal(open, 0);
			break;
		case 4:
			if (one->node.place == PLACE_OPENING) {
				if (rand() % 4) {
					pool_opened(&one->node, now);
					pool_succeeded(one->node.pool);
				} else {
					pool_failed(one->node.pool, now, (uint32_t)rand());
					pool_gone(&one->node);
				}
			}
			break;
		case 5:
			if (one->node.place != PLACE_ACTIVE)
				break;
			if (pool_unpin(&one->node, now))
				pool_give_back(&one->node, now);
			else
				pool_closing(&one->node, now), turned_away++;
			break;
		case 8:
			if (one->node.place == PLACE_ACTIVE)
				pool_pin(&one->node);
			break;
		case 6:
			if (rand() % 4 == 0)
				pool_gone(&one->node);
			break;
		case 7:
			if (rand() % 4 == 0)
				pool_unwait(waiter);
			break;
		}
		for (int i = 0; i < POOLS; i++) {
			int apart = pinned_count(f, &pools[i]);

			assert_int_equal(pools[i].n_pinned, apart);
			apart = apart < pools[i].pin_size ? apart : pools[i].pin_size;
			assert_true(pool_backends(&pools[i]) - apart <= pools[i].size + pools[i].reserve);
			beyond += pool_backends(&pools[i]) > pools[i].size + pools[i].reserve;
			assert_int_equal(pools[i].n_idle, place_count(f, &pools[i], PLACE_IDLE));
			assert_int_equal(pools[i].n_active, place_count(f, &pools[i], PLACE_ACTIVE));
			assert_int_equal(pools[i].n_opening, place_count(f, &pools[i], PLACE_OPENING));
			total += pool_backends(&pools[i]);
		}
		assert_int_equal(total, database.count);
		assert_true(total <= 9);
		assert_int_equal(users[0].count, pool_backends(&pools[0]) + pool_backends(&pools[2]));
		assert_true(users[0].count <= 5);
		most = total > most ? total : most;
	}
	assert_int_equal(most, 9); /* the walk has been to the limits */
	assert_true(turned_away && beyond); /* …and to those of pinned ones */
}

static void pinned_ones_have_a_budget_of_their_own_and_go_where_there_is_no_room_to_return_to(void **state)
{
	struct pool_limit database = { .max = 3 };
	struct pool_waiter w[3] = { 0 };
	struct fake f[3] = { 0 };
	struct pool p;

	pool_init(&p, &database, NULL);
	p.size = 1;
	p.pin_size = 1;
	fake_idle(&p, &f[0], plain, 0);
	assert_ptr_equal(pool_take(&p, plain, NULL, 0), &f[0].node);
	for (int i = 0; i < 3; i++)
		pool_wait(&p, &w[i], plain, NULL, 0);
	assert_int_equal(pool_to_open(&p, true, 0), 0);
	pool_pin(&f[0].node);
	pool_pin(&f[0].node); /* it is one all the same */
	assert_int_equal(p.n_pinned, 1);
	assert_int_equal(pool_to_open(&p, true, 0), 1);
	fake_open(&p, &f[1], plain, 0);
	pool_opened(&f[1].node, 0);
	assert_int_equal(pool_to_open(&p, true, 0), 0);
	assert_false(pool_unpin(&f[0].node, 0)); /* the other has its place */
	pool_closing(&f[0].node, 0);
	assert_int_equal(pool_to_open(&p, true, 0), 0); /* it counts until it is gone */
	pool_gone(&f[0].node);
	assert_int_equal(p.n_pinned, 0);
	assert_int_equal(pool_to_open(&p, true, 0), 0);
	p.pin_size = 0; /* without a budget nothing is turned away */
	pool_pin(&f[1].node);
	p.size = 0;
	assert_true(pool_unpin(&f[1].node, 0));
	for (int i = 0; i < 3; i++)
		pool_unwait(&w[i]);
	pool_gone(&f[1].node);
	assert_int_equal(database.count, 0);
}

static void any_pinned_one_may_have_the_place_that_another_leaves(void **state)
{
	struct pool_waiter w = { 0 };
	struct fake f[2] = { 0 };
	struct pool p;

	pool_init(&p, NULL, NULL);
	p.size = 1;
	p.pin_size = 1;
	for (int i = 0; i < 2; i++) {
		fake_idle(&p, &f[i], plain, 0);
		assert_non_null(pool_take(&p, plain, NULL, 0));
		pool_pin(&f[i].node);
	}
	assert_true(pool_unpin(&f[0].node, 0)); /* the other goes on in pin_size */
	pool_give_back(&f[0].node, 0);
	pool_wait(&p, &w, plain, NULL, 0);
	assert_int_equal(pool_to_open(&p, true, 0), 0);
	pool_unwait(&w);
	pool_gone(&f[0].node);
	pool_gone(&f[1].node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_waits_is_served_in_line_and_nobody_overtakes),
		cmocka_unit_test(who_was_told_to_go_counts_until_it_is_gone),
		cmocka_unit_test(the_backend_with_the_clients_settings_comes_first_then_the_last_used),
		cmocka_unit_test(the_reserve_is_there_for_who_has_waited_long_enough),
		cmocka_unit_test(a_failing_server_is_tried_ever_less_often_one_at_a_time_and_never_in_step),
		cmocka_unit_test(who_waits_for_another_pools_room_is_told_apart),
		cmocka_unit_test(a_minimum_is_kept_only_for_pools_with_clients),
		cmocka_unit_test(who_never_named_a_setting_gets_a_backend_that_has_not_seen_it),
		cmocka_unit_test(the_line_is_kept_among_those_a_backend_may_serve),
		cmocka_unit_test(an_idle_backend_goes_for_who_can_use_none_at_most_so_often),
		cmocka_unit_test(who_may_have_one_in_use_waits_for_that_but_not_for_long),
		cmocka_unit_test(every_limit_holds_at_every_instant_of_a_long_walk),
		cmocka_unit_test(pinned_ones_have_a_budget_of_their_own_and_go_where_there_is_no_room_to_return_to),
		cmocka_unit_test(any_pinned_one_may_have_the_place_that_another_leaves),
	};

	return cmocka_run_group_tests(tests, open_store, close_store);
}
