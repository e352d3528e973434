/* What running a text does to its session, as far as can be read from it. It is lexed as SQL, whatever language it is in:
 * where that fails it is read on behind the byte that made it fail. */
#include "parser/watch_internal.h"

#include "parser/effects.h"
#include "parser/screen.h"

#include <stdlib.h>
#include <string.h>

enum {
	LEVELS = 2,	/* of literals in literals that are looked into */
	RESTARTS = 256, /* behind what is not SQL, such as a comment in another language */
	NAME_ROOM = 128,
};

struct reading {
	const struct watch *w;
	const struct watch_text *t;
	struct watch_effect *always;
	struct watch_effect written; /* done only where something is written */
	bool writes, any_relation;
	unsigned restarts, level;
};

/* A token with what stood before it. */
struct at {
	struct lex l;
	enum tok t;
	const char *word, *before; /* of the last two words or names; "" before anything else */
	size_t word_len, before_len;
	bool begins; /* a statement may begin here */
};

static bool is_body(const struct reading *r)
{
	return r->t->kind >= WATCH_SQL;
}

static void read_code(struct reading *r, const char *code, size_t len);

/* --- literals and arguments --- */

/* A token whose value is plain to see. */
static bool plain_token(const struct reading *r, const struct lex *l, enum tok t, char name[static NAME_ROOM])
{
	return (t == TOK_STRING || r->t->kind == WATCH_FOREIGN) && lex_plain(l, t, name, NAME_ROOM);
}

/* l is at a string. Moves on to one that || joins to it, if that is what follows. */
static bool joined(struct lex *l)
{
	struct lex next = *l;

	if (lex_next(&next) != TOK_OP || *next.tok != '|' || lex_next(&next) != TOK_OP || *next.tok != '|' ||
	    lex_next(&next) != TOK_STRING)
		return false;
	*l = next;
	return true;
}

/* l is behind an opening bracket, and then at its argument number n, from 1. */
static bool argument_at(struct lex *l, int n)
{
	int depth = 0;
	enum tok t;

	while (n > 1) {
		t = lex_next(l);
		depth += (t == TOK_OPEN) - (t == TOK_CLOSE);
		if (t == TOK_END || t == TOK_BAD || depth < 0)
			return false;
		n -= t == TOK_COMMA && !depth;
	}
	return true;
}

/* The parameter is what the caller gave it: the body does nothing with it but hand it on. */
static bool handed_on(const struct reading *r, const struct watch_word *name)
{
	struct lex l = lex_of(r->t->text, r->t->len, r->t->lex_mode & LEX_BACKSLASH);
	enum tok t, last = TOK_SEMI;
	bool seen = false;

	while ((t = lex_next(&l)) != TOK_END && t != TOK_BAD) {
		if (seen && t != TOK_COMMA && t != TOK_CLOSE && !(t == TOK_OP && *l.tok == ':' && l.at < l.end && *l.at == ':'))
			return false;
		seen = false;
		if (t == TOK_WORD || t == TOK_QUOTED) {
			struct watch_word word = watch_fold_token(&l, t);

			seen = word.len == name->len && !memcmp(word.text, name->text, word.len);
			if (seen && last != TOK_COMMA && last != TOK_OPEN)
				return false;
		}
		last = t;
	}
	return t == TOK_END;
}

static int parameter(const struct reading *r, const struct lex *l, enum tok t)
{
	struct watch_word word;

	if (r->level || r->t->kind == WATCH_FOREIGN)
		return 0;
	if (t == TOK_PARAM)
		return l->tok_end - l->tok < 6 ? atoi(l->tok + 1) : 0;
	if (t != TOK_WORD && t != TOK_QUOTED)
		return 0;
	word = watch_fold_token(l, t);
	for (size_t i = 0; i < r->t->n_params; i++) {
		struct watch_word param = watch_fold(r->t->params[i] ? r->t->params[i] : "", r->t->params[i] ? strlen(r->t->params[i]) : 0, true);

		if (param.len && param.len == word.len && !memcmp(param.text, word.text, word.len))
			return handed_on(r, &word) ? (int)i + 1 : 0;
	}
	return 0;
}

