#include "parser/lex.h"

#include <string.h>

enum {
	C_OTHER,
	C_SPACE,
	C_IDENT, /* letters, underscore, bytes from 0x80 */
	C_DIGIT,
	C_OP,
	C_OPEN,
	C_CLOSE,
	C_COMMA,
	C_SEMI,
	C_DOT,
	C_QUOTE,
	C_DQUOTE,
	C_DOLLAR,
	C_BAD,
};

static const uint8_t class_of[256] = {
	[' '] = C_SPACE, ['\t'] = C_SPACE, ['\n'] = C_SPACE, ['\r'] = C_SPACE, ['\f'] = C_SPACE,
	['A' ... 'Z'] = C_IDENT, ['a' ... 'z'] = C_IDENT, ['_'] = C_IDENT, [0x80 ... 0xff] = C_IDENT,
	['0' ... '9'] = C_DIGIT,
	['~'] = C_OP, ['!'] = C_OP, ['@'] = C_OP, ['#'] = C_OP, ['^'] = C_OP, ['&'] = C_OP, ['|'] = C_OP, ['`'] = C_OP,
	['?'] = C_OP, ['+'] = C_OP, ['-'] = C_OP, ['*'] = C_OP, ['/'] = C_OP, ['%'] = C_OP, ['<'] = C_OP, ['>'] = C_OP,
	['='] = C_OP, [':'] = C_OP,
	['('] = C_OPEN, ['['] = C_OPEN, [')'] = C_CLOSE, [']'] = C_CLOSE,
	[','] = C_COMMA, [';'] = C_SEMI, ['.'] = C_DOT, ['\''] = C_QUOTE, ['"'] = C_DQUOTE, ['$'] = C_DOLLAR,
	/* A vertical tab is a blank from PostgreSQL 16 on and an error before. */
	[0] = C_BAD, ['\v'] = C_BAD,
};

/* Bytes that continue an identifier: letters, digits, underscore, dollar, high bytes. */
static const uint8_t in_ident[256] = {
	['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['_'] = 1, [0x80 ... 0xff] = 1, ['0' ... '9'] = 1, ['$'] = 1,
};

#define CLASS(p) class_of[(uint8_t)*(p)]
#define IN_IDENT(p) in_ident[(uint8_t)*(p)]

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
		if (CLASS(p) == C_SPACE) {
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
			l->escaped |= quoting == QUOTING_PLAIN;
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

	if (p < l->end && CLASS(p) == C_DIGIT) {
		while (p < l->end && CLASS(p) == C_DIGIT)
			p++;
		return done(l, p < l->end && CLASS(p) == C_IDENT ? NULL : p, TOK_PARAM);
	}
	if (p < l->end && CLASS(p) == C_IDENT)
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
	while (p < end && CLASS(p) == C_DIGIT)
		p++;
	return p;
}

/* 1_000 and 0x1f are numbers from PostgreSQL 16 on and a number with an alias before: both harmless, if nothing
 * follows that could belong to the one and not to the other. */
static const char *newer_number(const char *tok, const char *p, const char *end)
{
	if (*tok == '0' && p == tok + 1 && strchr("xXoObB", *p)) {
		p++;
		while (p < end && (CLASS(p) == C_DIGIT || (*p >= 'a' && *p <= 'f') || (*p >= 'A' && *p <= 'F') || *p == '_'))
			p++;
	} else {
		while (p < end && (CLASS(p) == C_DIGIT || *p == '_'))
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
		if (e == l->end || CLASS(e) != C_DIGIT)
			return done(l, NULL, TOK_BAD);
		p = digits(e, l->end);
	}
	if (p < l->end && CLASS(p) == C_IDENT)
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

enum tok lex_next(struct lex *l)
{
	const char *p = l->at, *end = l->end;

	for (;;) {
		if (p == end) {
			l->tok = p;
			return done(l, p, TOK_END);
		}
		l->tok = p;
		switch (CLASS(p)) {
		case C_SPACE:
			p++;
			continue;
		case C_IDENT:
			do
				p++;
			while (p < end && IN_IDENT(p));
			if (p == l->tok + 1 && p < end && (*p == '\'' || *p == '&'))
				return lex_prefixed(l);
			return done(l, p, TOK_WORD);
		case C_OP:
			if (end - p > 1 && p[0] == '-' && p[1] == '-') {
				while (p < end && *p != '\n' && *p != '\r')
					p++;
				continue;
			}
			if (end - p > 1 && p[0] == '/' && p[1] == '*') {
				p = comment_end(l, p + 2);
				if (!p)
					return done(l, NULL, TOK_BAD);
				continue;
			}
			return done(l, p + 1, TOK_OP);
		case C_COMMA:
			return done(l, p + 1, TOK_COMMA);
		case C_OPEN:
			return done(l, p + 1, TOK_OPEN);
		case C_CLOSE:
			return done(l, p + 1, TOK_CLOSE);
		case C_SEMI:
			return done(l, p + 1, TOK_SEMI);
		case C_DOT:
			if (end - p > 1 && CLASS(p + 1) == C_DIGIT)
				return lex_number(l);
			return done(l, p + 1, TOK_OTHER);
		case C_DIGIT:
			return lex_number(l);
		case C_QUOTE:
			return done(l, string_end(l, p + 1, QUOTING_PLAIN), TOK_STRING);
		case C_DQUOTE:
			return done(l, quoted_end(l, p + 1), TOK_QUOTED);
		case C_DOLLAR:
			return lex_dollar(l);
		case C_BAD:
			return done(l, NULL, TOK_BAD);
		default:
			return done(l, p + 1, TOK_OTHER);
		}
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
