#include "parser/lex.h"

#include <string.h>

const uint8_t lex_class[256] = {
	[' '] = LEX_SPACE, ['\t'] = LEX_SPACE, ['\n'] = LEX_SPACE, ['\r'] = LEX_SPACE, ['\f'] = LEX_SPACE,
	['A' ... 'Z'] = LEX_IDENT, ['a' ... 'z'] = LEX_IDENT, ['_'] = LEX_IDENT, [0x80 ... 0xff] = LEX_IDENT,
	['0' ... '9'] = LEX_DIGIT,
	['~'] = TOK_OP, ['!'] = TOK_OP, ['@'] = TOK_OP, ['#'] = TOK_OP, ['^'] = TOK_OP, ['&'] = TOK_OP, ['|'] = TOK_OP,
	['`'] = TOK_OP, ['?'] = TOK_OP, ['+'] = TOK_OP, ['*'] = TOK_OP, ['%'] = TOK_OP, ['<'] = TOK_OP, ['>'] = TOK_OP,
	['='] = TOK_OP, [':'] = TOK_OP, ['-'] = LEX_DASH, ['/'] = LEX_SLASH,
	['('] = TOK_OPEN, ['['] = TOK_OPEN, [')'] = TOK_CLOSE, [']'] = TOK_CLOSE, [','] = TOK_COMMA, [';'] = TOK_SEMI,
	['.'] = LEX_DOT, ['\''] = LEX_QUOTE, ['"'] = LEX_DQUOTE, ['$'] = LEX_DOLLAR,
	/* A vertical tab is a blank from PostgreSQL 16 on and an error before. */
	[0] = TOK_BAD, ['\v'] = TOK_BAD,
};