/* Behind an argument that is one token, and a cast that leaves a text as it is. */
static bool argument_ends(struct lex *l)
{
	enum tok t = lex_next(l);

	if (t == TOK_OP && *l->tok == ':') {
		t = lex_next(l);
		if (t != TOK_OP || *l->tok != ':' || lex_next(l) != TOK_WORD)
			return false;
		t = lex_next(l);
	}
	return t == TOK_COMMA || t == TOK_CLOSE;
}

/* The same of literals joined by ||, at the last of which l then is. */
static bool plain_literal(const struct reading *r, struct lex *l, enum tok t, char name[static NAME_ROOM])
{
	char more[NAME_ROOM];
	struct lex first = *l;

	if (!plain_token(r, l, t, name))
		return false;
	while (joined(l)) {
		if (!plain_token(r, l, TOK_STRING, more) || strlen(name) + strlen(more) >= NAME_ROOM) {
			*l = first;
			return false;
		}
		strcat(name, more);
	}
	return true;
}

/* Whatever argument number n of a call names is set. l is behind the opening bracket. */
static void argument_sets(struct reading *r, struct lex l, int n, bool local)
{
	char name[NAME_ROOM];
	enum tok t;
	int param;
	bool literal;

	if (!argument_at(&l, n))
		goto computed;
	t = lex_next(&l);
	param = parameter(r, &l, t);
	literal = plain_literal(r, &l, t, name);
	if (!argument_ends(&l))
		goto computed;
	if (literal)
		watch_effect_setting(r->always, name, 0, 0, local);
	else if (param && is_body(r))
		watch_effect_setting(r->always, NULL, param, 0, local);
	else if (param && r->t->kind == WATCH_STATEMENT)
		watch_effect_setting(r->always, NULL, 0, param, local);
	else
		goto computed;
	return;
computed:
	if (local)
		watch_effect_setting(r->always, NULL, 0, 0, true);
	else
		r->always->flags |= TOUCH_SETTINGS_UNKNOWN;
}

static void read_set_config(struct reading *r, struct lex l)
{
	struct lex third = l;
	enum tok t;
	bool local = false;

	if (argument_at(&third, 3)) {
		t = lex_next(&third);
		local = lex_is(&third, t, "true") && lex_next(&third) == TOK_CLOSE;
	}
	argument_sets(r, l, 1, local);
}

/* --- words that the set knows --- */

static void called(struct reading *r, const struct watch_effect *e, const struct lex *call)
{
	r->always->flags |= e->flags & ~(uint32_t)(TOUCH_SETTINGS | TOUCH_LOCAL);
	for (size_t i = 0; i < e->n_settings; i++) {
		const struct watch_setting *s = &e->settings[i];

		if (!s->arg)
			watch_effect_setting(r->always, s->name, 0, 0, s->local);
		else if (call)
			argument_sets(r, *call, s->arg, s->local);
		else
			r->always->flags |= s->local ? 0 : TOUCH_SETTINGS_UNKNOWN;
	}
}

/* call: behind the bracket that follows; NULL: none does. */
static void known_word(struct reading *r, const struct watch_word *word, const struct lex *call)
{
	const struct watched *e = watch_lookup(r->w, word);

	if (!e)
		return;
	if (call || r->t->kind == WATCH_DEFINITION)
		called(r, &e->does[WATCH_CALLED], call);
	watch_effect_merge(r->always, &e->does[WATCH_NAMED]);
	watch_effect_merge(&r->written, &e->does[WATCH_WRITTEN]);
}

static void known_operators(struct reading *r, const struct lex *l)
{
	size_t longest = watch_longest_operator(r->w);
	const char *from = l->tok, *to = l->tok_end;

	while (to < l->end && (lex_class[(uint8_t)*to] == TOK_OP || *to == '-' || *to == '/'))
		to++;
	for (size_t n = 1; n <= longest && n <= (size_t)(to - from); n++) {
		struct watch_word word = watch_fold(from, n, true);

		known_word(r, &word, NULL);
	}
}

/* --- statements in bodies --- */

static bool word_is(const char *s, size_t n, const char *word)
{
	return lex_same(s, n, word);
}

static bool any_of(const char *s, size_t n, const char *const *words)
{
	for (; *words; words++)
		if (word_is(s, n, *words))
			return true;
	return false;
}

