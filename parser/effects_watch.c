/* What the database's catalogue tells of a statement: by the words in it, by the bodies that DO and CALL run, and what CREATE
 * and ALTER add to it. */
#include "parser/effects_internal.h"

#include <stdlib.h>
#include <string.h>

static bool touched_already(const struct stmt_effects *row, const struct watch_setting *s)
{
	for (size_t i = 0; i < row->n_touched; i++) {
		const struct touched_setting *t = &row->touched[i];

		if (t->local == s->local && t->param == s->param && !t->name == !s->name && (!t->name || !strcasecmp(t->name, s->name)))
			return true;
	}
	return false;
}

void effects_watch_add(struct held *h, struct stmt_effects *row, const struct watch_effect *e)
{
	uint32_t *flags = row->kind == STMT_PREPARE ? &row->inner_flags : &row->flags;

	*flags |= e->flags;
	for (size_t i = 0; i < e->n_settings; i++) {
		const struct watch_setting *s = &e->settings[i];
		struct touched_setting *t;

		if (touched_already(row, s))
			continue;
		row->touched = reallocarray(row->touched, row->n_touched + 1, sizeof *t);
		if (!row->touched)
			abort();
		t = &row->touched[row->n_touched++];
		*t = (struct touched_setting){ .param = s->param, .local = s->local };
		h->bytes += sizeof *t;
		if (!s->name)
			continue;
		t->name = setting_name(h, s->name);
		if (setting_of_transaction(t->name) && !t->local) {
			t->local = true;
			*flags |= TOUCH_LOCAL;
		}
	}
}

static size_t first_word_len(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && ((text[n] | 0x20) >= 'a' && (text[n] | 0x20) <= 'z'))
		n++;
	return n;
}

/* stored: nothing of what it names runs, so that its first word alone counts (for event triggers). */
static void read_row(struct held *h, struct stmt_effects *row, const struct watch *w, const char *text, unsigned lex_mode, bool stored)
{
	struct watch_text t = { .kind = WATCH_STATEMENT, .text = text + row->at, .len = row->len, .lex_mode = lex_mode };
	struct watch_effect e = { 0 };

	if (stored)
		t.len = first_word_len(t.text, t.len);
	watch_read(w, &t, &e, NULL);
	effects_watch_add(h, row, &e);
	watch_effect_release(&e);
}

void effects_watch_unread(struct held *h, struct stmt_effects *row, const struct watch *w, const char *text, unsigned lex_mode)
{
	read_row(h, row, w, text, lex_mode, false);
}

static bool type_begins(const PgQuery__Node *n, const char *prefix)
{
	const ProtobufCMessage *m = (const ProtobufCMessage *)(const void *)n->alias;

	return !strncmp(m->descriptor->short_name, prefix, strlen(prefix));
}

static bool only_stores(const PgQuery__Node *n)
{
	switch (n->node_case) {
	case PG_QUERY__NODE__NODE_CREATE_FUNCTION_STMT:
	case PG_QUERY__NODE__NODE_ALTER_FUNCTION_STMT:
	case PG_QUERY__NODE__NODE_VIEW_STMT:
	case PG_QUERY__NODE__NODE_RULE_STMT:
	case PG_QUERY__NODE__NODE_CREATE_TRIG_STMT:
	case PG_QUERY__NODE__NODE_CREATE_EVENT_TRIG_STMT:
	case PG_QUERY__NODE__NODE_CREATE_POLICY_STMT:
	case PG_QUERY__NODE__NODE_ALTER_POLICY_STMT:
	case PG_QUERY__NODE__NODE_DEFINE_STMT:
	case PG_QUERY__NODE__NODE_CREATE_CAST_STMT:
	case PG_QUERY__NODE__NODE_CREATE_DOMAIN_STMT:
	case PG_QUERY__NODE__NODE_CREATE_STMT:
	case PG_QUERY__NODE__NODE_RENAME_STMT:
	case PG_QUERY__NODE__NODE_COMMENT_STMT:
	case PG_QUERY__NODE__NODE_GRANT_STMT:
	case PG_QUERY__NODE__NODE_SEC_LABEL_STMT:
	case PG_QUERY__NODE__NODE_ALTER_OWNER_STMT:
	case PG_QUERY__NODE__NODE_ALTER_OBJECT_SCHEMA_STMT:
		return true;
	default:
		return type_begins(n, "Drop");
	}
}