const uint8_t lex_in_ident[256] = {
	['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['_'] = 1, [0x80 ... 0xff] = 1, ['0' ... '9'] = 1, ['$'] = 1,
};

#define CLASS(p) lex_class[(uint8_t)*(p)]
#define IN_IDENT(p) lex_in_ident[(uint8_t)*(p)]

enum quoting {
	QUOTING_PLAIN,	/* '' is a quote; backslashes as the setting says */
	QUOTING_ESCAPE, /* E'…' */
	QUOTING_RAW,	/* B'…', X'…', U&'…': never backslashes */
};

/* A newline between two literals makes them one, in the first one's quoting: E'a'⏎'b\'' ends after b\''. */
static const char *string_continued(const char *p, const char *end)
{
	bool newline = false;

	while (p < end) {
		if (CLASS(p) == LEX_SPACE) {
			newline |= *p == '\n' || *p == '\r';
			p++;
		} else if (*p == '-' && end - p > 1 && p[1] == '-') {
			while (p < end && *p != '\n' && *p != '\r')
				p++;
		} else {
			break;
		}
	}
	return p < end && *p == '\'' && newline ? p + 1 : NULL;
}

/* p is behind the opening quote. Returns what follows the closing one, or NULL. */
static const char *string_end(struct lex *l, const char *p, enum quoting quoting)
{
	bool backslash = quoting == QUOTING_ESCAPE || (quoting == QUOTING_PLAIN && l->backslash);

	for (;;) {
		const char *next;

		if (backslash) {
			while (p < l->end && *p != '\'' && *p != '\\')
				p++;
		} else {
			p = memchr(p, '\'', (size_t)(l->end - p));
		}
		if (!p || p == l->end)
			return NULL;
		if (*p == '\\') {
			if (l->end - p < 2)
				return NULL;
			p += 2;
		} else if (l->end - p > 1 && p[1] == '\'') {
			p += 2;
		} else if (quoting != QUOTING_PLAIN && (next = string_continued(p + 1, l->end))) {
			p = next;
		} else {
			return p + 1;
		}
	}
}

static const char *quoted_end(struct lex *l, const char *p)
{
	while ((p = memchr(p, '"', (size_t)(l->end - p)))) {
		if (l->end - p < 2 || p[1] != '"')
			return p + 1;
		p += 2;
	}
	return NULL;
}

static const char *comment_end(struct lex *l, const char *p)
{
	size_t depth = 1;

	while (l->end - p > 1) {
		if (p[0] == '*' && p[1] == '/') {
			p += 2;
			if (!--depth)
				return p;
		} else if (p[0] == '/' && p[1] == '*') {
			depth++;
			p += 2;
		} else {
			p++;
		}
	}
	return NULL;
}

static enum tok done(struct lex *l, const char *p, enum tok t)
{
	if (!p) {
		l->at = l->tok_end = l->end;
		return TOK_BAD;
	}
	l->at = l->tok_end = p;
	return t;
}

/* $1, $$…$$, $tag$…$tag$. */
static enum tok lex_dollar(struct lex *l)
{
	const char *p = l->tok + 1, *close;
	size_t n;

	if (p < l->end && CLASS(p) == LEX_DIGIT) {
		while (p < l->end && CLASS(p) == LEX_DIGIT)
			p++;
		return done(l, p < l->end && CLASS(p) == LEX_IDENT ? NULL : p, TOK_PARAM);
	}
	if (p < l->end && CLASS(p) == LEX_IDENT)
		while (p < l->end && *p != '$' && IN_IDENT(p))
			p++;
	if (p == l->end || *p != '$')
		return done(l, NULL, TOK_BAD);
	p++;
	n = (size_t)(p - l->tok);
	close = memmem(p, (size_t)(l->end - p), l->tok, n);
	return done(l, close ? close + n : NULL, TOK_STRING);
}

static const char *digits(const char *p, const char *end)
{
	while (p < end && CLASS(p) == LEX_DIGIT)
		p++;
	return p;
}

/* 1_000 and 0x1f are numbers from PostgreSQL 16 on and a number with an alias before: both harmless, if nothing
 * follows that could belong to the one and not to the other. */
static const char *newer_number(const char *tok, const char *p, const char *end)
{
	if (*tok == '0' && p == tok + 1 && strchr("xXoObB", *p)) {
		p++;
		while (p < end && (CLASS(p) == LEX_DIGIT || (*p >= 'a' && *p <= 'f') || (*p >= 'A' && *p <= 'F') || *p == '_'))
			p++;
	} else {
		while (p < end && (CLASS(p) == LEX_DIGIT || *p == '_'))
			p++;
	}
	if (p < end && (IN_IDENT(p) || *p == '\'' || *p == '"' || *p == '&'))
		return NULL;
	return p;
}

static enum tok lex_number(struct lex *l)
{
	const char *p = digits(l->tok, l->end), *e;

	if (p < l->end && *p == '.' && (l->end - p < 2 || p[1] != '.'))
		p = digits(p + 1, l->end);
	if (p < l->end && (*p == 'e' || *p == 'E')) {
		e = p + 1;
		if (e < l->end && (*e == '+' || *e == '-'))
			e++;
		if (e == l->end || CLASS(e) != LEX_DIGIT)
			return done(l, NULL, TOK_BAD);
		p = digits(e, l->end);
	}
	if (p < l->end && CLASS(p) == LEX_IDENT)
		p = newer_number(l->tok, p, l->end);
	return done(l, p, TOK_NUMBER);
}

/* A word of one letter may be the prefix of a literal. */
static enum tok lex_prefixed(struct lex *l)
{
	const char *p = l->tok + 1;

	switch (*l->tok | 0x20) {
	case 'e':
		if (*p == '\'')
			return done(l, string_end(l, p + 1, QUOTING_ESCAPE), TOK_STRING);
		break;
	case 'b':
	case 'x':
		if (*p == '\'')
			return done(l, string_end(l, p + 1, QUOTING_RAW), TOK_STRING);
		break;
	case 'u':
		if (*p != '&' || l->end - p < 2)
			break;
		if (p[1] == '"')
			return done(l, quoted_end(l, p + 2), TOK_UNICODE);
		if (p[1] == '\'') /* an error where standard_conforming_strings is off */
			return done(l, l->backslash ? NULL : string_end(l, p + 2, QUOTING_RAW), TOK_STRING);
		break;
	}
	return done(l, p, TOK_WORD); /* N'…' is a word and a plain literal */
}

enum tok lex_rest(struct lex *l)
{
	const char *p = l->tok;
	char next = l->end - p > 1 ? p[1] : 0;

	switch (CLASS(p)) {
	case LEX_IDENT:
		return next ? lex_prefixed(l) : done(l, p + 1, TOK_WORD);
	case LEX_DOT:
		return CLASS(&next) == LEX_DIGIT ? lex_number(l) : done(l, p + 1, TOK_OTHER);
	case LEX_DIGIT:
		return lex_number(l);
	case LEX_DASH:
		if (next != '-')
			return done(l, p + 1, TOK_OP);
		while (p < l->end && *p != '\n' && *p != '\r')
			p++;
		return done(l, p, TOK_BLANK);
	case LEX_SLASH:
		return next == '*' ? done(l, comment_end(l, p + 2), TOK_BLANK) : done(l, p + 1, TOK_OP);
	case LEX_QUOTE:
		return done(l, string_end(l, p + 1, QUOTING_PLAIN), TOK_STRING);
	case LEX_DQUOTE:
		return done(l, quoted_end(l, p + 1), TOK_QUOTED);
	case LEX_DOLLAR:
		return lex_dollar(l);
	default:
		return done(l, NULL, TOK_BAD);
	}
}

bool lex_same(const char *s, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++) {
		char c = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] | 0x20) : s[i];

		if (c != word[i])
			return false; /* the end of word included: no byte of s is NUL there */
	}
	return !word[n];
}

