/* links: parser/grams.c parser/lex.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

#include "parser/grams.h"
#include "parser/lex.h"

enum { ROOM = 4096, TEXT_MAX = 300 };

/* Room for a text between two pages that can't be read: it ends, or begins, where one of them does. */
static char *between_unreadable_pages(void)
{
	static char *area;

	if (!area) {
		area = mmap(NULL, 3 * ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(area, MAP_FAILED);
		assert_int_equal(sysconf(_SC_PAGESIZE), ROOM);
		assert_int_equal(mprotect(area, ROOM, PROT_NONE), 0);
		assert_int_equal(mprotect(area + 2 * ROOM, ROOM, PROT_NONE), 0);
	}
	return area + ROOM;
}

struct asked {
	const char *text;
	bool at[TEXT_MAX];
};

static bool note(const void *context, const char *at)
{
	struct asked *a = (struct asked *)(uintptr_t)context;

	a->at[at - a->text] = true;
	return false;
}

static const char *const words[] = { "into", "set_config", "a", "do", "#~#", ";", "u&\"", "x\xc3\xb6", "\xc3", "9lives", "Quoted" };
enum { WORDS = sizeof words / sizeof words[0] };

static bool stands_at(const char *word, const char *at, const char *end)
{
	for (size_t i = 0; word[i]; i++) {
		if (at + i == end)
			return false;
		if ((uint8_t)word[i] >= 0x80)
			return (uint8_t)at[i] >= 0x80;
		if (strncasecmp(word + i, at + i, 1))
			return false;
	}
	return true;
}

static bool within_word(const char *text, const char *at)
{
	return at > text && lex_class[(uint8_t)at[-1]] == LEX_IDENT && lex_in_ident[(uint8_t)*at];
}

static void some_text(char *text, size_t len)
{
	static const char *const parts[] = { "into", "INTO", "set_config", "SeT_cOnfig", " ", "a", "_", "\"", "'", ";", "#~#", "u&\"", "U&\"", "x\xc3\xb6",
					     "x\xf6", "9lives", "quoted", "\n", "(", "z", "1", "$", "--", "tom", "mer", "\x80" };

	for (size_t n = 0; n < len;) {
		const char *part = parts[(size_t)rand() % (sizeof parts / sizeof parts[0])];

		for (size_t i = 0; part[i] && n < len; i++)
			text[n++] = part[i];
	}
}

static void every_place_of_a_word_is_asked_about_either_way(void **state)
{
	for (int round = 0; round < 200000; round++) {
		size_t len = (size_t)rand() % TEXT_MAX, from = len ? (size_t)rand() % 3 * ((size_t)rand() % len) / 2 : 0;
		char *text = between_unreadable_pages() + (round & 1 ? ROOM - len : 0), *end = text + len;
		struct asked lanes = { .text = text }, plainly = { .text = text };
		size_t n_words = 1 + (size_t)rand() % WORDS, first = (size_t)rand() % WORDS;
		struct grams g = { 0 };

		for (size_t i = 0; i < n_words; i++)
			grams_add(&g, words[(first + i) % WORDS], strlen(words[(first + i) % WORDS]));
		some_text(text, len);
		assert_false(grams_any(&g, text, text + from, end, note, &lanes));
		assert_false(grams_any_plainly(&g, text, text + from, end, note, &plainly));
		assert_memory_equal(lanes.at, plainly.at, sizeof lanes.at);
		for (size_t at = 0; at < len; at++) {
			bool one = false;

			for (size_t i = 0; i < n_words; i++)
				one |= stands_at(words[(first + i) % WORDS], text + at, end);
			if (at < from || within_word(text, text + at))
				assert_false(lanes.at[at]);
			else if (one)
				assert_true(lanes.at[at]);
		}
	}
}

static unsigned questions;

static bool it_is(const void *context, const char *at)
{
	questions++;
	return at == context;
}

static void who_is_told_yes_asks_no_further(void **state)
{
	static const char text[] = "into, into into into into into into into into into into";
	struct grams g = { 0 };

	grams_add(&g, "into", 4);
	assert_true(grams_any(&g, text, text, text + sizeof text - 1, it_is, text + 6));
	assert_int_equal(questions, 2);
	assert_false(grams_any(&g, text, text, text + sizeof text - 1, it_is, text + 7));
	assert_int_equal(questions, 2 + 11);
}

static void words_that_differ_are_told_apart(void **state)
{
	static const char text[] = "SELECT \"order\".\"id\", \"customer\".\"name\" FROM \"order\" JOIN \"customer\" ON \"order\".\"customer_id\" = \"customer\".\"id\"";
	static const char *const eight[] = { "into", "temp", "merge", "lastval", "pg_", "set_config", "xpath_table", "query_to_xml" };
	struct asked a = { .text = text };
	struct grams g = { 0 };

	for (size_t i = 0; i < 8; i++)
		grams_add(&g, eight[i], strlen(eight[i]));
	grams_any(&g, text, text, text + sizeof text - 1, note, &a);
	for (size_t i = 0; i < sizeof text; i++)
		assert_false(a.at[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_place_of_a_word_is_asked_about_either_way),
		cmocka_unit_test(who_is_told_yes_asks_no_further),
		cmocka_unit_test(words_that_differ_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
