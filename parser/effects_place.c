/* Places in a text where something else may have to be said. PostgreSQL's tree tells their beginnings and nothing else: the rest is
 * found by tokens. */
#include "parser/effects_internal.h"

#include <stdlib.h>
#include <string.h>

/* location: of a call's name, or an item's first token. Places are in the whole text. False, here and below: what is there is not what
 * was looked for. */
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

/* Without arguments. */
static bool find_call(const char *text, size_t len, bool backslash, int location, size_t *end)
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

/* The extent of an argument by place (from 0) or, where arguments are named, by name. */
static bool find_argument(const char *text, size_t len, bool backslash, int location, size_t place, const char *name, size_t *at, size_t *end)
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

/* Where an item of a SELECT's list ends. */
static bool find_item(const char *text, size_t len, bool backslash, int location, size_t *end)
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

/* Behind a function in FROM at `at`, its ROWS FROM and its WITH ORDINALITY: where an alias goes. */
static size_t skip_from(const char *text, size_t len, bool backslash, size_t at, bool rows_from, bool ordinality)
{
	struct lex l = lex_of(text + at, len - at, backslash), next;

	if (rows_from && lex_next(&l) != TOK_CLOSE)
		return at;
	next = l;
	if (ordinality && lex_is(&next, lex_next(&next), "with") && lex_is(&next, lex_next(&next), "ordinality"))
		l = next;
	return (size_t)(l.tok_end - text);
}

/* ---- and noted ---- */

/* In the order of the text; of those in one place, in the order in which they are found. */
static void place(struct reading *r, enum place_kind what, size_t at, size_t len, const char *name)
{
	struct stmt_effects *row = &r->row;
	struct text_place *p;

	row->places = reallocarray(row->places, row->n_places + 1, sizeof *p);
	if (!row->places)
		abort();
	p = &row->places[row->n_places++];
	for (; p > row->places && p[-1].at > at; p--)
		*p = p[-1];
	*p = (struct text_place){ .what = what, .at = (uint32_t)at, .len = (uint32_t)len, .name = name ? held_copy(r->held, name, strlen(name)) : NULL };
	r->held->bytes += sizeof *p;
}

void effects_place_value(struct reading *r, const PgQuery__FuncCall *f, const PgQuery__Node *value, const PgQuery__Node *plain)
{
	struct touched_setting *t = &r->row.touched[r->row.n_touched - 1];
	size_t at, end;

	if (plain && plain->node_case == PG_QUERY__NODE__NODE_PARAM_REF)
		t->value_param = plain->param_ref->number;
	if (!value || !t->name || (plain && plain->node_case == PG_QUERY__NODE__NODE_A_CONST && !plain->a_const->isnull) ||
	    !find_argument(r->text, r->len, r->backslash, f->location, 1, "new_value", &at, &end))
		return;
	if (value->node_case == PG_QUERY__NODE__NODE_A_CONST) {
		place(r, PLACE_NULL, at, end - at, t->name);
		return;
	}
	place(r, PLACE_VALUE, at, 0, t->name);
	place(r, PLACE_VALUE_END, end, 0, t->name);
}

#define CHANNELS "pg_listening_channels"

static bool calls_channels(const PgQuery__FuncCall *f)
{
	const PgQuery__Node *last = f->n_funcname ? f->funcname[f->n_funcname - 1] : NULL;

	if (!last || last->node_case != PG_QUERY__NODE__NODE_STRING || f->n_args || strcmp(last->string->sval, CHANNELS))
		return false;
	return f->n_funcname == 1 || (f->funcname[0]->node_case == PG_QUERY__NODE__NODE_STRING && !strcmp(f->funcname[0]->string->sval, "pg_catalog"));
}

void effects_place_channels(struct reading *r, const PgQuery__FuncCall *f)
{
	size_t end;

	if (calls_channels(f) && find_call(r->text, r->len, r->backslash, f->location, &end))
		place(r, PLACE_CHANNELS, (size_t)f->location, end - (size_t)f->location, NULL);
}

/* A column of a SELECT that is named for the function: PostgreSQL looks for a name through casts and collations. */
void effects_place_column_name(struct reading *r, const PgQuery__ResTarget *t)
{
	const PgQuery__Node *n = t->val;
	size_t end;

	while (n && (n->node_case == PG_QUERY__NODE__NODE_TYPE_CAST || n->node_case == PG_QUERY__NODE__NODE_COLLATE_CLAUSE))
		n = n->node_case == PG_QUERY__NODE__NODE_TYPE_CAST ? n->type_cast->arg : n->collate_clause->arg;
	if (n && n->node_case == PG_QUERY__NODE__NODE_FUNC_CALL && calls_channels(n->func_call) && !(t->name && *t->name) &&
	    find_item(r->text, r->len, r->backslash, t->location, &end))
		place(r, PLACE_CHANNELS_NAME, end, 0, NULL);
}

/* FROM pg_listening_channels() */
void effects_place_table_name(struct reading *r, const PgQuery__RangeFunction *f)
{
	const PgQuery__Node *n = f->n_functions == 1 ? f->functions[0] : NULL;
	size_t end;

	n = n && n->node_case == PG_QUERY__NODE__NODE_LIST && n->list->n_items ? n->list->items[0] : NULL;
	if (f->alias || !n || n->node_case != PG_QUERY__NODE__NODE_FUNC_CALL || !calls_channels(n->func_call) ||
	    !find_call(r->text, r->len, r->backslash, n->func_call->location, &end))
		return;
	if (f->is_rowsfrom || f->ordinality)
		end = skip_from(r->text, r->len, r->backslash, end, f->is_rowsfrom, f->ordinality);
	place(r, PLACE_CHANNELS_NAME, end, 0, NULL);
}