bool lex_is(const struct lex *l, enum tok t, const char *word)
{
	return t == TOK_WORD && lex_same(l->tok, (size_t)(l->tok_end - l->tok), word);
}

/* What stands between the quotes. Returns which they are. */
static char inside(const struct lex *l, const char **from, const char **to)
{
	const char *p = l->tok;

	while (*p != '\'' && *p != '"' && *p != '$')
		p++;
	if (*p != '$') {
		*from = p + 1;
		*to = l->tok_end - 1;
		return *p;
	}
	*from = (const char *)memchr(p + 1, '$', (size_t)(l->tok_end - p - 1)) + 1;
	*to = l->tok_end - (*from - p);
	return '$';
}

size_t lex_undoubled(const struct lex *l, char *out)
{
	const char *from, *to;
	char quote = inside(l, &from, &to);
	size_t n = 0;

	for (; from < to; from++) {
		out[n++] = *from;
		if (*from == quote && quote != '$' && from + 1 < to && from[1] == quote)
			from++;
	}
	out[n] = 0;
	return n;
}

bool lex_plain(const struct lex *l, enum tok t, char *value, size_t room)
{
	size_t n = (size_t)(l->tok_end - l->tok);
	bool escapes;

	if ((t != TOK_STRING && t != TOK_QUOTED) || n >= room)
		return false;
	escapes = *l->tok == 'e' || *l->tok == 'E';
	if (!escapes && !strchr("'\"$", *l->tok))
		return false;
	if ((escapes || (l->backslash && *l->tok != '$')) && memchr(l->tok, '\\', n))
		return false;
	return lex_undoubled(l, value) > 0;
}

bool lex_name_part(const struct lex *l, enum tok t, char *name, size_t room, size_t *n)
{
	size_t len = (size_t)(l->tok_end - l->tok);

	if ((t != TOK_WORD && t != TOK_QUOTED) || *n + len + 1 >= room)
		return false;
	if (t == TOK_QUOTED) {
		*n += lex_undoubled(l, name + *n);
		return true;
	}
	memcpy(name + *n, l->tok, len);
	*n += len;
	name[*n] = 0;
	return true;
}
