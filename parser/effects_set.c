#include "parser/effects_internal.h"

#include "parser/buf.h"
#include "parser/lex.h"

#include <stdlib.h>
#include <string.h>

/* Words that quote_identifier() puts in quotes: those that are not unreserved in some version of PostgreSQL (pg_get_keywords()
 * of 10 to 18). Whether one is depends on the server, so its value is asked for. Sorted. */
static const char *const keywords[] = {
	"all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "between", "bigint",
	"binary", "bit", "boolean", "both", "case", "cast", "char", "character", "check", "coalesce", "collate", "collation",
	"column", "concurrently", "constraint", "create", "cross", "current_catalog", "current_date", "current_role",
	"current_schema", "current_time", "current_timestamp", "current_user", "dec", "decimal", "default", "deferrable",
	"desc", "distinct", "do", "else", "end", "except", "exists", "extract", "false", "fetch", "float", "for", "foreign",
	"freeze", "from", "full", "grant", "graph_table", "greatest", "group", "grouping", "having", "ilike", "in", "initially",
	"inner", "inout", "int", "integer", "intersect", "interval", "into", "is", "isnull", "join", "json", "json_array",
	"json_arrayagg", "json_exists", "json_object", "json_objectagg", "json_query", "json_scalar", "json_serialize",
	"json_table", "json_value", "lateral", "leading", "least", "left", "like", "limit", "localtime", "localtimestamp",
	"merge_action", "national", "natural", "nchar", "none", "normalize", "not", "notnull", "null", "nullif", "numeric",
	"offset", "on", "only", "or", "order", "out", "outer", "overlaps", "overlay", "placing", "position", "precision",
	"primary", "real", "references", "returning", "right", "row", "select", "session_user", "setof", "similar",
	"smallint", "some", "substring", "symmetric", "system_user", "table", "tablesample", "then", "time", "timestamp", "to",
	"trailing", "treat", "trim", "true", "union", "unique", "user", "using", "values", "varchar", "variadic", "verbose",
	"when", "where", "window", "with", "xmlattributes", "xmlconcat", "xmlelement", "xmlexists", "xmlforest",
	"xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize", "xmltable",
};

static int by_word(const void *a, const void *b)
{
	return strcmp(a, *(const char *const *)b);
}

