#include "parser/effects.h"

#include "parser/effects_internal.h"
#include "parser/screen.h"

#include <stdlib.h>
#include <string.h>

struct effects_memory {
	struct tree_parser *parser; /* made when the first text needs it */
	struct text_memory *texts;
	struct grams grams; /* of the screen */
	struct effects_counters counters;
};

static const struct effects none;
static const struct stmt_effects opaque_row = { .flags = TOUCH_OPAQUE };
static const struct effects opaque = { .flags = TOUCH_OPAQUE, .n = 1, .stmts = (struct stmt_effects *)&opaque_row };

struct effects_memory *effects_memory_new(size_t max_bytes)
{
	struct effects_memory *m = calloc(1, sizeof *m);

	if (!m)
		abort();
	m->texts = text_memory_new(max_bytes);
	screen_grams(&m->grams);
	return m;
}

void effects_memory_free(struct effects_memory *m)
{
	if (!m)
		return;
	text_memory_free(m->texts);
	tree_parser_free(m->parser);
	free(m);
}

const struct effects_counters *effects_memory_counters(const struct effects_memory *m)
{
	return &m->counters;
}

static bool constant(const struct effects *e)
{
	return e == &none || e == &opaque;
}

const struct effects *effects_retain(const struct effects *e)
{
	if (!constant(e))
		((struct held *)(void *)e)->refs++;
	return e;
}

void effects_release(const struct effects *e)
{
	struct held *h = (struct held *)(void *)e;

	if (e && !constant(e) && !--h->refs)
		held_free(h);
}

bool effects_none(const struct effects *e)
{
	return e == &none;
}

const struct effects *effects_cleared(struct effects_memory *m)
{
	m->counters.screened++;
	return &none;
}

const struct effects *effects_opaque(void)
{
	return &opaque;
}

static bool gives_back_identity(const struct stmt_effects *row)
{
	return row->kind == STMT_RESET && row->name && (!strcmp(row->name, "role") || !strcmp(row->name, "session_authorization"));
}

bool effects_reset_batch(const struct effects *e)
{
	for (size_t i = 0; i < e->n; i++) {
		switch (e->stmts[i].kind) {
		case STMT_RESET_ALL:
		case STMT_DISCARD_ALL:
		case STMT_DISCARD_PLANS:
		case STMT_DISCARD_SEQUENCES:
		case STMT_DISCARD_TEMP:
		case STMT_CLOSE_ALL:
		case STMT_UNLISTEN_ALL:
		case STMT_DEALLOCATE_ALL:
		case STMT_UNLOCK_ALL:
			continue;
		default:
			if (!gives_back_identity(&e->stmts[i]))
				return false;
		}
	}
	return e->n > 0;
}

/* A text that can't be read may name words that the set knows of: their settings can be asked for. */
static struct held *unreadable(const struct watch *w, const char *text, size_t len, unsigned lex_mode)
{
	struct held *h = held_new();
	struct stmt_effects *row = held_row(h);

	row->flags = TOUCH_OPAQUE;
	row->len = (uint32_t)len;
	effects_watch_unread(h, row, w, text, lex_mode);
	h->e.flags = row->flags;
	return h;
}

static bool nothing_in(const struct held *h)
{
	for (size_t i = 0; i < h->e.n; i++)
		if (h->e.stmts[i].kind != STMT_PLAIN || h->e.stmts[i].flags || h->e.stmts[i].n_defined)
			return false;
	return true;
}

static const struct effects *parsed(struct effects_memory *m, const struct watch *w, const char *text, size_t len,
				    unsigned lex_mode)
{
	const struct effects *e;
	struct held *h;

	if (!m->parser)
		m->parser = tree_parser_new();
	if (!m->parser) {
		m->counters.opaque++;
		return &opaque;
	}
	m->counters.parsed++;
	h = effects_parse(m->parser, w, text, len, lex_mode);
	if (h && !h->e.n) { /* blanks and comments */
		held_free(h);
		return &none;
	}
	m->counters.opaque += !h;
	if (!h && w)
		h = unreadable(w, text, len, lex_mode);
	e = h ? &h->e : &opaque;
	if (h && w && nothing_in(h)) { /* it only looked like it */
		held_free(h);
		h = NULL;
		e = &none;
	}
	text_memory_add(m->texts, text, len, lex_mode, w ? watch_version(w) : 0, e, h ? h->bytes : 0);
	return e;
}

/* w: what the text may name something of; NULL: nothing. */
static const struct effects *in_full(struct effects_memory *m, const struct watch *w, const char *text, size_t len,
				     unsigned lex_mode)
{
	const struct effects *e;

	if (len <= BOUND_BYTES) {
		e = text_memory_find(m->texts, text, len, lex_mode, w ? watch_version(w) : 0);
		if (e) {
			m->counters.hits++;
			return e;
		}
		if (!screen_beyond_bounds(text, len, lex_mode))
			return parsed(m, w, text, len, lex_mode);
	}
	m->counters.opaque++;
	return w ? &unreadable(w, text, len, lex_mode)->e : &opaque;
}

const struct effects *effects_in_full(struct effects_memory *m, const char *text, size_t len, unsigned lex_mode)
{
	return in_full(m, NULL, text, len, lex_mode);
}

const struct effects *effects_watched(struct effects_memory *m, const struct watch *w, const char *text, size_t len,
				      unsigned lex_mode)
{
	bool clear = screen_text(&m->grams, text, len, lex_mode) == SCREEN_CLEAR;
	bool hit = w && (clear ? watch_names(w, text, len, lex_mode) : watch_hits(w, text, len, lex_mode));

	if (clear && !hit) {
		m->counters.screened++;
		return &none;
	}
	return in_full(m, hit ? w : NULL, text, len, lex_mode);
}

const struct effects *effects_of(struct effects_memory *m, const char *text, size_t len, unsigned lex_mode)
{
	return effects_watched(m, NULL, text, len, lex_mode);
}