/* A name that is set by words of its own. NULL: none of them. */
static const char *name_in_words(struct lex *l, enum tok t)
{
	if (lex_is(l, t, "role"))
		return "role";
	if (lex_is(l, t, "authorization"))
		return "session_authorization";
	if (lex_is(l, t, "names"))
		return "client_encoding";
	if (lex_is(l, t, "schema"))
		return "search_path";
	if (lex_is(l, t, "time"))
		return lex_is(l, lex_next(l), "zone") ? "timezone" : NULL;
	if (lex_is(l, t, "xml"))
		return lex_is(l, lex_next(l), "option") ? "xmloption" : NULL;
	return NULL;
}

static void set_by_name(struct reading *r, const char *name, bool local)
{
	if (name)
		watch_effect_setting(r->always, name, 0, 0, local);
	else if (local)
		watch_effect_setting(r->always, NULL, 0, 0, true);
	else
		r->always->flags |= TOUCH_SETTINGS_UNKNOWN;
}

/* a or a.b.c; l is behind its first part. Returns the token behind, TOK_BAD where there is no name. */
static enum tok dotted(struct lex *l, enum tok t, char *name)
{
	size_t n = 0;

	if (!lex_name_part(l, t, name, NAME_ROOM, &n))
		return TOK_BAD;
	while ((t = lex_next(l)) == TOK_OTHER && *l->tok == '.') {
		if (n + 1 < NAME_ROOM)
			name[n++] = '.';
		t = lex_next(l);
		if (!lex_name_part(l, t, name, NAME_ROOM, &n))
			return TOK_BAD;
	}
	return t;
}

/* l is behind SET, which begins a statement. What a literal doesn't tell to its end is put together with something else. */
static void read_set(struct reading *r, struct lex l)
{
	char name[NAME_ROOM];
	enum tok t = lex_next(&l);
	bool local = lex_is(&l, t, "local");
	const char *words;

	if (local || lex_is(&l, t, "session")) {
		t = lex_next(&l);
		if (lex_is(&l, t, "characteristics")) {
			r->always->flags |= TOUCH_LISTED;
			return;
		}
	}
	if (lex_is(&l, t, "transaction") || lex_is(&l, t, "constraints"))
		return;
	if (lex_is(&l, t, "session"))
		t = lex_next(&l);
	words = name_in_words(&l, t);
	if (words) {
		set_by_name(r, words, local);
		return;
	}
	t = dotted(&l, t, name);
	if ((t == TOK_OP && (*l.tok == '=' || *l.tok == ':')) || lex_is(&l, t, "to") || lex_is(&l, t, "from"))
		set_by_name(r, name, local);
	else if (r->level && (t == TOK_END || t == TOK_BAD || t == TOK_OP))
		set_by_name(r, NULL, local);
}

static void read_reset(struct reading *r, struct lex l)
{
	char name[NAME_ROOM];
	enum tok t = lex_next(&l);
	const char *words;

	if (lex_is(&l, t, "session"))
		t = lex_next(&l);
	words = name_in_words(&l, t);
	if (words) {
		set_by_name(r, words, false);
	} else if (lex_is(&l, t, "all")) {
		r->always->flags |= TOUCH_LISTED;
	} else if (dotted(&l, t, name) != TOK_BAD) {
		set_by_name(r, name, false);
		if (r->level) /* which may be the beginning of one */
			r->always->flags |= TOUCH_LISTED;
	} else {
		set_by_name(r, NULL, false);
	}
}

/* format()'s pattern gives nothing but names and literals, and no name of a function. */
static bool format_safe(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != '%')
			continue;
		while (++i < n && (strchr("0123456789$-*", p[i])))
			;
		if (i == n || !strchr("IL%", p[i]))
			return false;
		if (p[i] != 'I')
			continue;
		while (i + 1 < n && lex_class[(uint8_t)p[i + 1]] == LEX_SPACE)
			i++;
		if (i + 1 < n && p[i + 1] == '(')
			return false;
	}
	return true;
}

