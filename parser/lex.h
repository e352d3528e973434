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
	TOK_OTHER, /* a dot, or a byte with no meaning in SQL */
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
	TOK_BLANK, /* a comment: never returned by lex_next() */
};

struct lex {
	const char *at, *end;
	const char *tok, *tok_end; /* the token that lex_next() returned last */
	bool backslash;		   /* standard_conforming_strings = off */
};

static inline struct lex lex_of(const char *text, size_t len, bool backslash)
{
	return (struct lex){ .at = text, .end = text + len, .tok = text, .tok_end = text, .backslash = backslash };
}

/* What a byte begins. Up to LEX_SIMPLE a class is the token that the byte makes by itself, whatever follows. */
enum lex_class {
	LEX_SIMPLE = TOK_BLANK,
	LEX_SPACE,
	LEX_IDENT, /* letters, underscore, bytes from 0x80 */
	LEX_DIGIT,
	LEX_DOT,
	LEX_DASH, /* an operator or a comment */
	LEX_SLASH,
	LEX_QUOTE,
	LEX_DQUOTE,
	LEX_DOLLAR,
};
extern const uint8_t lex_class[256];
extern const uint8_t lex_in_ident[256]; /* 1: letters, digits, underscore, dollar, high bytes */

/* Whatever is neither blank nor simple nor a plain word; l->tok is where it begins, l->at will be where it ends. */
enum tok lex_rest(struct lex *l);

/* The next token, with the two places kept outside of l, in registers where the caller has them there. */
static inline enum tok lex_step(struct lex *l, const char **at, const char **tok)
{
	const char *p = *at, *end = l->end;
	enum tok t;
	unsigned c;

	do {
		while (p < end && lex_class[(uint8_t)*p] == LEX_SPACE)
			p++;
		*tok = *at = p;
		if (p == end)
			return TOK_END;
		c = lex_class[(uint8_t)*p];
		if (c == LEX_IDENT) {
			do
				p++;
			while (p < end && lex_in_ident[(uint8_t)*p]);
			*at = p;
			if (p - *tok > 1)
				return TOK_WORD;
		} else if (c < LEX_SIMPLE && c != TOK_BAD) {
			*at = p + 1;
			return (enum tok)c;
		}
		l->tok = *tok;
		t = lex_rest(l);
		*at = p = l->at;
	} while (t == TOK_BLANK);
	return t;
}

static inline enum tok lex_next(struct lex *l)
{
	const char *at = l->at, *tok;
	enum tok t = lex_step(l, &at, &tok);

	l->tok = tok;
	l->at = l->tok_end = at;
	return t;
}

/* A token is this lower-case word: unquoted, in any case. */
bool lex_is(const struct lex *l, enum tok t, const char *word);
/* ASCII case-insensitive; word is lower case. */
bool lex_same(const char *s, size_t n, const char *word);

/* What stands between the quotes of the token that was read last, a TOK_STRING or TOK_QUOTED, with doubled ones made one and
 * escapes left as they are, ended by NUL. out has room for the whole token. Returns its length. */
size_t lex_undoubled(const struct lex *l, char *out);
/* The same, where that is the token's value and is not empty; false where it has escapes, or no room. */
bool lex_plain(const struct lex *l, enum tok t, char *value, size_t room);
/* Adds a word as it stands, or what is quoted, to a name of *n bytes; false where the token is neither, or has no room. */
bool lex_name_part(const struct lex *l, enum tok t, char *name, size_t room, size_t *n);

#endif
