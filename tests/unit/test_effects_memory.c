/* links: parser/lex.c parser/screen.c parser/grams.c parser/tree.c parser/effects*.c parser/watch*.c parser/buf.c -lpg_query -lprotobuf-c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "parser/effects.h"
#include "parser/effects_internal.h"

static void ask(struct effects_memory *m, const char *text)
{
	effects_release(effects_of(m, text, strlen(text), LEX_PLAIN));
}

static void a_text_is_parsed_once(void **state)
{
	struct effects_memory *m = effects_memory_new(100000);
	const struct effects_counters *c = effects_memory_counters(m);
	const struct effects *first = effects_of(m, "SET a = b", 9, LEX_PLAIN), *again = effects_of(m, "SET a = b", 9, LEX_PLAIN);

	assert_ptr_equal(first, again);
	assert_int_equal(c->parsed, 1);
	assert_int_equal(c->hits, 1);
	ask(m, "SELECT 1");
	assert_int_equal(c->screened, 1);
	ask(m, "SELEC 1");
	ask(m, "SELEC 1");
	assert_int_equal(c->opaque, 1);
	assert_int_equal(c->hits, 2);
	effects_release(first);
	effects_release(again);
	effects_memory_free(m);
}

static const struct effects *ask_as(struct effects_memory *m, const char *text, unsigned lex_mode)
{
	const struct effects *e = effects_of(m, text, strlen(text), lex_mode);

	effects_release(e); /* the memory still has it */
	return e;
}

static void another_lexing_is_another_text(void **state)
{
	struct effects_memory *m = effects_memory_new(100000);
	const char *text = "SET a = '\xc3\xa9'";
	const struct effects *backslash = ask_as(m, text, LEX_BACKSLASH);

	assert_ptr_not_equal(backslash, effects_opaque());
	assert_ptr_equal(ask_as(m, text, LEX_BACKSLASH), backslash);
	assert_ptr_not_equal(ask_as(m, text, LEX_PLAIN), backslash);
	assert_ptr_equal(ask_as(m, text, LEX_UNSAFE_BYTES), effects_opaque());
	assert_int_equal(effects_memory_counters(m)->parsed, 2);
	effects_memory_free(m);
}

static void effects_outlive_their_memory(void **state)
{
	struct effects_memory *m = effects_memory_new(100000);
	const struct effects *e = effects_of(m, "SET a = b", 9, LEX_PLAIN);

	effects_retain(e);
	effects_memory_free(m);
	assert_string_equal(e->stmts[0].name, "a");
	effects_release(e);
	effects_release(e);
	effects_release(effects_retain(effects_opaque()));
	effects_release(NULL);
}

static void bytes_never_exceed_the_limit(void **state)
{
	struct text_memory *m = text_memory_new(40000);
	char text[200];

	for (int i = 0; i < 20000; i++) {
		int len = snprintf(text, sizeof text, "%0*d", i % 150 + 10, i);
		const struct effects *e = text_memory_find(m, text, (size_t)len, LEX_PLAIN, 0);

		assert_null(e);
		text_memory_add(m, text, (size_t)len, LEX_PLAIN, 0, effects_opaque(), 50);
		assert_true(text_memory_bytes(m) <= 40000);
	}
	text_memory_free(m);
}

static void texts_that_come_once_do_not_drive_out_those_that_come_often(void **state)
{
	struct effects_memory *m = effects_memory_new(200000);
	const struct effects_counters *c = effects_memory_counters(m);
	char text[64];
	uint64_t hits;

	for (int i = 0; i < 30000; i++) {
		snprintf(text, sizeof text, "SET once.a = %d", i);
		ask(m, text);
		snprintf(text, sizeof text, "SET often.a = %d", i % 50);
		ask(m, text);
	}
	assert_true(c->hits > 29000);
	/* A flood without a pause leaves them where they are. */
	for (int i = 30000; i < 40000; i++) {
		snprintf(text, sizeof text, "SET once.a = %d", i);
		ask(m, text);
	}
	hits = c->hits;
	for (int i = 0; i < 50; i++) {
		snprintf(text, sizeof text, "SET often.a = %d", i);
		ask(m, text);
	}
	assert_int_equal(c->hits - hits, 50);
	effects_memory_free(m);
}

static void texts_that_come_back_soon_are_kept(void **state)
{
	struct text_memory *m = text_memory_new(40000);
	char text[64];
	int hits = 0;

	/* Each comes again after more others than the small queue holds. */
	for (int i = 0; i < 20000; i++) {
		int len = snprintf(text, sizeof text, "text number %d", i % 100);
		const struct effects *e = text_memory_find(m, text, (size_t)len, LEX_PLAIN, 0);

		hits += e != NULL;
		if (!e)
			text_memory_add(m, text, (size_t)len, LEX_PLAIN, 0, effects_opaque(), 100);
	}
	assert_true(hits > 10000);
	text_memory_free(m);
}

static void a_memory_without_bytes_remembers_nothing(void **state)
{
	struct effects_memory *m = effects_memory_new(0);

	ask(m, "SET a = b");
	ask(m, "SET a = b");
	assert_int_equal(effects_memory_counters(m)->parsed, 2);
	effects_memory_free(m);
	effects_memory_free(NULL);
}

static void long_texts_are_opaque_unless_cleared(void **state)
{
	struct effects_memory *m = effects_memory_new(1 << 20);
	size_t len = 1 << 20;
	char *text = malloc(len);

	memset(text, ' ', len);
	memcpy(text, "SET a = b", 9);
	assert_ptr_equal(effects_of(m, text, len, LEX_PLAIN), effects_opaque());
	memcpy(text, "SELECT 1 ", 9);
	assert_true(effects_none(effects_of(m, text, len, LEX_PLAIN)));
	free(text);
	effects_memory_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_is_parsed_once),
		cmocka_unit_test(another_lexing_is_another_text),
		cmocka_unit_test(effects_outlive_their_memory),
		cmocka_unit_test(bytes_never_exceed_the_limit),
		cmocka_unit_test(texts_that_come_once_do_not_drive_out_those_that_come_often),
		cmocka_unit_test(texts_that_come_back_soon_are_kept),
		cmocka_unit_test(a_memory_without_bytes_remembers_nothing),
		cmocka_unit_test(long_texts_are_opaque_unless_cleared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
