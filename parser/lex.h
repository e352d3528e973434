/* parser/lex.h — SQL text → tokens, as PostgreSQL's own scanner cuts them (docs: "Lexical Structure").
 *
 * One pass, a table of byte classes, no recursion, no allocation. Where PostgreSQL's versions disagree about a text
 * (junk after a number, vertical tabs) or the text can't be PostgreSQL's SQL (unterminated tokens, a stray dollar
 * sign), the answer is TOK_BAD, after which nothing more can be read. Operators come one byte at a time. */
#ifndef PGPORTER_PARSER_LEX_H
#define PGPORTER_PARSER_LEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tok {
	TOK_END,
	TOK_BAD,
	TOK_WORD,    /* unquoted identifier or keyword */
	TOK_QUOTED,  /* "…", quotes included */
	TOK_UNICODE, /* U&"…" */
	TOK_STRING,  /* any literal in single quotes or dollar quotes */
	TOK_NUMBER,
	TOK_PARAM, /* $1 */
	TOK_OPEN,  /* ( [ */
	TOK_CLOSE, /* ) ] */
	TOK_COMMA,
	TOK_SEMI,
	TOK_OP,	   /* one byte of an operator, or a colon */
	TOK_OTHER, /* a dot, or a byte with no meaning in SQL */
};

struct lex {
	const char *at, *end;
	const char *tok, *tok_end; /* the token that lex_next() returned last */
	bool backslash;		   /* standard_conforming_strings = off */
	bool escaped;		   /* under backslash: a plain string held one, so that its meaning hangs on the setting */
};

static inline struct lex lex_of(const char *text, size_t len, bool backslash)
{
	return (struct lex){ .at = text, .end = text + len, .tok = text, .tok_end = text, .backslash = backslash };
}

enum tok lex_next(struct lex *l);

/* A token is this lower-case word: unquoted, in any case. */
bool lex_is(const struct lex *l, enum tok t, const char *word);
/* ASCII case-insensitive; word is lower case. */
bool lex_same(const char *s, size_t n, const char *word);

#endif
