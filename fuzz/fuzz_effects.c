/* links: parser/lex.c parser/screen.c parser/grams.c parser/tree.c parser/effects*.c parser/watch*.c parser/buf.c -lpg_query -lprotobuf-c */
/* Any text has effects, and they hold together: rows lie in the text one after the other, names and values are there
 * where the kind says so, a second asking gives the same, and a text without a backslash means the same whatever
 * standard_conforming_strings is. Input: lex_mode, text. */
#include "parser/effects.h"
#include "parser/screen.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void row_holds(const struct stmt_effects *s, const char *text, size_t len)
{
	assert((size_t)s->at + s->len <= len);
	switch (s->kind) {
	case STMT_PREPARE:
	case STMT_EXECUTE:
	case STMT_DEALLOCATE:
		assert(s->name_len && s->name_at >= s->at && s->name_at + s->name_len <= s->at + s->len);
		assert(text[s->name_at] != ' ');
		/* fall through */
	case STMT_SET:
	case STMT_SET_LOCAL:
	case STMT_RESET:
	case STMT_RESET_LOCAL:
	case STMT_SAVEPOINT:
	case STMT_RELEASE:
	case STMT_ROLLBACK_TO:
	case STMT_CLOSE:
	case STMT_LISTEN:
	case STMT_UNLISTEN:
		assert(s->name && *s->name);
		break;
	default:
		break;
	}
	for (size_t i = 0; i < s->n_touched; i++) {
		const struct touched_setting *t = &s->touched[i];

		assert(!!t->name != !!t->param);
		for (const char *p = t->name; p && *p; p++)
			assert(*p < 'A' || *p > 'Z');
	}
	for (size_t i = 0, at = s->at; i < s->n_places; i++) {
		const struct text_place *p = &s->places[i];

		assert(p->at >= at && (size_t)p->at + p->len <= (size_t)s->at + s->len);
		at = p->at + p->len;
	}
	if (s->n_touched && s->kind != STMT_PREPARE)
		assert(s->flags & (TOUCH_SETTINGS | TOUCH_LOCAL));
	if (s->kind == STMT_PREPARE)
		assert(!s->flags);
	else
		assert(!s->inner_flags && (!s->inner_kind || (s->kind == STMT_EXECUTE && s->inner_kind == STMT_EXECUTE)));
}

static void effects_hold(const struct effects *e, const char *text, size_t len)
{
	uint32_t flags = 0;
	size_t end = 0;

	for (size_t i = 0; i < e->n; i++) {
		const struct stmt_effects *s = &e->stmts[i];
		bool more = i < 64 && (e->more_of_same >> i & 1);

		flags |= s->flags;
		if (e == effects_opaque())
			continue;
		row_holds(s, text, len);
		assert(s->len && *text != 0);
		if (more)
			assert(i && s->at == e->stmts[i - 1].at && s->len == e->stmts[i - 1].len);
		else
			assert(s->at >= end);
		end = s->at + s->len;
	}
	assert(flags == e->flags);
	effects_reset_batch(e);
}

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static void same_effects(const struct effects *a, const struct effects *b)
{
	assert(a->n == b->n && a->flags == b->flags && a->more_of_same == b->more_of_same);
	for (size_t i = 0; i < a->n; i++) {
		const struct stmt_effects *s = &a->stmts[i], *t = &b->stmts[i];

		assert(s->kind == t->kind && s->flags == t->flags && same(s->name, t->name) && same(s->value, t->value));
		assert(s->at == t->at && s->len == t->len && s->n_touched == t->n_touched);
	}
}

static void plain_texts_mean_the_same(struct effects_memory *m, const char *text, size_t len, unsigned mode, const struct effects *e)
{
	const struct effects *other;

	if (memchr(text, '\\', len) || memchr(text, '&', len)) /* U&'' is an error under LEX_BACKSLASH */
		return;
	other = effects_in_full(m, text, len, mode ^ LEX_BACKSLASH);
	same_effects(e, other);
	effects_release(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct effects_memory *m; /* kept over inputs, so that it fills and evicts */
	const struct effects *first, *again;
	const char *text = (const char *)data + 1;
	unsigned mode;

	if (!len)
		return 0;
	if (!m)
		m = effects_memory_new(20000);
	mode = data[0] & (LEX_BACKSLASH | LEX_UNSAFE_BYTES);
	len--;
	first = effects_in_full(m, text, len, mode);
	again = effects_in_full(m, text, len, mode);
	effects_hold(first, text, len);
	same_effects(first, again);
	plain_texts_mean_the_same(m, text, len, mode, first);
	effects_release(first);
	effects_release(again);
	return 0;
}
