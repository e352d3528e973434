/* Places in a text that PostgreSQL's tree tells the beginning of, and nothing else. */
#include "parser/effects_internal.h"

#include <string.h>

static bool begin(struct lex *l, const char *text, size_t len, bool backslash, int location)
{
	if (location < 0 || (size_t)location >= len)
		return false;
	*l = lex_of(text + location, len - (size_t)location, backslash);
	return true;
}

static bool is_name(enum tok t)
{
	return t == TOK_WORD || t == TOK_QUOTED || t == TOK_UNICODE;
}

/* Behind the bracket that opens a call's arguments. */
static bool enter_call(struct lex *l)
{
	enum tok t = lex_next(l);

	while (is_name(t)) {
		t = lex_next(l);
		if (t == TOK_OPEN)
			return *l->tok == '(';
		if (t != TOK_OTHER || *l->tok != '.')
			return false;
		t = lex_next(l);
	}
	return false;
}

bool effects_find_call(const char *text, size_t len, bool backslash, int location, size_t *end)
{
	struct lex l;

	if (!begin(&l, text, len, backslash, location) || !enter_call(&l) || lex_next(&l) != TOK_CLOSE)
		return false;
	*end = (size_t)(l.tok_end - text);
	return true;
}

/* name => or name := ; l is behind the name, and is moved behind it all where that is so. */
static bool is_named(struct lex *l)
{
	struct lex next = *l;
	bool arrow;

	if (lex_next(&next) != TOK_OP || (*next.tok != '=' && *next.tok != ':'))
		return false;
	arrow = *next.tok == '=';
	if (lex_next(&next) != TOK_OP || *next.tok != (arrow ? '>' : '='))
		return false;
	*l = next;
	return true;
}

static bool names(const struct lex *l, enum tok t, const char *name)
{
	size_t n = strlen(name);

	if (t == TOK_QUOTED)
		return (size_t)(l->tok_end - l->tok) == n + 2 && !memcmp(l->tok + 1, name, n);
	return lex_is(l, t, name);
}

/* An argument up to the comma or bracket behind it; l is before its first token. */
static bool take_argument(struct lex *l, const char **from, const char **to, bool *last)
{
	int depth = 0;
	enum tok t;

	*from = *to = NULL;
	for (;;) {
		t = lex_next(l);
		if (t == TOK_END || t == TOK_BAD || t == TOK_SEMI)
			return false;
		if (!depth && (t == TOK_COMMA || t == TOK_CLOSE))
			break;
		depth += (t == TOK_OPEN) - (t == TOK_CLOSE);
		if (!*from)
			*from = l->tok;
		*to = l->tok_end;
	}
	*last = t == TOK_CLOSE;
	return *from;
}

bool effects_find_argument(const char *text, size_t len, bool backslash, int location, size_t place, const char *name, size_t *at, size_t *end)
{
	const char *from, *to;
	bool last = false;
	struct lex l;

	if (!begin(&l, text, len, backslash, location) || !enter_call(&l))
		return false;
	for (size_t i = 0; !last; i++) {
		struct lex inside = l;
		enum tok t = lex_next(&inside);
		bool named = is_name(t), wanted = i == place;

		if (named) {
			bool same = names(&inside, t, name);

			named = is_named(&inside);
			if (named) {
				wanted = same;
				l = inside;
			}
		}
		if (!take_argument(&l, &from, &to, &last))
			return false;
		if (!wanted)
			continue;
		*at = (size_t)(from - text);
		*end = (size_t)(to - text);
		return true;
	}
	return false;
}

/* Words that no expression goes on with. */
static bool ends_item(const struct lex *l, enum tok t)
{
	static const char *const words[] = { "from", "into", "where", "group", "having", "window", "order", "limit", "offset", "fetch", "for",
					     "union", "intersect", "except" };

	for (size_t i = 0; t == TOK_WORD && i < sizeof words / sizeof *words; i++)
		if (lex_is(l, t, words[i]))
			return true;
	return t == TOK_COMMA || t == TOK_SEMI || t == TOK_END;
}

bool effects_find_item(const char *text, size_t len, bool backslash, int location, size_t *end)
{
	const char *to = NULL;
	int depth = 0;
	struct lex l;
	enum tok t;

	if (!begin(&l, text, len, backslash, location))
		return false;
	while ((t = lex_next(&l)) != TOK_BAD) {
		depth += (t == TOK_OPEN) - (t == TOK_CLOSE);
		if (depth < 0 || (!depth && ends_item(&l, t)))
			break;
		if (t == TOK_END)
			return false;
		to = l.tok_end;
	}
	if (t == TOK_BAD || !to)
		return false;
	*end = (size_t)(to - text);
	return true;
}

size_t effects_skip_from(const char *text, size_t len, bool backslash, size_t at, bool rows_from, bool ordinality)
{
	struct lex l = lex_of(text + at, len - at, backslash), next;

	if (rows_from && lex_next(&l) != TOK_CLOSE)
		return at;
	next = l;
	if (ordinality && lex_is(&next, lex_next(&next), "with") && lex_is(&next, lex_next(&next), "ordinality"))
		l = next;
	return (size_t)(l.tok_end - text);
}