static bool skip_call(struct lex *l)
{
	int depth = 1;

	while (depth) {
		enum tok t = lex_next(l);

		if (t == TOK_END || t == TOK_BAD)
			return false;
		depth += (t == TOK_OPEN) - (t == TOK_CLOSE);
	}
	return true;
}

/* quote_ident(…), quote_literal(…), format('…', …). l is behind the name. */
static bool safe_call(struct reading *r, struct lex *l, const char *name, size_t n, bool *named)
{
	static const char *const quoting[] = { "quote_literal", "quote_nullable", "quote_ident", NULL };
	bool format = word_is(name, n, "format");
	struct lex pattern;
	enum tok t;

	if (lex_next(l) != TOK_OPEN || !(format || any_of(name, n, quoting)))
		return false;
	*named = word_is(name, n, "quote_ident");
	pattern = *l;
	if (format) {
		t = lex_next(&pattern);
		if (t != TOK_STRING || !format_safe(pattern.tok, (size_t)(pattern.tok_end - pattern.tok)) ||
		    !argument_ends(&pattern))
			return false;
		r->any_relation |= memmem(l->at, (size_t)(pattern.tok_end - l->at), "%I", 2) ||
				   memmem(l->at, (size_t)(pattern.tok_end - l->at), "$I", 2);
	}
	r->any_relation |= *named;
	return skip_call(l);
}

static bool opens_bracket(const struct lex *l)
{
	const char *p = l->tok + (*l->tok == '\'');

	while (p < l->tok_end && lex_class[(uint8_t)*p] == LEX_SPACE)
		p++;
	return *p == '(';
}

/* Is all that EXECUTE is given literal, or quoted into one? Literals themselves are read where they stand. */
static bool execute_safe(struct reading *r, struct lex l)
{
	static const char *const ends[] = { "into", "using", "loop", NULL };
	bool operand = true, named = false;
	int depth = 0;
	enum tok t;

	for (;;) {
		t = lex_next(&l);
		if (t == TOK_OPEN && operand) {
			depth++;
		} else if (t == TOK_STRING && operand) {
			if (named && opens_bracket(&l))
				return false;
			operand = named = false;
		} else if (t == TOK_WORD && operand) {
			const char *name = l.tok;
			size_t n = (size_t)(l.tok_end - l.tok);

			if (lex_is(&l, t, "pg_catalog")) {
				if (lex_next(&l) != TOK_OTHER || lex_next(&l) != TOK_WORD)
					return false;
				name = l.tok;
				n = (size_t)(l.tok_end - l.tok);
			}
			if (!safe_call(r, &l, name, n, &named))
				return false;
			operand = false;
		} else if (t == TOK_CLOSE && !operand && depth) {
			depth--;
		} else if (t == TOK_OP && *l.tok == '|' && !operand) {
			if (lex_next(&l) != TOK_OP || *l.tok != '|')
				return false;
			operand = true;
		} else if (!operand && !depth &&
			   (t == TOK_SEMI || t == TOK_END || (t == TOK_WORD && any_of(l.tok, (size_t)(l.tok_end - l.tok), ends)))) {
			return true;
		} else {
			return false;
		}
	}
}

/* plpgsql's EXECUTE; elsewhere in a literal it is SQL's, of a statement that something has prepared. */
static void read_execute(struct reading *r, const struct at *at)
{
	struct lex next = at->l;
	enum tok t = lex_next(&next);

	if (lex_is(&next, t, "function") || lex_is(&next, t, "procedure") || lex_is(&next, t, "on")) /* a trigger; GRANT */
		return;
	if (r->level ? at->begins : r->t->kind == WATCH_PLPGSQL && !execute_safe(r, at->l))
		r->always->flags |= TOUCH_OPAQUE;
}

/* Functions by which other languages run SQL: what is handed to them has to be a literal. */
static void read_foreign_call(struct reading *r, const struct at *at)
{
	static const char *const runs[] = { "execute",	      "prepare",      "cursor",	     "spi_exec_query", "spi_query",
					    "spi_prepare",    "spi_exec",     "spi_execp",   "spi_exec_prepared", "spi_query_prepared",
					    "pg_spi_exec", NULL };
	struct lex l = at->l;
	enum tok t;

	if (r->level || !any_of(at->word, at->word_len, runs) || lex_next(&l) != TOK_OPEN)
		return;
	t = lex_next(&l);
	if ((t != TOK_STRING && t != TOK_QUOTED) || !argument_ends(&l))
		r->always->flags |= TOUCH_OPAQUE;
}

