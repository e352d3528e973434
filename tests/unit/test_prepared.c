/* links: state/prepared.c state/settings.c parser/effects*.c parser/watch*.c parser/screen.c parser/grams.c parser/lex.c parser/tree.c parser/hash.c parser/buf.c -lpg_query -lprotobuf-c -lpthread -lm */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "state/prepared.h"

static struct stmt_store *stmts;
static struct settings_store *settings;
static struct effects_memory *memory;
static const struct effects *none;

static int open_stores(void **state)
{
	stmts = stmt_store_new();
	settings = settings_store_new();
	memory = effects_memory_new(1 << 16);
	none = effects_of(memory, "SELECT 1", 8, LEX_PLAIN);
	return 0;
}

static int close_stores(void **state)
{
	int left = (int)stmt_store_count(stmts) + (int)settings_store_count(settings) - 1;

	effects_release(none);
	effects_memory_free(memory);
	stmt_store_free(stmts);
	settings_store_free(settings);
	return left;
}

static struct stmt_key key_of(const char *text, const struct settings *at)
{
	return (struct stmt_key){ .tail = (const uint8_t *)text, .tail_len = strlen(text), .at_parse = at };
}

static struct stmt *make(const char *text, const struct settings *at)
{
	struct stmt_key key = key_of(text, at);

	return stmt_intern(stmts, &key, none);
}

static void a_statement_is_shared_only_where_everything_that_gives_it_meaning_is_equal(void **state)
{
	const struct settings *at = settings_empty(settings);
	struct stmt *first = make("SELECT 1", at), *other;
	struct stmt_key keys[] = { key_of("SELECT 2", at), key_of("SELECT 1", at), key_of("SELECT 1", at), key_of("SELECT 1", at),
				   key_of("SELECT 1", at), key_of("SELECT 1", at) };

	keys[1].generation = 1;
	keys[2].owner = 7;
	keys[3].from_sql = true;
	keys[4].substitute = 1;
	keys[5].pool = &keys;
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		other = stmt_intern(stmts, &keys[i], none);
		assert_ptr_not_equal(first, other);
		stmt_release(other);
	}
	other = make("SELECT 1", at);
	assert_ptr_equal(first, other);
	stmt_release(other);
	stmt_release(first);
	settings_release(at);
}

static void settings_that_cannot_matter_are_no_hindrance(void **state)
{
	const struct settings *at = settings_empty(settings);
	struct stmt *first = make("SELECT 1", at), *other;

	settings_set(&at, "application_name", "b");
	other = make("SELECT 1", at);
	assert_ptr_equal(first, other);
	stmt_release(other);
	settings_set(&at, "search_path", "b");
	other = make("SELECT 1", at);
	assert_ptr_not_equal(first, other);
	stmt_release(other);
	stmt_release(first);
	settings_release(at);
}

static void a_name_on_backends_reads_back_as_the_id(void **state)
{
	char name[STMT_NAME_MAX], longer[64];
	struct stmt st = { .id = UINT64_MAX };
	size_t len;

	stmt_name(&st, name);
	assert_string_equal(name, "pgporter_ffffffffffffffff");
	assert_true(stmt_name_read(name, strlen(name), &len) == UINT64_MAX);
	assert_int_equal(len, strlen(name));
	snprintf(longer, sizeof longer, "%s\" does", "pgporter_1a");
	assert_int_equal(stmt_name_read(longer, strlen(longer), &len), 0x1a);
	assert_int_equal(len, 11);
	assert_int_equal(stmt_name_read("pgporte", 7, &len), 0);
	assert_int_equal(stmt_name_read("pgporter_", 9, &len), 0);
	assert_int_equal(stmt_name_read("pgporter_set", 12, &len), 0);
}

static void a_clients_names_are_put_replaced_and_taken_away(void **state)
{
	const struct settings *at = settings_empty(settings);
	struct stmt_names names = { 0 };
	struct stmt *one = make("SELECT 1", at), *two = make("SELECT 2", at);
	char name[16];

	assert_null(names_find(&names, "s"));
	assert_false(names_remove(&names, "s"));
	for (int i = 0; i < 200; i++) {
		sprintf(name, "s%d", i);
		names_put(&names, name, i % 2 ? one : two);
	}
	assert_int_equal(names.count, 200);
	names_put(&names, "s1", two);
	names_put(&names, "s1", two);
	assert_int_equal(names.count, 200);
	assert_ptr_equal(names_find(&names, "s1"), two);
	assert_ptr_equal(names_find(&names, "s199"), one);
	assert_true(names_remove(&names, "s199"));
	assert_null(names_find(&names, "s199"));
	stmt_release(one); /* the names have references of their own */
	assert_ptr_equal(names_find(&names, "s3"), one);
	assert_non_null(names_of(&names, one->id));
	names_clear(&names);
	assert_null(names_of(&names, two->id));
	stmt_release(two);
	settings_release(at);
}

static void the_least_recently_used_statement_of_a_backend_is_the_oldest(void **state)
{
	const struct settings *at = settings_empty(settings);
	struct stmt_set set = { 0 };
	struct stmt *all[40];
	char text[16];

	assert_null(set_oldest(&set));
	for (int i = 0; i < 40; i++) {
		sprintf(text, "SELECT %d", i);
		all[i] = make(text, at);
		set_add(&set, all[i]);
		set_add(&set, all[i]);
		stmt_release(all[i]);
	}
	assert_int_equal(set.count, 40);
	assert_ptr_equal(set_oldest(&set), all[0]);
	assert_true(set_has(&set, all[0]));
	assert_ptr_equal(set_oldest(&set), all[1]);
	set_remove(&set, all[1]);
	assert_ptr_equal(set_oldest(&set), all[2]);
	for (int i = 2; i < 40; i++)
		set_remove(&set, all[i]);
	assert_ptr_equal(set_oldest(&set), all[0]);
	set_clear(&set);
	assert_null(set_oldest(&set));
	settings_release(at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_statement_is_shared_only_where_everything_that_gives_it_meaning_is_equal, open_stores, close_stores),
		cmocka_unit_test_setup_teardown(settings_that_cannot_matter_are_no_hindrance, open_stores, close_stores),
		cmocka_unit_test_setup_teardown(a_name_on_backends_reads_back_as_the_id, open_stores, close_stores),
		cmocka_unit_test_setup_teardown(a_clients_names_are_put_replaced_and_taken_away, open_stores, close_stores),
		cmocka_unit_test_setup_teardown(the_least_recently_used_statement_of_a_backend_is_the_oldest, open_stores, close_stores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