/* GUC_LIST_QUOTE: extensions can't have it. */
static bool quotes_list(const char *name)
{
	static const char *const names[] = { "search_path",	     "temp_tablespaces",	"session_preload_libraries",
					     "shared_preload_libraries", "local_preload_libraries", "unix_socket_directories" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

char *setting_name(struct held *h, const char *name)
{
	char *copy;

	if (!strcasecmp(name, "sort_mem"))
		name = "work_mem";
	else if (!strcasecmp(name, "vacuum_mem"))
		name = "maintenance_work_mem";
	copy = held_copy(h, name, strlen(name));
	for (char *p = copy; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p |= 0x20;
	return copy;
}

bool setting_of_transaction(const char *name)
{
	return !strcmp(name, "transaction_isolation") || !strcmp(name, "transaction_read_only") ||
	       !strcmp(name, "transaction_deferrable");
}

/* One element as quote_identifier() writes it; false where that depends on the server's version. */
static bool quote_element(struct buf *b, const char *s)
{
	bool safe = (*s >= 'a' && *s <= 'z') || *s == '_';

	for (const char *p = s; *p; p++)
		safe &= (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '_';
	if (safe) {
		buf_text(b, s);
		return !bsearch(s, keywords, sizeof keywords / sizeof keywords[0], sizeof keywords[0], by_word);
	}
	buf_u8(b, '"');
	for (; *s; s++) {
		if (*s == '"')
			buf_u8(b, '"');
		buf_u8(b, (uint8_t)*s);
	}
	buf_u8(b, '"');
	return true;
}

void sql_put_literal(struct buf *out, const char *text)
{
	buf_text(out, "E'");
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			buf_u8(out, (uint8_t)*text);
		buf_u8(out, (uint8_t)*text);
	}
	buf_u8(out, '\'');
}

/* As a person would write it. */
static void put_value(struct buf *out, const char *value)
{
	if (strpbrk(value, "'\\")) {
		sql_put_literal(out, value);
		return;
	}
	buf_u8(out, '\'');
	buf_text(out, value);
	buf_u8(out, '\'');
}

/* A word that may be no name without quotes gets them. */
static void put_name_part(struct buf *out, const char *part)
{
	struct buf plain = { 0 };
	bool word = !quote_element(&plain, part);

	buf_text(out, word ? "\"" : "");
	buf_add(out, buf_head(&plain), buf_len(&plain));
	buf_text(out, word ? "\"" : "");
	buf_release(&plain);
}

static void put_name(struct buf *out, const char *name)
{
	struct buf part = { 0 };

	for (const char *end; *name; name = end + (*end == '.')) {
		end = strchrnul(name, '.');
		buf_reset(&part);
		buf_add(&part, name, (size_t)(end - name));
		buf_u8(&part, 0);
		put_name_part(out, (const char *)buf_head(&part));
		if (*end == '.')
			buf_u8(out, '.');
	}
	buf_release(&part);
}

/* One element off a list as PostgreSQL writes it: a name, or one in quotes. Returns where it ends. */
static const char *take_element(struct buf *element, const char *list)
{
	buf_reset(element);
	if (*list != '"') {
		while (*list && *list != ',')
			buf_u8(element, (uint8_t)*list++);
	} else {
		for (list++; *list && (*list != '"' || list[1] == '"'); list++) {
			list += *list == '"';
			buf_u8(element, (uint8_t)*list);
		}
		list += *list == '"';
	}
	buf_u8(element, 0);
	return list;
}

/* SET quotes each element again: it has to come out as it was. */
static bool put_list(struct buf *out, const char *list)
{
	struct buf element = { 0 }, again = { 0 };
	const char *at = list, *sep = "";
	bool same = true;

	do {
		at = take_element(&element, at);
		buf_text(&again, sep);
		same &= quote_element(&again, (const char *)buf_head(&element));
		buf_text(out, sep);
		put_value(out, (const char *)buf_head(&element));
		sep = ", ";
	} while (!strncmp(at, ", ", 2) && (at += 2));
	same &= !*at && buf_len(&again) == strlen(list) && !memcmp(buf_head(&again), list, buf_len(&again));
	buf_release(&element);
	buf_release(&again);
	return same;
}

bool sql_put_set(struct buf *out, const char *name, const char *value)
{
	struct buf sql = { 0 };
	bool same = true;

	buf_text(&sql, "SET ");
	put_name(&sql, name);
	buf_text(&sql, value ? " = " : " TO DEFAULT");
	if (!value)
		;
	else if (quotes_list(name))
		same = put_list(&sql, value);
	else
		put_value(&sql, value);
	if (same)
		buf_add(out, buf_head(&sql), buf_len(&sql));
	buf_release(&sql);
	return same;
}

static bool flat_element(struct buf *b, const char *name, const PgQuery__Node *n)
{
	const PgQuery__AConst *c;

	if (n->node_case != PG_QUERY__NODE__NODE_A_CONST)
		return false; /* an interval */
	c = n->a_const;
	switch (c->val_case) {
	case PG_QUERY__A__CONST__VAL_IVAL:
		buf_printf(b, "%d", c->ival->ival);
		return true;
	case PG_QUERY__A__CONST__VAL_FVAL:
		buf_text(b, c->fval->fval);
		return true;
	case PG_QUERY__A__CONST__VAL_SVAL:
		if (quotes_list(name))
			return quote_element(b, c->sval->sval);
		buf_text(b, c->sval->sval);
		return true;
	default:
		return false;
	}
}

/* The arguments as flatten_set_variable_args() of PostgreSQL's guc.c joins them. NULL: ask. */
static char *flat_value(struct held *h, const char *name, const PgQuery__VariableSetStmt *s)
{
	struct buf b = { 0 };
	bool certain = s->n_args && strcmp(name, "datestyle");
	char *value = NULL;

	for (size_t i = 0; certain && i < s->n_args; i++) {
		if (i)
			buf_text(&b, ", ");
		certain = flat_element(&b, name, s->args[i]);
	}
	buf_u8(&b, 0);
	if (certain)
		value = held_copy(h, (const char *)buf_head(&b), buf_len(&b) - 1);
	buf_release(&b);
	return value;
}

static struct stmt_effects *set_row(struct held *h, const struct stmt_effects *like, enum stmt_kind kind, const char *name)
{
	struct stmt_effects *row = held_row(h);

	*row = *like;
	row->kind = kind;
	row->name = setting_name(h, name);
	if (!strcmp(row->name, "seed"))
		row->flags |= TOUCH_SESSION;
	if (setting_of_transaction(row->name))
		row->kind = STMT_SET_TRANSACTION;
	return row;
}

/* One mode of SET SESSION CHARACTERISTICS AS TRANSACTION: transaction_isolation 'serializable' and so on. */
static bool read_mode(struct held *h, const struct stmt_effects *like, enum stmt_kind kind, const PgQuery__Node *n)
{
	static const char *const modes[] = { "transaction_isolation", "transaction_read_only", "transaction_deferrable" };
	static const char *const names[] = { "default_transaction_isolation", "default_transaction_read_only",
					     "default_transaction_deferrable" };
	const PgQuery__AConst *c;
	const char *value;

	if (n->node_case != PG_QUERY__NODE__NODE_DEF_ELEM || !n->def_elem->arg ||
	    n->def_elem->arg->node_case != PG_QUERY__NODE__NODE_A_CONST)
		return false;
	c = n->def_elem->arg->a_const;
	if (c->val_case == PG_QUERY__A__CONST__VAL_SVAL)
		value = c->sval->sval;
	else if (c->val_case == PG_QUERY__A__CONST__VAL_IVAL)
		value = c->ival->ival ? "on" : "off";
	else
		return false;
	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
		if (!strcmp(n->def_elem->defname, modes[i])) {
			set_row(h, like, kind, names[i])->value = held_copy(h, value, strlen(value));
			return true;
		}
	}
	return false;
}

static bool read_characteristics(struct held *h, const struct stmt_effects *like, const PgQuery__VariableSetStmt *s)
{
	enum stmt_kind kind = s->is_local ? STMT_SET_LOCAL : STMT_SET;

	for (size_t i = 0; i < s->n_args; i++) {
		if (!read_mode(h, like, kind, s->args[i]))
			return false;
		if (!i)
			continue;
		if (h->e.n > 64)
			return false; /* beyond what more_of_same can tell */
		h->e.more_of_same |= (uint64_t)1 << (h->e.n - 1);
	}
	return s->n_args > 0;
}

static bool read_multi(struct held *h, const struct stmt_effects *like, const PgQuery__VariableSetStmt *s)
{
	if (!strcmp(s->name, "SESSION CHARACTERISTICS"))
		return read_characteristics(h, like, s);
	if (strcmp(s->name, "TRANSACTION") && strcmp(s->name, "TRANSACTION SNAPSHOT"))
		return false;
	*held_row(h) = *like;
	h->e.stmts[h->e.n - 1].kind = STMT_SET_TRANSACTION;
	return true;
}

bool effects_read_set(struct held *h, const struct stmt_effects *like, const PgQuery__VariableSetStmt *s)
{
	struct stmt_effects *row;

	switch (s->kind) {
	case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_VALUE:
		row = set_row(h, like, s->is_local ? STMT_SET_LOCAL : STMT_SET, s->name);
		row->value = flat_value(h, row->name, s);
		if (row->value && !strcmp(row->name, "xmloption"))
			for (char *p = row->value; *p; p++)
				*p |= 0x20; /* DOCUMENT, CONTENT */
		return true;
	case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_CURRENT:
		set_row(h, like, s->is_local ? STMT_SET_LOCAL : STMT_SET, s->name);
		return true;
	case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_DEFAULT:
		set_row(h, like, s->is_local ? STMT_RESET_LOCAL : STMT_RESET, s->name);
		return true;
	case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET:
		set_row(h, like, STMT_RESET, s->name);
		return true;
	case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL:
		*held_row(h) = *like;
		h->e.stmts[h->e.n - 1].kind = STMT_RESET_ALL;
		return true;
	case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI:
		return read_multi(h, like, s);
	default:
		return false;
	}
}

/* --- settings in the body of a DO --- */

enum {
	BODY_LEVELS = 2,   /* of literals in literals that are looked into */
	BODY_RESTARTS = 256 /* behind what is not SQL, such as a comment in another language */
};

struct body {
	void (*found)(void *arg, const char *name, bool local);
	void *arg;
	unsigned restarts;
	bool backslash, computed;
};

static bool is_op(const struct lex *l, enum tok t, char c)
{
	return t == TOK_OP && *l->tok == c;
}

/* Behind the first comma of set_config(name, value, is_local). */
static bool ends_local(struct lex *l)
{
	int depth = 0;
	enum tok t;

	do {
		t = lex_next(l);
		depth += (t == TOK_OPEN) - (t == TOK_CLOSE);
		if (t == TOK_END || t == TOK_BAD || depth < 0)
			return false;
	} while (t != TOK_COMMA || depth);
	t = lex_next(l);
	return lex_is(l, t, "true") && lex_next(l) == TOK_CLOSE;
}

/* l is behind set_config; a copy, so that what is in the brackets is read again for itself. */
static void body_call(struct body *b, struct lex l)
{
	char name[SETTING_ROOM];
	enum tok t = lex_next(&l);

	if (t != TOK_OPEN)
		return;
	t = lex_next(&l);
	if (t != TOK_STRING || !lex_plain(&l, t, name, sizeof name)) {
		b->computed = true;
		return;
	}
	t = lex_next(&l);
	if (is_op(&l, t, ':')) {
		t = lex_next(&l);
		t = is_op(&l, t, ':') && lex_next(&l) == TOK_WORD ? lex_next(&l) : TOK_BAD;
	}
	if (t == TOK_COMMA)
		b->found(b->arg, name, ends_local(&l));
	else
		b->computed = true;
}

/* l is behind SET or RESET, which begins a statement in a literal: what follows may be put together. */
static void body_set(struct body *b, struct lex l, bool begins)
{
	char name[SETTING_ROOM];
	enum tok t = lex_next(&l);
	bool local = lex_is(&l, t, "local");
	size_t n = 0;

	if (local || lex_is(&l, t, "session")) {
		t = lex_next(&l);
		if (lex_is(&l, t, "authorization")) {
			b->found(b->arg, "session_authorization", local);
			return;
		}
	}
	if (lex_is(&l, t, "session"))
		t = lex_next(&l);
	if (lex_is(&l, t, "authorization") || lex_is(&l, t, "role")) {
		b->found(b->arg, lex_is(&l, t, "role") ? "role" : "session_authorization", local);
		return;
	}
	if (!lex_name_part(&l, t, name, sizeof name, &n)) {
		b->computed |= begins;
		return;
	}
	while (lex_next(&l) == TOK_OTHER && *l.tok == '.') {
		if (n + 1 < SETTING_ROOM)
			name[n++] = '.';
		t = lex_next(&l);
		if (!lex_name_part(&l, t, name, sizeof name, &n)) {
			b->computed = true;
			return;
		}
	}
	if (memchr(name, '.', n))
		b->found(b->arg, name, local);
}

static void body_scan(struct body *b, const char *code, size_t len, unsigned level)
{
	struct lex l = lex_of(code, len, b->backslash);
	enum tok t, last = TOK_SEMI;

	while ((t = lex_next(&l)) != TOK_END) {
		switch (t) {
		case TOK_BAD:
			if (++b->restarts > BODY_RESTARTS) {
				b->computed = true;
				return;
			}
			l = lex_of(l.tok + 1, (size_t)(code + len - l.tok - 1), b->backslash);
			break;
		case TOK_WORD:
			if (lex_is(&l, t, "set_config"))
				body_call(b, l);
			else if (lex_is(&l, t, "set") || lex_is(&l, t, "reset"))
				body_set(b, l, level && last == TOK_SEMI);
			break;
		case TOK_UNICODE:
			b->computed = true;
			break;
		case TOK_QUOTED:
			if (lex_same(l.tok, (size_t)(l.tok_end - l.tok), "\"set_config\""))
				body_call(b, l);
			/* fall through */
		case TOK_STRING:
			if (level < BODY_LEVELS) {
				char *text = malloc((size_t)(l.tok_end - l.tok) + 1);

				if (!text)
					abort();
				body_scan(b, text, lex_undoubled(&l, text), level + 1);
				free(text);
			}
			break;
		default:
			break;
		}
		last = t;
	}
}

bool effects_read_body(const char *code, size_t len, bool backslash, void (*found)(void *arg, const char *name, bool local),
		       void *arg)
{
	struct body b = { .found = found, .arg = arg, .backslash = backslash };

	body_scan(&b, code, len, 0);
	return b.computed;
}
