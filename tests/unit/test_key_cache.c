/* links: auth/key_cache.c auth/derive.c auth/scram.c auth/base64.c parser/buf.c -lcrypto */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "auth/key_cache.h"
#include "auth/scram.h"
#include "tests/unit/wiped.h"

static const uint8_t process_key[32] = "of this process", other_key[32] = "of another";
static const uint8_t salt[SCRAM_SALT_LEN] = "0123456789abcdef", other_salt[SCRAM_SALT_LEN] = "fedcba9876543210";

static struct auth_wanted of(const char *password)
{
	return (struct auth_wanted){ .password = password, .salt = salt, .salt_len = sizeof salt, .iterations = 3 };
}

static struct key_id id_of(struct key_cache *k, const struct auth_wanted *w)
{
	struct key_id id;

	assert_int_equal(key_cache_id(k, w, &id), 0);
	return id;
}

static struct scram_verifier add(struct key_cache *k, const struct auth_wanted *w)
{
	struct key_id id = id_of(k, w);
	struct scram_verifier v;

	assert_int_equal(scram_verifier_make(w->password, w->salt, w->salt_len, w->iterations, &v), 0);
	key_cache_add(k, &id, &v);
	return v;
}

static bool known(struct key_cache *k, const struct auth_wanted *w)
{
	struct key_id id = id_of(k, w);
	struct scram_verifier v;

	return key_cache_find(k, &id, w, &v);
}

static void rounds_in_any_portions_come_to_the_same_keys(void **state)
{
	static const uint32_t iterations[] = { 1, 2, 3, 64, 100 }, portions[] = { 1, 2, 7, 63, 1000 };
	char long_password[200];

	memset(long_password, 'x', sizeof long_password);
	for (size_t n = 0; n < 200; n += 9)
		for (size_t i = 0; i < 5; i++)
			for (size_t p = 0; p < 5; p++) {
				struct auth_wanted w = of(long_password);
				struct scram_verifier whole, parts;
				struct derivation *d;

				long_password[n] = 0;
				w.iterations = iterations[i];
				d = derivation_new(&w);
				assert_non_null(d);
				while (!derivation_run(d, portions[p]))
					assert_int_equal(derivation_keys(d, &parts), -1);
				assert_int_equal(derivation_keys(d, &parts), 0);
				assert_int_equal(scram_verifier_make(long_password, salt, sizeof salt, iterations[i], &whole), 0);
				assert_memory_equal(&parts, &whole, sizeof parts);
				derivation_free(d);
				long_password[n] = 'x';
			}
}

static void what_breaks_a_bound_is_not_derived(void **state)
{
	struct auth_wanted none = of("secret"), saltless = of("secret"), salty = of("secret");

	none.iterations = 0;
	saltless.salt_len = 0;
	salty.salt_len = SCRAM_SALT_MAX + 1;
	assert_null(derivation_new(&none));
	assert_null(derivation_new(&saltless));
	assert_null(derivation_new(&salty));
	derivation_free(NULL);
}

static void keys_are_found_by_all_they_were_made_of(void **state)
{
	struct key_cache *k = key_cache_new(process_key, 10);
	struct auth_wanted w = of("secret"), password = of("Secret"), salted = of("secret"), rounds = of("secret");
	struct scram_verifier made = add(k, &w), found;
	struct key_id id = id_of(k, &w);

	salted.salt = other_salt;
	rounds.iterations = 4;
	assert_true(key_cache_find(k, &id, &w, &found));
	assert_memory_equal(&found, &made, sizeof found);
	assert_false(known(k, &password));
	assert_false(known(k, &salted));
	assert_false(known(k, &rounds));
	key_cache_free(k);
}

static void ids_are_of_one_process(void **state)
{
	struct key_cache *k = key_cache_new(process_key, 10), *other = key_cache_new(other_key, 10);
	struct auth_wanted w = of("secret");
	struct key_id here = id_of(k, &w), there = id_of(other, &w);

	assert_memory_not_equal(&here.password, &there.password, sizeof here.password);
	assert_memory_not_equal(&here.whole, &there.whole, sizeof here.whole);
	key_cache_free(k);
	key_cache_free(other);
}