void effects_watch_row(struct held *h, struct stmt_effects *row, const struct watch *w, const PgQuery__Node *n, const char *text,
		       unsigned lex_mode)
{
	read_row(h, row, w, text, lex_mode, only_stores(n));
}

/* --- DO, CALL --- */

static const char *string_of(const PgQuery__Node *n)
{
	return n && n->node_case == PG_QUERY__NODE__NODE_STRING ? n->string->sval : NULL;
}

static const char *last_name(PgQuery__Node *const *names, size_t n)
{
	const char *name = n ? string_of(names[n - 1]) : NULL;

	return name ? name : "";
}

void effects_watch_do(struct held *h, struct stmt_effects *row, const struct watch *w, const PgQuery__DoStmt *s, unsigned lex_mode)
{
	const char *language = "plpgsql", *body = "";
	struct watch_effect e = { 0 };
	struct watch_text t = { .lex_mode = lex_mode };

	for (size_t i = 0; i < s->n_args; i++) {
		const PgQuery__DefElem *d = s->args[i]->def_elem;

		if (s->args[i]->node_case != PG_QUERY__NODE__NODE_DEF_ELEM || !string_of(d->arg))
			continue;
		if (!strcmp(d->defname, "as"))
			body = d->arg->string->sval;
		else if (!strcmp(d->defname, "language"))
			language = d->arg->string->sval;
	}
	t.kind = watch_language(language);
	t.text = body;
	t.len = strlen(body);
	watch_read(w, &t, &e, NULL);
	e.flags |= TOUCH_COMMITS;
	effects_watch_add(h, row, &e);
	watch_effect_release(&e);
}

/* What a procedure does that is known the row's words tell. */
void effects_watch_call(struct stmt_effects *row, const struct watch *w, const PgQuery__CallStmt *s)
{
	const PgQuery__FuncCall *f = s->funccall;
	bool known = w && watch_known(w) && f && watch_find(w, last_name(f->funcname, f->n_funcname), WATCH_CALLED);

	row->flags |= known ? TOUCH_COMMITS : TOUCH_OPAQUE | (w ? TOUCH_COMMITS : 0);
}

/* --- CREATE, ALTER --- */

struct defining {
	struct held *held;
	struct stmt_effects *row;
	const struct watch *w;
	struct watch_effect always, written;
};

static void define(struct defining *d, const char *word, enum watch_when when, const struct watch_effect *e)
{
	struct defined_word *at;

	if (!*word)
		return;
	d->row->defined = reallocarray(d->row->defined, d->row->n_defined + 1, sizeof *at);
	if (!d->row->defined)
		abort();
	at = &d->row->defined[d->row->n_defined++];
	at->word = held_copy(d->held, word, strlen(word));
	at->when = when;
	at->does = calloc(1, sizeof *at->does);
	if (!at->does)
		abort();
	watch_effect_merge(at->does, e);
	d->held->bytes += sizeof *at + sizeof *at->does + at->does->n_settings * (sizeof(struct watch_setting) + 32);
}

static void define_named(struct defining *d, const char *word)
{
	if (!watch_effect_none(&d->always))
		define(d, word, WATCH_NAMED, &d->always);
	if (!watch_effect_none(&d->written))
		define(d, word, WATCH_WRITTEN, &d->written);
}

/* Everything there is takes place when the relation is written to. */
static void define_written(struct defining *d, const PgQuery__RangeVar *v)
{
	if (!v || !v->relname)
		return;
	watch_effect_merge(&d->written, &d->always);
	if (!watch_effect_none(&d->written))
		define(d, v->relname, WATCH_WRITTEN, &d->written);
}

