/* links: parser/lex.c parser/screen.c parser/grams.c parser/tree.c parser/effects*.c parser/watch*.c parser/buf.c -lpg_query -lprotobuf-c */
/* Holds the screen against the parser: what the screen clears must touch nothing that outlives its transaction, as
 * far as libpg_query can read it; what is clear at sight must be clear token by token, where there are tokens; and our tokens must be those of
 * PostgreSQL's scanner. Input: lex_mode, text. */
#include "parser/effects.h"
#include "parser/lex.h"
#include "parser/screen.h"
#include "parser/tree.h"
#include "tests/lexable.h"

#include <pg_query.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void cleared_touches_nothing(const char *text, size_t len, unsigned mode)
{
	static struct effects_memory *m;
	const struct effects *e;

	if (!m)
		m = effects_memory_new(0);
	e = effects_in_full(m, text, len, mode);
	if (e != effects_opaque()) {
		assert(!(e->flags & ~(uint32_t)TOUCH_TX));
		for (size_t i = 0; i < e->n; i++)
			assert(e->stmts[i].kind == STMT_PLAIN || (e->stmts[i].flags & TOUCH_TX));
	}
	effects_release(e);
}

/* libpg_query's scanner takes comments for tokens, so that it doesn't join two strings across one. Its grammar then
 * refuses them: behind such a pair nothing need agree. */
static size_t tokens_comparable(const PgQuery__ScanResult *s)
{
	bool after_string = false;
	size_t string = 0;

	for (size_t i = 0; i < s->n_tokens; i++) {
		switch (s->tokens[i]->token) {
		case PG_QUERY__TOKEN__SQL_COMMENT:
			continue;
		case PG_QUERY__TOKEN__SCONST:
		case PG_QUERY__TOKEN__USCONST:
		case PG_QUERY__TOKEN__BCONST:
		case PG_QUERY__TOKEN__XCONST:
			if (after_string)
				return string;
			after_string = true;
			string = i;
			continue;
		default:
			after_string = false;
		}
	}
	return s->n_tokens;
}

/* The scanner's setting as in parser/tree.c. Newer libraries set it anew with every parse, not with a scan. */
extern __thread bool standard_conforming_strings, escape_string_warning;

static PgQueryScanResult scan(const char *text, bool backslash)
{
	PgQueryScanResult r;

	standard_conforming_strings = escape_string_warning = !backslash;
	r = pg_query_scan(text);
	standard_conforming_strings = escape_string_warning = true;
	return r;
}

/* Every word, quoted name and parameter of ours is a token of PostgreSQL's with the same bytes, in the same order. A
 * string of ours lies in one token: PostgreSQL joins strings across newlines. */
static void tokens_agree(const char *text, size_t len, bool backslash)
{
	char *copy = strndup(text, len);
	PgQueryScanResult r = scan(copy, backslash);
	struct lex l = lex_of(text, len, backslash);
	PgQuery__ScanResult *s;
	size_t i = 0, n;
	enum tok t;

	if (r.error)
		goto out;
	s = pg_query__scan_result__unpack(NULL, r.pbuf.len, (const uint8_t *)r.pbuf.data);
	n = tokens_comparable(s);
	while ((t = lex_next(&l)) != TOK_END && t != TOK_BAD) {
		int from = (int)(l.tok - text), to = (int)(l.tok_end - text);

		if (t != TOK_WORD && t != TOK_QUOTED && t != TOK_PARAM && t != TOK_STRING)
			continue;
		while (i < n && s->tokens[i]->start < from && s->tokens[i]->end <= from)
			i++;
		if (i == n && n < s->n_tokens)
			break;
		assert(i < n);
		if (s->tokens[i]->token == PG_QUERY__TOKEN__USCONST)
			assert(t == TOK_STRING && s->tokens[i]->start == from); /* its end is wrong in libpg_query 15 */
		else if (t == TOK_STRING)
			assert(s->tokens[i]->start <= from && s->tokens[i]->end >= to);
		else
			assert(s->tokens[i]->start == from && s->tokens[i]->end == to);
		assert(s->tokens[i]->token != PG_QUERY__TOKEN__C_COMMENT && s->tokens[i]->token != PG_QUERY__TOKEN__SQL_COMMENT);
	}
	pg_query__scan_result__free_unpacked(s, NULL);
out:
	pg_query_free_scan_result(r);
	free(copy);
}

/* The text as versions read it that take a number and a word behind it for two tokens. */
static void numbers_hide_nothing(const struct grams *g, const char *text, size_t len, unsigned mode)
{
	char *apart = malloc(2 * len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		apart[n++] = text[i];
		if (i + 1 < len && lex_class[(uint8_t)text[i]] == LEX_DIGIT && lex_class[(uint8_t)text[i + 1]] == LEX_IDENT)
			apart[n++] = ' ';
	}
	if (screen_text(g, text, len, mode) == SCREEN_CLEAR && !lexable(text, len, mode) && lexable(apart, n, mode))
		assert(screen_exactly(apart, n, mode) == SCREEN_CLEAR);
	free(apart);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *text = (const char *)data + 1;
	static struct grams g;
	enum screen_result result;
	unsigned mode;

	if (!len || len > 4096)
		return 0;
	mode = data[0] & (LEX_BACKSLASH | LEX_UNSAFE_BYTES);
	len--;
	screen_grams(&g);
	result = screen_text(&g, text, len, mode);
	if (result == SCREEN_CLEAR)
		cleared_touches_nothing(text, len, mode);
	if (lexable(text, len, mode))
		assert(result == screen_exactly(text, len, mode));
	numbers_hide_nothing(&g, text, len, mode);
	mode &= LEX_BACKSLASH;
	if (!memchr(text, 0, len) && !screen_beyond_bounds(text, len, mode))
		tokens_agree(text, len, mode);
	return 0;
}
