#include "parser/screen.h"

#include "parser/effects.h"
#include "parser/lex.h"

#include <string.h>

#define STARTS(s, n, prefix) ((n) >= sizeof(prefix) - 1 && lex_same(s, sizeof(prefix) - 1, prefix))

static bool contains(const char *s, size_t n, const char *word)
{
	size_t k = strlen(word);

	for (size_t i = 0; i + k <= n; i++)
		if (lex_same(s + i, k, word))
			return true;
	return false;
}

struct named {
	const char *name;
	uint32_t flags;
	uint8_t len;
	bool prefix;
};

#define EXACTLY(name, flags) { name, flags, sizeof(name) - 1, false }
#define PREFIX(name, flags) { name, flags, sizeof(name) - 1, true }

static const struct named functions[] = {
	EXACTLY("set_config", TOUCH_SETTINGS),
	EXACTLY("setseed", TOUCH_SESSION),
	EXACTLY("set_limit", TOUCH_SETTINGS), /* pg_trgm: sets pg_trgm.similarity_threshold */
	EXACTLY("currval", TOUCH_SEQUENCE),
	EXACTLY("lastval", TOUCH_SEQUENCE),
	EXACTLY("dblink_connect", TOUCH_SESSION),
	EXACTLY("dblink_connect_u", TOUCH_SESSION),
	EXACTLY("dblink_disconnect", TOUCH_SESSION),
	PREFIX("query_to_xml", TOUCH_OPAQUE),
	EXACTLY("ts_stat", TOUCH_OPAQUE),
	EXACTLY("ts_rewrite", TOUCH_OPAQUE),
	PREFIX("crosstab", TOUCH_OPAQUE),
	EXACTLY("connectby", TOUCH_OPAQUE),
	EXACTLY("xpath_table", TOUCH_OPAQUE),
};

static const struct named pg_functions[] = {
	PREFIX("pg_advisory_xact_", 0),
	PREFIX("pg_try_advisory_xact_", 0),
	EXACTLY("pg_create_physical_replication_slot", TOUCH_SESSION),
	EXACTLY("pg_create_logical_replication_slot", TOUCH_SESSION),
	EXACTLY("pg_copy_physical_replication_slot", TOUCH_SESSION),
	EXACTLY("pg_copy_logical_replication_slot", TOUCH_SESSION),
	PREFIX("pg_replication_origin_", TOUCH_SESSION),
	EXACTLY("pg_backup_start", TOUCH_SESSION),
	EXACTLY("pg_start_backup", TOUCH_SESSION),
	EXACTLY("pg_prepared_statement", TOUCH_OWN_VIEWS),
	EXACTLY("pg_cursor", TOUCH_OWN_VIEWS),
};

static bool find(const struct named *t, size_t rows, const char *s, size_t n, uint32_t *flags)
{
	for (size_t i = 0; i < rows; i++) {
		if ((*s | 0x20) != *t[i].name || (t[i].prefix ? n < t[i].len : n != t[i].len) ||
		    !lex_same(s, t[i].len, t[i].name))
			continue;
		*flags = t[i].flags;
		return true;
	}
	return false;
}

#define FIND(table, s, n, flags) find(table, sizeof(table) / sizeof(table)[0], s, n, flags)

uint32_t screen_function(const char *name, size_t len)
{
	uint32_t flags = 0;

	if (!STARTS(name, len, "pg_"))
		FIND(functions, name, len, &flags);
	else if (!FIND(pg_functions, name, len, &flags) && contains(name, len, "advisory"))
		flags = TOUCH_LOCK;
	return flags;
}

bool screen_own_view(const char *name, size_t len)
{
	return lex_same(name, len, "pg_prepared_statements") || lex_same(name, len, "pg_cursors");
}

/* Words that matter beside the functions: temporary objects, and views and functions over what pgporter renames. */
static bool pg_word_matters(const char *s, size_t n)
{
	return STARTS(s, n, "pg_temp") || STARTS(s, n, "pg_prepared_statement") || STARTS(s, n, "pg_cursor") ||
	       STARTS(s, n, "pg_listening_channels") || STARTS(s, n, "pg_logical_") || screen_function(s, n);
}