/* A body in SQL stands in the statement itself: behind BEGIN ATOMIC or RETURN. */
static void find_sql_body(struct watch_text *t)
{
	struct lex l = lex_of(t->text, t->len, t->lex_mode & LEX_BACKSLASH);
	const char *end = t->text + t->len;
	enum tok k;

	while ((k = lex_next(&l)) != TOK_END && k != TOK_BAD) {
		struct lex next = l;

		if (!lex_is(&l, k, "return") && !(lex_is(&l, k, "begin") && lex_is(&next, lex_next(&next), "atomic")))
			continue;
		t->text = l.tok_end;
		t->len = (size_t)(end - l.tok_end);
		return;
	}
}

enum { PARAMS_MAX = 100 };

static size_t input_params(const PgQuery__CreateFunctionStmt *s, const char *names[static PARAMS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_parameters && n < PARAMS_MAX; i++) {
		const PgQuery__FunctionParameter *p = s->parameters[i]->function_parameter;

		if (s->parameters[i]->node_case != PG_QUERY__NODE__NODE_FUNCTION_PARAMETER ||
		    p->mode == PG_QUERY__FUNCTION_PARAMETER_MODE__FUNC_PARAM_OUT ||
		    p->mode == PG_QUERY__FUNCTION_PARAMETER_MODE__FUNC_PARAM_TABLE)
			continue;
		names[n++] = p->name && *p->name ? p->name : NULL;
	}
	return n;
}

static void define_function(struct defining *d, const PgQuery__CreateFunctionStmt *s, struct watch_text *t)
{
	const char *language = NULL, *body = NULL, *params[PARAMS_MAX];
	struct watch_effect e = { 0 };

	for (size_t i = 0; i < s->n_options; i++) {
		const PgQuery__DefElem *o = s->options[i]->def_elem;

		if (s->options[i]->node_case != PG_QUERY__NODE__NODE_DEF_ELEM || !o->arg)
			continue;
		if (!strcmp(o->defname, "language"))
			language = string_of(o->arg);
		else if (!strcmp(o->defname, "as") && o->arg->node_case == PG_QUERY__NODE__NODE_LIST && o->arg->list->n_items)
			body = string_of(o->arg->list->items[0]);
	}
	t->kind = language ? watch_language(language) : WATCH_SQL;
	t->params = params;
	t->n_params = input_params(s, params);
	if (body) {
		t->text = body;
		t->len = strlen(body);
	} else {
		find_sql_body(t);
	}
	if (!language || (strcasecmp(language, "c") && strcasecmp(language, "internal")))
		watch_read(d->w, t, &e, NULL);
	if (s->is_procedure || !watch_effect_none(&e))
		define(d, last_name(s->funcname, s->n_funcname), WATCH_CALLED, &e);
	watch_effect_release(&e);
}

static void define_event_trigger(struct defining *d)
{
	static const char *const words[] = { "create", "alter", "drop", "comment", "grant", "revoke", "refresh", "reindex", "import",
					     "security", "reassign" };

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		define_named(d, words[i]);
}

static const char *type_last_name(const PgQuery__TypeName *t)
{
	return t ? last_name(t->names, t->n_names) : "";
}

/* A renamed thing does what it did. */
static void define_renamed(struct defining *d, const char *name)
{
	struct watch_effect e = { 0 };

	if (!name || (watch_effect_none(&d->always) && watch_effect_none(&d->written)))
		return;
	watch_effect_merge(&e, &d->always);
	define(d, name, WATCH_CALLED, &e);
	watch_effect_release(&e);
	define_named(d, name);
}

