/* links: state/ledger.c state/prepared.c state/settings.c parser/effects*.c parser/watch*.c parser/screen.c parser/grams.c parser/lex.c parser/tree.c parser/hash.c parser/buf.c -lpg_query -lprotobuf-c -lpthread -lm */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "state/ledger.h"
#include "state/prepared.h"

static void an_empty_ledger_owes_nothing(void **state)
{
	struct ledger l = { 0 };

	assert_null(ledger_head(&l));
	assert_null(ledger_last(&l));
	ledger_release(&l);
}

static void replies_are_owed_in_the_order_of_their_messages_however_far_the_ring_has_turned(void **state)
{
	struct ledger l = { 0 };
	unsigned pushed = 0, popped = 0;

	srand(7);
	for (int round = 0; round < 20000; round++) {
		if (rand() % 5 < (round / 2000 % 2 ? 2 : 3)) {
			struct owed *o = ledger_push(&l, OWED_BIND, pushed % 2);

			assert_null(o->stmt);
			assert_null(o->name);
			o->reply = (char)(pushed++ % 100);
			assert_ptr_equal(o, ledger_last(&l));
		} else if (l.count) {
			assert_int_equal(ledger_head(&l)->reply, popped % 100);
			assert_int_equal(ledger_head(&l)->ours, popped % 2);
			ledger_pop(&l);
			popped++;
		}
		assert_int_equal(l.count, pushed - popped);
		for (size_t i = 0; i < l.count; i += 7)
			assert_int_equal(ledger_at(&l, i)->reply, (popped + i) % 100);
	}
	ledger_release(&l);
}

static void what_an_entry_holds_is_given_back_at_either_end_and_at_the_end(void **state)
{
	struct settings_store *settings = settings_store_new();
	struct stmt_store *stmts = stmt_store_new();
	const struct settings *at = settings_empty(settings);
	struct stmt_key key = { .tail = (const uint8_t *)"x", .tail_len = 1, .at_parse = at };
	struct ledger l = { 0 };

	for (int i = 0; i < 4; i++) {
		struct owed *o = ledger_push(&l, OWED_PARSE, false);

		o->name = strdup("s");
		o->stmt = stmt_intern(stmts, &key, effects_opaque());
	}
	ledger_pop(&l);
	ledger_drop_last(&l);
	assert_int_equal(l.count, 2);
	assert_int_equal(stmt_store_count(stmts), 1);
	ledger_release(&l);
	assert_int_equal(stmt_store_count(stmts), 0);
	settings_release(at);
	stmt_store_free(stmts);
	settings_store_free(settings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_ledger_owes_nothing),
		cmocka_unit_test(replies_are_owed_in_the_order_of_their_messages_however_far_the_ring_has_turned),
		cmocka_unit_test(what_an_entry_holds_is_given_back_at_either_end_and_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