/* Lengths (31: and above) at which a word of this first letter can matter in some way: nearly all words end here. */
#define L(n) (1u << (n))
#define FROM(n) (~0u << (n))
static const uint32_t lengths[256] = {
	['p'] = FROM(4), /* pg_… */
	['s'] = L(5) | L(6) | L(7) | L(9) | L(10), /* stdin, stdout, select, setseed, set_limit, set_config */
	['t'] = L(4) | L(7) | L(9) | L(10),	   /* temp, ts_stat, temporary, ts_rewrite */
	['i'] = L(4) | L(6),			   /* into, insert */
	['m'] = L(5),				   /* merge */
	['c'] = FROM(7),			   /* currval, crosstab…, connectby */
	['l'] = L(7),				   /* lastval */
	['d'] = FROM(14),			   /* dblink_connect… */
	['q'] = FROM(12),			   /* query_to_xml… */
	['x'] = L(11),				   /* xpath_table */
	['u'] = L(6),				   /* update */
};

static inline bool may_matter(const char *s, size_t n)
{
	uint8_t first = (uint8_t)(*s | 0x20);

	return (lengths[first] >> (n < 31 ? n : 31) & 1) && (first != 'p' || s[2] == '_');
}

static bool word_matters(const char *s, size_t n, bool quoted)
{
	if (!n || !may_matter(s, n))
		return false;
	if (STARTS(s, n, "pg_"))
		return pg_word_matters(s, n);
	if (!quoted && (lex_same(s, n, "temp") || lex_same(s, n, "temporary")))
		return true;
	return screen_function(s, n);
}

/* First words of statements that touch nothing unless a word that matters follows. */
enum first {
	FIRST_UNKNOWN,
	FIRST_PLAIN,
	FIRST_INSERT, /* or MERGE: an INTO follows */
	FIRST_UPDATE,
	FIRST_SELECT,
	FIRST_WITH,
	FIRST_COPY,
};

struct first_word {
	const char *word;
	uint8_t len, what;
};

#define FIRST(word, what) { word, sizeof(word) - 1, FIRST_##what }

static const struct first_word first_words[26][5] = {
	['a' - 'a'] = { FIRST("abort", PLAIN), FIRST("analyze", PLAIN), FIRST("analyse", PLAIN) },
	['b' - 'a'] = { FIRST("begin", PLAIN) },
	['c' - 'a'] = { FIRST("commit", PLAIN), FIRST("copy", COPY), FIRST("comment", PLAIN), FIRST("checkpoint", PLAIN),
			FIRST("cluster", PLAIN) },
	['d' - 'a'] = { FIRST("delete", PLAIN) },
	['e' - 'a'] = { FIRST("end", PLAIN) },
	['f' - 'a'] = { FIRST("fetch", PLAIN) },
	['g' - 'a'] = { FIRST("grant", PLAIN) },
	['i' - 'a'] = { FIRST("insert", INSERT) },
	['l' - 'a'] = { FIRST("lock", PLAIN) },
	['m' - 'a'] = { FIRST("move", PLAIN), FIRST("merge", INSERT) },
	['n' - 'a'] = { FIRST("notify", PLAIN) },
	['r' - 'a'] = { FIRST("rollback", PLAIN), FIRST("release", PLAIN), FIRST("revoke", PLAIN), FIRST("reindex", PLAIN) },
	['s' - 'a'] = { FIRST("select", SELECT), FIRST("savepoint", PLAIN), FIRST("start", PLAIN), FIRST("show", PLAIN) },
	['t' - 'a'] = { FIRST("table", PLAIN), FIRST("truncate", PLAIN) },
	['u' - 'a'] = { FIRST("update", UPDATE) },
	['v' - 'a'] = { FIRST("values", PLAIN), FIRST("vacuum", PLAIN) },
	['w' - 'a'] = { FIRST("with", WITH) },
};

/* Letters alone: the case bit can be set without looking. */
static bool same_letters(const char *s, size_t n, const char *letters)
{
	for (size_t i = 0; i < n; i++)
		if ((s[i] | 0x20) != letters[i])
			return false;
	return true;
}

static enum first first_word(const char *s, size_t n)
{
	unsigned letter = (unsigned)((*s | 0x20) - 'a');

	if (letter >= 26)
		return FIRST_UNKNOWN;
	for (const struct first_word *f = first_words[letter]; f < first_words[letter] + 5; f++)
		if (f->len == n && same_letters(s, n, f->word))
			return f->what;
	return FIRST_UNKNOWN;
}

/* Where in a statement the screen is. */
struct place {
	bool started; /* its first word was read */
	bool copy, with, update;
	bool selects;	   /* SELECT was read outside of any bracket */
	bool into_belongs; /* the last word was the INSERT or MERGE that an INTO belongs to */
	int depth;
	enum tok last;
};