/* What a procedural language keeps for itself between two calls. */
static bool language_global(const struct at *at)
{
	static const char *const names[] = { "SD", "GD", "_SHARED" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (at->word_len == strlen(names[i]) && !memcmp(at->word, names[i], at->word_len))
			return at->l.at < at->l.end && strchr("[{.(", *at->l.at);
	return false;
}

static void read_beginning(struct reading *r, const struct at *at)
{
	static const char *const ends[] = { "drop", "close", "unlisten", "move", NULL };
	static const char *const opaque[] = { "prepare", "deallocate", "discard", NULL };
	const char *s = at->word;
	size_t n = at->word_len;
	struct lex next = at->l;

	if (word_is(s, n, "set"))
		read_set(r, at->l);
	else if (word_is(s, n, "reset"))
		read_reset(r, at->l);
	else if (word_is(s, n, "listen"))
		r->always->flags |= TOUCH_LISTEN;
	else if (word_is(s, n, "load"))
		r->always->flags |= TOUCH_SESSION;
	else if (any_of(s, n, ends))
		r->always->flags |= TOUCH_DROP;
	else if (any_of(s, n, opaque) && !lex_is(&next, lex_next(&next), "transaction"))
		r->always->flags |= TOUCH_OPAQUE | TOUCH_DROP;
}

static void read_made(struct reading *r, const struct at *at)
{
	static const char *const creates[] = { "create", "replace", "local", "global", "into", NULL };
	static const char *const kinds[] = { "function", "procedure", "trigger", "view", "rule", "policy", "aggregate", "operator",
					     "domain", "cast", NULL };
	bool begins = (!at->before_len && r->level) || any_of(at->before, at->before_len, creates);

	if (begins && (word_is(at->word, at->word_len, "temp") || word_is(at->word, at->word_len, "temporary")))
		r->always->flags |= TOUCH_TEMP;
	if (at->word_len >= 7 && lex_same(at->word, 7, "pg_temp"))
		r->always->flags |= TOUCH_TEMP;
	if (word_is(at->word, at->word_len, "hold") && word_is(at->before, at->before_len, "with"))
		r->always->flags |= TOUCH_CURSOR;
	if (any_of(at->word, at->word_len, kinds) && (any_of(at->before, at->before_len, creates) || word_is(at->before, at->before_len, "alter")))
		r->always->flags |= TOUCH_CATALOGUE;
}

/* Functions of PostgreSQL's own and of its extensions. */
static void read_function(struct reading *r, const struct watch_word *word, const struct lex *call)
{
	uint32_t flags = word->len ? screen_function(word->text, word->len) : 0;

	if (!call && r->t->kind != WATCH_DEFINITION)
		return;
	if (!(flags & TOUCH_SETTINGS))
		r->always->flags |= flags;
	else if (strcmp(word->text, "set_config"))
		watch_effect_setting(r->always, "pg_trgm.similarity_threshold", 0, 0, false);
	else if (call)
		read_set_config(r, *call);
	else
		r->always->flags |= TOUCH_SETTINGS_UNKNOWN;
}

static bool word_writes(const struct watch_word *word)
{
	static const char *const words[] = { "insert", "update",  "delete",  "merge",	"copy",	   "truncate", "alter", "create",
					     "vacuum", "analyze", "reindex", "cluster", "refresh", "import",   NULL };

	return any_of(word->text, word->len, words);
}

static void read_word(struct reading *r, struct at *at)
{
	struct watch_word word;
	struct lex next = at->l;
	bool call = lex_next(&next) == TOK_OPEN;

	if (at->t != TOK_UNICODE) {
		word = watch_fold_token(&at->l, at->t);
	} else if (!watch_fold_unicode(&at->l, &word)) { /* it may be any */
		r->always->flags |= TOUCH_OPAQUE;
		return;
	}
	r->writes |= at->t == TOK_WORD && word_writes(&word);
	if (r->w)
		known_word(r, &word, call ? &next : NULL);
	if (r->t->kind == WATCH_STATEMENT)
		return;
	read_function(r, &word, call ? &next : NULL);
	if (screen_own_view(word.text, word.len))
		r->always->flags |= TOUCH_OWN_VIEWS;
	if (!is_body(r) || at->t != TOK_WORD)
		return;
	if (at->begins && (r->level || r->t->kind != WATCH_FOREIGN))
		read_beginning(r, at);
	else if (r->t->kind == WATCH_FOREIGN && word_is(at->word, at->word_len, "set"))
		read_set(r, at->l);
	read_made(r, at);
	if (word_is(at->word, at->word_len, "execute") && r->t->kind != WATCH_FOREIGN)
		read_execute(r, at);
	if (r->t->kind == WATCH_FOREIGN) {
		read_foreign_call(r, at);
		if (language_global(at))
			r->always->flags |= TOUCH_SESSION;
	}
}

static void read_string(struct reading *r, struct at *at)
{
	static const char *const said[] = { "raise", "notice", "warning", "exception", "info", "log", "debug", NULL };
	struct lex *l = &at->l;
	size_t n;
	char *text;

	if (!is_body(r) || r->level == LEVELS || any_of(at->before, at->before_len, said))
		return;
	text = malloc((size_t)(l->end - l->tok) + 1);
	if (!text)
		abort();
	n = lex_undoubled(l, text);
	while (joined(l))
		n += lex_undoubled(l, text + n);
	r->level++;
	read_code(r, text, n);
	r->level--;
	free(text);
}

/* A statement may begin behind these words. */
static bool word_begins(const struct at *at)
{
	static const char *const words[] = { "begin", "then", "else", "loop", "atomic", "do", NULL };

	return any_of(at->word, at->word_len, words);
}

/* Returns false where nothing more can be read. */
static bool read_on(struct reading *r, struct at *at, const char *end)
{
	if (!is_body(r) || ++r->restarts > RESTARTS) {
		r->always->flags |= TOUCH_OPAQUE;
		return false;
	}
	at->l = lex_of(at->l.tok + 1, (size_t)(end - at->l.tok - 1), r->t->lex_mode & LEX_BACKSLASH);
	return true;
}

static void read_code(struct reading *r, const char *code, size_t len)
{
	struct at at = { .l = lex_of(code, len, r->t->lex_mode & LEX_BACKSLASH), .begins = true, .word = "", .before = "" };

	while ((at.t = lex_next(&at.l)) != TOK_END) {
		at.before = at.word;
		at.before_len = at.word_len;
		at.word = at.l.tok;
		at.word_len = at.t == TOK_WORD ? (size_t)(at.l.tok_end - at.l.tok) : 0;
		switch (at.t) {
		case TOK_BAD:
			if (!read_on(r, &at, code + len))
				return;
			at.begins = true;
			continue;
		case TOK_QUOTED:
			read_word(r, &at);
			if (r->t->kind == WATCH_FOREIGN)
				read_string(r, &at);
			break;
		case TOK_WORD:
		case TOK_UNICODE:
			read_word(r, &at);
			break;
		case TOK_STRING:
			read_string(r, &at);
			break;
		case TOK_OP:
			if (r->w && watch_longest_operator(r->w))
				known_operators(r, &at.l);
			break;
		default:
			break;
		}
		at.begins = at.t == TOK_SEMI || (at.t == TOK_WORD && word_begins(&at)) || (at.t == TOK_OP && *at.l.tok == '>');
	}
}

void watch_read(const struct watch *w, const struct watch_text *t, struct watch_effect *always, struct watch_effect *written)
{
	struct reading r = { .w = w, .t = t, .always = always };

	read_code(&r, t->text, t->len);
	if (w && r.any_relation && watch_reaches_relations(w))
		always->flags |= TOUCH_OPAQUE;
	if (written)
		watch_effect_merge(written, &r.written);
	else if (r.writes)
		watch_effect_merge(always, &r.written);
	watch_effect_release(&r.written);
}

enum watch_kind watch_language(const char *language)
{
	if (!strcmp(language, "plpgsql"))
		return WATCH_PLPGSQL;
	return strcmp(language, "sql") ? WATCH_FOREIGN : WATCH_SQL;
}