/* Returns false for what changes the catalogue in no way that matters here, unless it names something that does. */
static bool define_by_node(struct defining *d, const PgQuery__Node *n)
{
	switch (n->node_case) {
	case PG_QUERY__NODE__NODE_VIEW_STMT:
		define_named(d, n->view_stmt->view ? n->view_stmt->view->relname : "");
		return true;
	case PG_QUERY__NODE__NODE_CREATE_TRIG_STMT:
		define_written(d, n->create_trig_stmt->relation);
		return true;
	case PG_QUERY__NODE__NODE_RULE_STMT:
		if (n->rule_stmt->event == PG_QUERY__CMD_TYPE__CMD_SELECT && n->rule_stmt->relation)
			define_named(d, n->rule_stmt->relation->relname);
		else
			define_written(d, n->rule_stmt->relation);
		return true;
	case PG_QUERY__NODE__NODE_CREATE_POLICY_STMT:
		define_named(d, n->create_policy_stmt->table ? n->create_policy_stmt->table->relname : "");
		return true;
	case PG_QUERY__NODE__NODE_ALTER_POLICY_STMT:
		define_named(d, n->alter_policy_stmt->table ? n->alter_policy_stmt->table->relname : "");
		return true;
	case PG_QUERY__NODE__NODE_CREATE_EVENT_TRIG_STMT:
		define_event_trigger(d);
		return true;
	case PG_QUERY__NODE__NODE_DEFINE_STMT:
		if (n->define_stmt->kind == PG_QUERY__OBJECT_TYPE__OBJECT_AGGREGATE && !watch_effect_none(&d->always))
			define(d, last_name(n->define_stmt->defnames, n->define_stmt->n_defnames), WATCH_CALLED, &d->always);
		else
			define_named(d, last_name(n->define_stmt->defnames, n->define_stmt->n_defnames));
		return true;
	case PG_QUERY__NODE__NODE_CREATE_DOMAIN_STMT:
		define_named(d, last_name(n->create_domain_stmt->domainname, n->create_domain_stmt->n_domainname));
		return true;
	case PG_QUERY__NODE__NODE_ALTER_DOMAIN_STMT:
		define_named(d, last_name(n->alter_domain_stmt->type_name, n->alter_domain_stmt->n_type_name));
		return true;
	case PG_QUERY__NODE__NODE_CREATE_CAST_STMT:
		define_named(d, type_last_name(n->create_cast_stmt->sourcetype));
		define_named(d, type_last_name(n->create_cast_stmt->targettype));
		return true;
	case PG_QUERY__NODE__NODE_RENAME_STMT:
		define_renamed(d, n->rename_stmt->newname);
		return true;
	case PG_QUERY__NODE__NODE_CREATE_EXTENSION_STMT:
	case PG_QUERY__NODE__NODE_CREATE_SCHEMA_STMT:
	case PG_QUERY__NODE__NODE_ALTER_FUNCTION_STMT:
		return true;
	case PG_QUERY__NODE__NODE_CREATE_STMT:
		define_written(d, n->create_stmt->relation);
		for (size_t i = 0; i < n->create_stmt->n_inh_relations; i++)
			if (n->create_stmt->inh_relations[i]->node_case == PG_QUERY__NODE__NODE_RANGE_VAR)
				define_written(d, n->create_stmt->inh_relations[i]->range_var);
		break;
	case PG_QUERY__NODE__NODE_ALTER_TABLE_STMT:
		define_written(d, n->alter_table_stmt->relation);
		break;
	case PG_QUERY__NODE__NODE_INDEX_STMT:
		define_written(d, n->index_stmt->relation);
		break;
	case PG_QUERY__NODE__NODE_CREATE_TABLE_AS_STMT:
		if (n->create_table_as_stmt->into)
			define_written(d, n->create_table_as_stmt->into->rel);
		break;
	default:
		break;
	}
	return d->row->n_defined > 0;
}

void effects_watch_ddl(struct held *h, struct stmt_effects *row, const struct watch *w, const PgQuery__Node *n, const char *text,
		       unsigned lex_mode)
{
	struct defining d = { .held = h, .row = row, .w = w };
	struct watch_text t = { .kind = WATCH_DEFINITION, .text = text + row->at, .len = row->len, .lex_mode = lex_mode };

	if (type_begins(n, "Drop"))
		return;
	if (n->node_case == PG_QUERY__NODE__NODE_CREATE_FUNCTION_STMT) {
		define_function(&d, n->create_function_stmt, &t);
		row->flags |= TOUCH_CATALOGUE;
		return;
	}
	watch_read(w, &t, &d.always, &d.written);
	if (define_by_node(&d, n))
		row->flags |= TOUCH_CATALOGUE;
	watch_effect_release(&d.always);
	watch_effect_release(&d.written);
}