/* An INTO that is not INSERT's or MERGE's makes a table. Those two are column names elsewhere: SELECT 1 insert INTO t. */
static bool begins_insert(const struct place *p)
{
	return p->last == TOK_OPEN || (p->last == TOK_CLOSE && p->with && !p->depth && !p->selects);
}

static enum screen_result screen_first_word(struct place *p, const char *s, size_t n)
{
	enum first first = first_word(s, n);

	p->started = true;
	p->copy = first == FIRST_COPY;
	p->with = first == FIRST_WITH;
	p->selects = first == FIRST_SELECT;
	p->update = first == FIRST_UPDATE;
	p->into_belongs = first == FIRST_INSERT;
	return first == FIRST_UNKNOWN ? SCREEN_PARSE : SCREEN_CLEAR;
}

static enum screen_result screen_word(struct place *p, const char *s, size_t n)
{
	bool into_belongs = p->into_belongs;

	if (!p->started)
		return screen_first_word(p, s, n);
	p->into_belongs = false;
	if (!may_matter(s, n))
		return SCREEN_CLEAR;
	switch (*s | 0x20) {
	case 'i':
		if (n == 4 && !into_belongs && lex_same(s, n, "into"))
			return SCREEN_PARSE;
		if (n == 6 && lex_same(s, n, "insert"))
			p->into_belongs = begins_insert(p);
		return SCREEN_CLEAR;
	case 'm':
		if (lex_same(s, n, "merge"))
			p->into_belongs = begins_insert(p);
		return SCREEN_CLEAR;
	case 's':
		if (p->copy && (lex_same(s, n, "stdin") || lex_same(s, n, "stdout")))
			return SCREEN_PARSE;
		if (!p->depth && lex_same(s, n, "select"))
			p->selects = true;
		break;
	case 'u':
		p->update |= lex_same(s, n, "update");
		return SCREEN_CLEAR;
	case 'p':
		if (p->update && lex_same(s, n, "pg_settings"))
			return SCREEN_PARSE;
		break;
	}
	return word_matters(s, n, false) ? SCREEN_PARSE : SCREEN_CLEAR;
}

static bool high_bytes(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((uint8_t)text[i] >= 0x80)
			return true;
	return false;
}

enum screen_result screen_exactly(const char *text, size_t len, unsigned lex_mode)
{
	struct lex l = lex_of(text, len, lex_mode & LEX_BACKSLASH);
	struct place p = { 0 };
	const char *at = text, *tok;
	enum tok t;

	if (len && memchr(text, 0, len))
		return SCREEN_PARSE;
	if ((lex_mode & LEX_UNSAFE_BYTES) && high_bytes(text, len))
		return SCREEN_PARSE;
	while ((t = lex_step(&l, &at, &tok)) != TOK_END) {
		switch (t) {
		case TOK_BAD:
		case TOK_UNICODE:
			return SCREEN_PARSE;
		case TOK_WORD:
			if (screen_word(&p, tok, (size_t)(at - tok)) == SCREEN_PARSE)
				return SCREEN_PARSE;
			break;
		case TOK_SEMI:
			p = (struct place){ 0 };
			break;
		case TOK_OPEN:
			p.into_belongs = false;
			p.depth++;
			break;
		case TOK_CLOSE:
			p.into_belongs = false;
			p.depth--;
			break;
		case TOK_QUOTED:
			if (word_matters(tok + 1, (size_t)(at - tok - 2), true) ||
			    (p.update && lex_same(tok, (size_t)(at - tok), "\"pg_settings\"")))
				return SCREEN_PARSE;
			/* fall through */
		default:
			if (!p.started)
				return SCREEN_PARSE;
			p.into_belongs = false;
		}
		p.last = t;
	}
	return SCREEN_CLEAR;
}

/* --- the same for most texts, by the words that decide, wherever they stand --- */

/* All that screen_exactly() does anything about behind the first word of a statement. Words of strings and comments are taken
 * for words as well, so that how those are read can't hide one. */
void screen_grams(struct grams *g)
{
	static const char *const others[] = { "pg_", "temp", "into", "insert", "merge", ";", "u&\"" };

	*g = (struct grams){ 0 };
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		grams_add(g, others[i], strlen(others[i]));
	for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
		grams_add(g, functions[i].name, functions[i].len);
}

struct sight {
	const char *text, *end;
	const char *into; /* where the INTO of an INSERT or MERGE is expected */
};

enum { NAME_MAX_LEN = 64 }; /* what is longer PostgreSQL cuts */

