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
static const char *const first_words[26][5] = {
	['a' - 'a'] = { "abort", "analyze", "analyse" },
	['b' - 'a'] = { "begin" },
	['c' - 'a'] = { "commit", "copy", "comment", "checkpoint", "cluster" },
	['d' - 'a'] = { "delete" },
	['e' - 'a'] = { "end" },
	['f' - 'a'] = { "fetch" },
	['g' - 'a'] = { "grant" },
	['i' - 'a'] = { "insert" },
	['l' - 'a'] = { "lock" },
	['m' - 'a'] = { "move", "merge" },
	['n' - 'a'] = { "notify" },
	['r' - 'a'] = { "rollback", "release", "revoke", "reindex" },
	['s' - 'a'] = { "select", "savepoint", "start", "show" },
	['t' - 'a'] = { "table", "truncate" },
	['u' - 'a'] = { "update" },
	['v' - 'a'] = { "values", "vacuum" },
	['w' - 'a'] = { "with" },
};

static bool first_word_harmless(const char *s, size_t n)
{
	unsigned letter = (unsigned)((*s | 0x20) - 'a');

	if (letter >= 26)
		return false;
	for (size_t i = 0; i < 5 && first_words[letter][i]; i++)
		if (lex_same(s, n, first_words[letter][i]))
			return true;
	return false;
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
	if (!first_word_harmless(s, n))
		return SCREEN_PARSE;
	p->started = true;
	p->copy = lex_same(s, n, "copy");
	p->with = lex_same(s, n, "with");
	p->selects = lex_same(s, n, "select");
	p->update = lex_same(s, n, "update");
	p->into_belongs = lex_same(s, n, "insert") || lex_same(s, n, "merge");
	return SCREEN_CLEAR;
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

enum screen_result screen_text(const char *text, size_t len, unsigned lex_mode)
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