static void those_longest_out_of_use_make_room(void **state)
{
	struct key_cache *k = key_cache_new(process_key, 3);
	struct auth_wanted a = of("a"), b = of("b"), c = of("c"), d = of("d");

	add(k, &a);
	add(k, &b);
	add(k, &c);
	add(k, &c);
	assert_true(known(k, &a));
	add(k, &d);
	assert_int_equal(key_cache_count(k), 3);
	assert_true(known(k, &a));
	assert_false(known(k, &b));
	assert_true(known(k, &c));
	assert_true(known(k, &d));
	key_cache_free(k);
}

static void keys_go_with_their_password(void **state)
{
	struct key_cache *k = key_cache_new(process_key, 10);
	struct auth_wanted gone = of("gone"), kept = of("kept"), again = of("kept");

	again.salt = other_salt;
	add(k, &gone);
	add(k, &kept);
	add(k, &again);
	key_cache_keep_begin(k);
	key_cache_keep(k, "never seen");
	key_cache_keep(k, "kept");
	key_cache_keep(k, "kept");
	key_cache_keep_end(k);
	assert_int_equal(key_cache_count(k), 2);
	assert_false(known(k, &gone));
	assert_true(known(k, &kept));
	assert_true(known(k, &again));
	key_cache_keep_begin(k);
	key_cache_keep_end(k);
	assert_int_equal(key_cache_count(k), 0);
	key_cache_free(k);
}

static void keys_that_nobody_asks_for_go(void **state)
{
	struct key_cache *k = key_cache_new(process_key, 10);
	struct auth_wanted asked = of("asked"), idle = of("idle");

	add(k, &asked);
	add(k, &idle);
	key_cache_age(k);
	assert_int_equal(key_cache_count(k), 2);
	assert_true(known(k, &asked));
	key_cache_age(k);
	assert_int_equal(key_cache_count(k), 1);
	assert_true(known(k, &asked));
	key_cache_free(k);
}

#ifndef __SANITIZE_ADDRESS__
static void the_look_at_what_is_freed_sees(void **state)
{
	char *volatile p = strdup("a secret in the heap"); /* else the compiler sees that nobody needs it */

	wiped_look_for("secret", 6);
	free(p);
	assert_int_equal(wiped_seen, 1);
	wiped_look_for(NULL, 0);
}
#endif

static void keys_are_wiped_however_they_go(void **state)
{
	struct auth_wanted a = of("a"), b = of("b");

	for (int how = 0; how < 4; how++) {
		struct key_cache *k = key_cache_new(process_key, 1);
		struct scram_verifier v = add(k, &a);

		wiped_look_for(how % 2 ? v.client_key : v.server_key, SCRAM_KEY_LEN);
		if (how == 0) {
			add(k, &b);
		} else if (how == 1) {
			key_cache_keep_begin(k);
			key_cache_keep_end(k);
		} else if (how == 2) {
			key_cache_age(k);
			key_cache_age(k);
		}
		key_cache_free(k);
		assert_int_equal(wiped_seen, 0);
		wiped_look_for(NULL, 0);
	}
}

static void a_derivation_is_wiped_wherever_it_stands(void **state)
{
	struct auth_wanted w = of("secret");
	uint8_t salted[SCRAM_KEY_LEN];

	assert_int_equal(scram_salted_password("secret", salt, sizeof salt, 2, salted), 0);
	for (uint32_t rounds = 0; rounds < 4; rounds++) {
		struct derivation *d;

		w.iterations = 2;
		d = derivation_new(&w);
		derivation_run(d, rounds);
		wiped_look_for(salted, sizeof salted);
		derivation_free(d);
		assert_int_equal(wiped_seen, 0);
		wiped_look_for(NULL, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rounds_in_any_portions_come_to_the_same_keys),
		cmocka_unit_test(what_breaks_a_bound_is_not_derived),
		cmocka_unit_test(keys_are_found_by_all_they_were_made_of),
		cmocka_unit_test(ids_are_of_one_process),
		cmocka_unit_test(those_longest_out_of_use_make_room),
		cmocka_unit_test(keys_go_with_their_password),
		cmocka_unit_test(keys_that_nobody_asks_for_go),
#ifndef __SANITIZE_ADDRESS__
		cmocka_unit_test(the_look_at_what_is_freed_sees),
#endif
		cmocka_unit_test(keys_are_wiped_however_they_go),
		cmocka_unit_test(a_derivation_is_wiped_wherever_it_stands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