static size_t run_of_ident(const char *at, const char *end)
{
	size_t n = 0;

	while (n <= NAME_MAX_LEN && end - at > (ptrdiff_t)n && lex_in_ident[(uint8_t)at[n]])
		n++;
	return n;
}

static bool only_blanks(const char *at, const char *end)
{
	while (at < end && lex_class[(uint8_t)*at] == LEX_SPACE)
		at++;
	return at == end;
}

/* What is between quotes may go on behind the word: pg_ is enough. */
static bool name_decides(const struct sight *s, const char *at, size_t n)
{
	if (s->end - at > (ptrdiff_t)n && at[n] == '"')
		return word_matters(at, n, true) || lex_same(at, n, "pg_settings");
	return STARTS(at, n, "pg_") || word_matters(at, n, true);
}

static bool decides(const void *context, const char *at)
{
	const struct sight *s = context;
	size_t n = run_of_ident(at, s->end);
	bool quoted = at > s->text && at[-1] == '"';

	if (n > NAME_MAX_LEN)
		return true;
	switch (*at | 0x20) {
	case ';':
		return !only_blanks(at + 1, s->end);
	case 'u':
		return s->end - at > 2 && at[1] == '&' && at[2] == '"';
	case 'i':
		return at != s->into && (lex_same(at, n, "into") || lex_same(at, n, "insert"));
	case 'm':
		return lex_same(at, n, "merge");
	case 'p':
		if (lex_same(at, n, "pg_settings"))
			return true;
		break;
	}
	return word_matters(at, n, false) || (quoted && name_decides(s, at, n));
}

/* SELECT and a blank, as most statements begin. */
static inline bool begins_select(const char *text, const char *end)
{
	static const char blanks[8] = "      \0", select[8] = "select ";
	uint64_t have, lower, wanted;

	if (end - text < 8)
		return false;
	memcpy(&have, text, 8);
	memcpy(&lower, blanks, 8);
	memcpy(&wanted, select, 8);
	have |= lower;
	return !memcmp(&have, &wanted, 7);
}

/* What follows the first word; NULL: not to be told at sight. */
static const char *behind_first_word(struct sight *s)
{
	struct lex l = lex_of(s->text, (size_t)(s->end - s->text), false);
	enum first first;
	enum tok t;

	if (begins_select(s->text, s->end))
		return s->text + 6;
	do
		t = lex_next(&l);
	while (t == TOK_OPEN || t == TOK_SEMI);
	if (t == TOK_END)
		return s->end;
	first = t == TOK_WORD ? first_word(l.tok, (size_t)(l.tok_end - l.tok)) : FIRST_UNKNOWN;
	if (first == FIRST_UNKNOWN || first == FIRST_COPY)
		return NULL;
	if (first == FIRST_INSERT)
		for (s->into = l.at; s->into < s->end && lex_class[(uint8_t)*s->into] == LEX_SPACE;)
			s->into++;
	return l.at;
}

static bool clear_at_sight(const struct grams *g, const char *text, size_t len)
{
	struct sight s = { .text = text, .end = text + len };
	const char *from = behind_first_word(&s);

	return from && !grams_any(g, text, from, s.end, decides, &s);
}

enum screen_result screen_text(const struct grams *g, const char *text, size_t len, unsigned lex_mode)
{
	if (!(lex_mode & LEX_UNSAFE_BYTES) && len && !memchr(text, 0, len) && clear_at_sight(g, text, len))
		return SCREEN_CLEAR;
	return screen_exactly(text, len, lex_mode);
}

/* One pair of brackets, and how deep a tree what was read in it can make. An estimate from above: chains that lean to
 * the left (1+1+1, a JOIN b JOIN c, x UNION y) or to the right (NOT NOT a) make a tree as deep as they are long. */
struct level {
	uint32_t setops; /* UNION and the like: not ended by commas */
	uint32_t clauses; /* JOIN, CASE, BETWEEN: not ended by AND and OR */
	uint32_t ops;	 /* since the last comma, AND, OR */
	uint32_t child;	 /* deepest bracket since then */
	uint32_t part, done; /* deepest so far: since the last comma, before it */
};

static uint32_t max32(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static void level_and(struct level *v)
{
	v->part = max32(v->part, v->ops + v->child);
	v->ops = v->child = 0;
}

static void level_comma(struct level *v)
{
	level_and(v);
	v->done = max32(v->done, v->clauses + v->part);
	v->clauses = v->part = 0;
}

static uint32_t level_depth(struct level *v)
{
	level_comma(v);
	return v->setops + v->done;
}

static void level_word(struct level *v, const char *s, size_t n)
{
	static const struct {
		const char *word;
		enum { SETOP, CLAUSE, OP, AND } what;
	} words[] = {
		{ "union", SETOP },   { "intersect", SETOP }, { "except", SETOP }, { "join", CLAUSE },
		{ "case", CLAUSE },   { "between", CLAUSE },  { "and", AND },	   { "or", AND },
		{ "not", OP },	      { "is", OP },	      { "isnull", OP },	   { "notnull", OP },
		{ "like", OP },	      { "ilike", OP },	      { "similar", OP },   { "in", OP },
		{ "collate", OP },    { "at", OP },	      { "operator", OP },  { "overlaps", OP },
		{ "escape", OP },     { "explain", OP },      { "uescape", OP },   { "distinct", OP },
	};

	if (n < 2 || n > 9)
		return;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (!lex_same(s, n, words[i].word))
			continue;
		switch (words[i].what) {
		case SETOP:
			level_comma(v);
			v->setops++;
			break;
		case CLAUSE:
			v->clauses += 2;
			break;
		case OP:
			v->ops++;
			break;
		case AND:
			level_and(v);
			break;
		}
		return;
	}
}

/* A bracket may hold a sub-select, which makes several nodes one below the other. */
enum { BRACKET_DEPTH = 4 };

static const char *too_deep(struct lex *l)
{
	struct level levels[BOUND_BRACKETS + 1] = { 0 };
	size_t top = 0, tokens = 0;
	uint32_t depth;
	enum tok t;

	while ((t = lex_next(l)) != TOK_END) {
		if (++tokens > BOUND_TOKENS)
			return "more tokens than are parsed";
		switch (t) {
		case TOK_BAD:
			return "not readable as SQL";
		case TOK_OPEN:
			if (++top > BOUND_BRACKETS)
				return "brackets nested too deeply";
			levels[top] = (struct level){ 0 };
			break;
		case TOK_CLOSE:
			depth = level_depth(&levels[top]) + BRACKET_DEPTH;
			if (depth > BOUND_DEPTH)
				return "nested too deeply";
			if (top)
				top--;
			levels[top].child = max32(levels[top].child, depth);
			break;
		case TOK_COMMA:
			level_comma(&levels[top]);
			break;
		case TOK_SEMI:
			if (top) { /* statements of a rule */
				level_comma(&levels[top]);
				break;
			}
			if (level_depth(&levels[0]) > BOUND_DEPTH)
				return "nested too deeply";
			levels[0] = (struct level){ 0 };
			break;
		case TOK_OP:
			levels[top].ops++;
			break;
		case TOK_WORD:
			level_word(&levels[top], l->tok, (size_t)(l->tok_end - l->tok));
			break;
		default:
			break;
		}
	}
	for (depth = level_depth(&levels[top]); top--; depth = level_depth(&levels[top]))
		levels[top].child = max32(levels[top].child, depth + BRACKET_DEPTH);
	return depth > BOUND_DEPTH ? "nested too deeply" : NULL;
}

/* libpg_query's scanner reads such a run again from each operator and each comment in it. */
static bool long_operator_run(const char *text, size_t len)
{
	static const uint8_t op[256] = {
		['~'] = 1, ['!'] = 1, ['@'] = 1, ['#'] = 1, ['^'] = 1, ['&'] = 1, ['|'] = 1, ['`'] = 1, ['?'] = 1,
		['+'] = 1, ['-'] = 1, ['*'] = 1, ['/'] = 1, ['%'] = 1, ['<'] = 1, ['>'] = 1, ['='] = 1,
	};
	size_t run = 0;

	for (size_t i = 0; i < len; i++) {
		run = op[(uint8_t)text[i]] ? run + 1 : 0;
		if (run > BOUND_OPERATOR_RUN)
			return true;
	}
	return false;
}

const char *screen_beyond_bounds(const char *text, size_t len, unsigned lex_mode)
{
	struct lex l = lex_of(text, len, lex_mode & LEX_BACKSLASH);

	if (len > BOUND_BYTES)
		return "longer than is parsed";
	if (len && memchr(text, 0, len))
		return "holds a NUL byte";
	if ((lex_mode & LEX_UNSAFE_BYTES) && high_bytes(text, len))
		return "bytes beyond ASCII in an encoding where they hide others";
	if (long_operator_run(text, len))
		return "too many operator characters in a row";
	return too_deep(&l);
}

