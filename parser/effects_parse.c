#include "parser/effects_internal.h"

#include "parser/lex.h"
#include "parser/screen.h"

#include <stdlib.h>
#include <string.h>

enum {
	CURSOR_HOLD = 0x20, /* CURSOR_OPT_HOLD of PostgreSQL's parsenodes.h */
	BODY_NAMES = 64, /* settings in a DO's body; with more of them any may be */
	NAME_CUT = 60, /* a longer name may have been cut at 63 bytes, or a few less within a character */
};

static char *copy_name(struct held *h, const char *s)
{
	return s && *s ? held_copy(h, s, strlen(s)) : NULL;
}

/* --- functions called, objects made --- */

static void touch(struct reading *r, const char *name, int param, bool local)
{
	struct stmt_effects *row = &r->row;
	struct touched_setting *t;

	row->touched = reallocarray(row->touched, row->n_touched + 1, sizeof *t);
	if (!row->touched)
		abort();
	t = &row->touched[row->n_touched++];
	*t = (struct touched_setting){ .param = param };
	if (name) {
		t->name = setting_name(r->held, name);
		if (!strcmp(t->name, "seed"))
			row->flags |= TOUCH_SESSION;
		local |= setting_of_transaction(t->name);
	}
	t->local = local;
	r->held->bytes += sizeof *t;
	row->flags |= local ? TOUCH_LOCAL : TOUCH_SETTINGS;
}

static const char *type_name(const PgQuery__TypeName *t)
{
	const PgQuery__Node *last = t && t->n_names && !t->n_typmods && !t->n_array_bounds ? t->names[t->n_names - 1] : NULL;

	return last && last->node_case == PG_QUERY__NODE__NODE_STRING ? last->string->sval : "";
}

/* What is cast to a type that leaves it as it is; NULL where the cast may change it. */
static const PgQuery__Node *without_cast(const PgQuery__Node *n, const char *type, const char *or_type)
{
	while (n && n->node_case == PG_QUERY__NODE__NODE_TYPE_CAST) {
		const char *cast = type_name(n->type_cast->type_name);

		if (strcmp(cast, type) && strcmp(cast, or_type))
			return NULL;
		n = n->type_cast->arg;
	}
	return n;
}

static bool literally_true(const PgQuery__Node *n)
{
	static const char *const words[] = { "t", "true", "on", "yes", "y", "1" };
	const PgQuery__AConst *c;

	n = without_cast(n, "bool", "bool");
	if (!n || n->node_case != PG_QUERY__NODE__NODE_A_CONST)
		return false;
	c = n->a_const;
	if (c->val_case == PG_QUERY__A__CONST__VAL_BOOLVAL)
		return c->boolval->boolval;
	if (c->val_case != PG_QUERY__A__CONST__VAL_SVAL)
		return false;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (!strcmp(c->sval->sval, words[i]))
			return true;
	return false;
}

/* An argument by place or, where it is named, by name. */
static const PgQuery__Node *argument(const PgQuery__FuncCall *f, size_t place, const char *name)
{
	for (size_t i = 0; i < f->n_args; i++) {
		const PgQuery__Node *n = f->args[i];

		if (n->node_case != PG_QUERY__NODE__NODE_NAMED_ARG_EXPR) {
			if (i == place)
				return n;
		} else if (!strcmp(n->named_arg_expr->name, name)) {
			return n->named_arg_expr->arg;
		}
	}
	return NULL;
}

/* False where the name is neither a literal nor a parameter. */
static bool touch_named(struct reading *r, const PgQuery__Node *name, bool local)
{
	name = without_cast(name, "text", "varchar");
	if (name && name->node_case == PG_QUERY__NODE__NODE_A_CONST &&
	    name->a_const->val_case == PG_QUERY__A__CONST__VAL_SVAL)
		touch(r, name->a_const->sval->sval, 0, local);
	else if (name && name->node_case == PG_QUERY__NODE__NODE_PARAM_REF && name->param_ref->number > 0)
		touch(r, NULL, name->param_ref->number, local);
	else
		return false;
	return true;
}

/* set_config(setting_name, new_value, is_local). */
static void read_set_config(struct reading *r, const PgQuery__FuncCall *f)
{
	bool local = !f->func_variadic && literally_true(argument(f, 2, "is_local"));
	const PgQuery__Node *value = argument(f, 1, "new_value");

	if (f->func_variadic || !touch_named(r, argument(f, 0, "setting_name"), local))
		r->row.flags |= TOUCH_SETTINGS_UNKNOWN | (local ? TOUCH_LOCAL : 0);
	else
		effects_place_value(r, f, value, without_cast(value, "text", "varchar"));
}

static bool is_name_column(const PgQuery__Node *n)
{
	return n && n->node_case == PG_QUERY__NODE__NODE_COLUMN_REF && n->column_ref->n_fields == 1 &&
	       n->column_ref->fields[0]->node_case == PG_QUERY__NODE__NODE_STRING &&
	       !strcmp(n->column_ref->fields[0]->string->sval, "name");
}

/* WHERE name = 'work_mem' */
static bool touch_where(struct reading *r, const PgQuery__Node *where)
{
	const PgQuery__AExpr *e;

	if (!where || where->node_case != PG_QUERY__NODE__NODE_A_EXPR)
		return false;
	e = where->a_expr;
	if (e->kind != PG_QUERY__A__EXPR__KIND__AEXPR_OP || e->n_name != 1 || strcmp(e->name[0]->string->sval, "="))
		return false;
	return (is_name_column(e->lexpr) && touch_named(r, e->rexpr, false)) ||
	       (is_name_column(e->rexpr) && touch_named(r, e->lexpr, false));
}

/* A rule of the view pg_settings makes an UPDATE of it set_config(name, setting, false) for each row. */
static void read_update(struct reading *r, const PgQuery__UpdateStmt *s)
{
	if (!s->relation || strcmp(s->relation->relname, "pg_settings"))
		return;
	if (s->n_from_clause || !touch_where(r, s->where_clause))
		r->row.flags |= TOUCH_OPAQUE;
}

static void read_call(struct reading *r, const PgQuery__FuncCall *f)
{
	const PgQuery__Node *last = f->n_funcname ? f->funcname[f->n_funcname - 1] : NULL;
	const char *name;
	uint32_t flags;

	if (!last || last->node_case != PG_QUERY__NODE__NODE_STRING)
		return;
	effects_place_channels(r, f);
	name = last->string->sval;
	flags = screen_function(name, strlen(name));
	if (!(flags & TOUCH_SETTINGS))
		r->row.flags |= flags;
	else if (!strcasecmp(name, "set_config"))
		read_set_config(r, f);
	else
		touch(r, "pg_trgm.similarity_threshold", 0, false);
}

static bool temporary_schema(const char *s)
{
	return s && !strncmp(s, "pg_temp", 7);
}

static bool temporary(const PgQuery__RangeVar *v)
{
	return v && ((v->relpersistence && v->relpersistence[0] == 't') || temporary_schema(v->schemaname));
}

enum {
	WALK_CALLS = 1, /* what runs: functions, SELECT INTO */
	WALK_MADE = 2,	/* names of what a CREATE makes, and of everything else in it */
};

static void visit(struct reading *r, const ProtobufCMessage *m, unsigned what)
{
	if (m->descriptor == &pg_query__func_call__descriptor && (what & WALK_CALLS)) {
		read_call(r, (const PgQuery__FuncCall *)m);
	} else if (m->descriptor == &pg_query__range_var__descriptor && what == WALK_CALLS) {
		const char *name = ((const PgQuery__RangeVar *)m)->relname;

		if (screen_own_view(name, strlen(name)))
			r->row.flags |= TOUCH_OWN_VIEWS;
	} else if (m->descriptor == &pg_query__res_target__descriptor && (what & WALK_CALLS)) {
		effects_place_column_name(r, (const PgQuery__ResTarget *)m);
	} else if (m->descriptor == &pg_query__range_function__descriptor && (what & WALK_CALLS)) {
		effects_place_table_name(r, (const PgQuery__RangeFunction *)m);
	} else if (m->descriptor == &pg_query__update_stmt__descriptor && (what & WALK_CALLS)) {
		read_update(r, (const PgQuery__UpdateStmt *)m);
	} else if (m->descriptor == &pg_query__into_clause__descriptor && (what & WALK_CALLS)) {
		r->row.flags |= TOUCH_DDL;
		if (temporary(((const PgQuery__IntoClause *)m)->rel))
			r->row.flags |= TOUCH_TEMP;
	} else if (what & WALK_MADE) {
		if (m->descriptor == &pg_query__range_var__descriptor && temporary((const PgQuery__RangeVar *)m))
			r->row.flags |= TOUCH_TEMP;
		if (m->descriptor == &pg_query__string__descriptor && temporary_schema(((const PgQuery__String *)m)->sval))
			r->row.flags |= TOUCH_TEMP;
	}
}

static void push(struct reading *r, const void *message)
{
	if (!message)
		return;
	if (r->n_todo == r->cap_todo) {
		r->cap_todo = r->cap_todo ? 2 * r->cap_todo : 64;
		r->todo = reallocarray(r->todo, r->cap_todo, sizeof r->todo[0]);
		if (!r->todo)
			abort();
	}
	r->todo[r->n_todo++] = message;
}

/* A member of a message by its place, as protobuf-c's descriptors tell it. */
static const void *pointer_at(const ProtobufCMessage *m, size_t offset)
{
	const void *p;

	memcpy(&p, (const char *)m + offset, sizeof p);
	return p;
}

static void push_field(struct reading *r, const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	size_t n;
	uint32_t which;

	if (f->type != PROTOBUF_C_TYPE_MESSAGE)
		return;
	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		const char *array = pointer_at(m, f->offset);

		memcpy(&n, (const char *)m + f->quantifier_offset, sizeof n);
		while (n--) /* backwards: the stack gives the first one first */
			push(r, ((void *const *)(const void *)array)[n]);
		return;
	}
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		memcpy(&which, (const char *)m + f->quantifier_offset, sizeof which);
		if (which != f->id)
			return;
	}
	push(r, pointer_at(m, f->offset));
}

/* Everything below a message, wherever the grammar may have put it: by descriptors, not by a list of node types. */
static void walk(struct reading *r, const void *from, unsigned what)
{
	push(r, from);
	while (r->n_todo) {
		const ProtobufCMessage *m = r->todo[--r->n_todo];

		if (m->descriptor == &pg_query__node__descriptor) {
			const PgQuery__Node *n = (const PgQuery__Node *)m;

			if (n->node_case != PG_QUERY__NODE__NODE__NOT_SET)
				push(r, n->alias); /* any member: all are pointers in one place */
			continue;
		}
		visit(r, m, what);
		for (unsigned i = m->descriptor->n_fields; i--;)
			push_field(r, m, &m->descriptor->fields[i]);
	}
}

/* --- names in the text --- */

/* The name a token stands for, cut as the parser cut it. */
static bool token_names(const struct lex *l, enum tok t, const char *name)
{
	const char *p = l->tok, *end = l->tok_end;
	size_t n = 0, len = strlen(name);

	if (t == TOK_QUOTED) {
		p++;
		end--;
	} else if (t != TOK_WORD) {
		return false;
	}
	for (; p < end && n < len; p++, n++) {
		char c = t == TOK_WORD && *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p;

		if (t == TOK_QUOTED && *p == '"')
			p++;
		if (c != name[n])
			return false;
	}
	return n == len && (p == end || len >= NAME_CUT);
}

/* PostgreSQL says so where it cuts a name: at 63 bytes, or before the character that does not fit. */
static bool may_be_cut(const char *name)
{
	return name && strlen(name) >= 60;
}

/* Finds the token that names a prepared statement: the one after `after`, which itself stands outside of brackets and,
 * where `before` is set, follows that word. Without `after` it is the statement's last token. */
static void find_name(struct reading *r, const char *before, const char *after)
{
	struct lex l = lex_of(r->text + r->row.at, r->row.len, r->backslash);
	bool here = false, ready = !before;
	int depth = 0;
	enum tok t;

	while ((t = lex_next(&l)) != TOK_END && t != TOK_BAD) {
		if (here || (!after && l.tok_end == r->text + r->row.at + r->row.len)) {
			if (!token_names(&l, t, r->row.name))
				break;
			r->row.name_at = (uint32_t)(l.tok - r->text);
			r->row.name_len = (uint32_t)(l.tok_end - l.tok);
			return;
		}
		depth += (t == TOK_OPEN) - (t == TOK_CLOSE);
		if (depth)
			continue;
		here = after && ready && lex_is(&l, t, after);
		ready = !before || lex_is(&l, t, before);
	}
	r->lost = true;
}

/* --- statements --- */

static void read_node(struct reading *r, const PgQuery__Node *n);

static void name_it(struct reading *r, enum stmt_kind kind, const char *name)
{
	r->row.kind = kind;
	r->row.name = copy_name(r->held, name);
}

static void read_transaction(struct reading *r, const PgQuery__TransactionStmt *s)
{
	r->row.flags |= TOUCH_TX;
	switch (s->kind) {
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_BEGIN:
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_START:
		r->row.kind = STMT_BEGIN;
		break;
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT:
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_PREPARE:
		r->row.kind = STMT_COMMIT;
		break;
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK:
		r->row.kind = STMT_ROLLBACK;
		break;
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_SAVEPOINT:
		name_it(r, STMT_SAVEPOINT, s->savepoint_name);
		break;
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_RELEASE:
		name_it(r, STMT_RELEASE, s->savepoint_name);
		break;
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_TO:
		name_it(r, STMT_ROLLBACK_TO, s->savepoint_name);
		break;
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT_PREPARED:
	case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_PREPARED:
		break;
	default:
		r->lost = true;
	}
}

static void read_discard(struct reading *r, const PgQuery__DiscardStmt *s)
{
	r->row.flags |= TOUCH_DROP;
	switch (s->target) {
	case PG_QUERY__DISCARD_MODE__DISCARD_ALL:
		r->row.kind = STMT_DISCARD_ALL;
		break;
	case PG_QUERY__DISCARD_MODE__DISCARD_PLANS:
		r->row.kind = STMT_DISCARD_PLANS;
		break;
	case PG_QUERY__DISCARD_MODE__DISCARD_SEQUENCES:
		r->row.kind = STMT_DISCARD_SEQUENCES;
		break;
	case PG_QUERY__DISCARD_MODE__DISCARD_TEMP:
		r->row.kind = STMT_DISCARD_TEMP;
		break;
	default:
		r->lost = true;
	}
}

/* A target list and nothing else. */
static bool bare_select(const PgQuery__SelectStmt *s)
{
	return s->n_target_list && !s->n_distinct_clause && !s->into_clause && !s->n_from_clause && !s->where_clause &&
	       !s->n_group_clause && !s->having_clause && !s->n_window_clause && !s->n_values_lists && !s->n_sort_clause &&
	       !s->limit_offset && !s->limit_count && !s->n_locking_clause && !s->with_clause && !s->larg && !s->rarg;
}

/* The function that an item of a target list calls plainly, one of PostgreSQL's own of that name; NULL if it is another. */
static const PgQuery__FuncCall *plain_call(const PgQuery__Node *n, const char *name)
{
	const PgQuery__FuncCall *f;

	if (n->node_case != PG_QUERY__NODE__NODE_RES_TARGET || !n->res_target->val ||
	    n->res_target->val->node_case != PG_QUERY__NODE__NODE_FUNC_CALL)
		return NULL;
	f = n->res_target->val->func_call;
	if (f->n_agg_order || f->agg_filter || f->over || f->agg_star || f->func_variadic || !f->n_funcname || f->n_funcname > 2)
		return NULL;
	if (f->n_funcname == 2 && strcmp(f->funcname[0]->string->sval, "pg_catalog"))
		return NULL;
	return strcmp(f->funcname[f->n_funcname - 1]->string->sval, name) ? NULL : f;
}

/* SELECT pg_advisory_unlock_all(), and not a word more. */
static bool unlocks_all(const PgQuery__SelectStmt *s)
{
	const PgQuery__FuncCall *f = bare_select(s) ? plain_call(s->target_list[0], "pg_advisory_unlock_all") : NULL;

	return f && s->n_target_list == 1 && !f->n_args;
}

static bool plain_argument(const PgQuery__Node *n)
{
	n = without_cast(n, "text", "bool");
	return n && (n->node_case == PG_QUERY__NODE__NODE_A_CONST || n->node_case == PG_QUERY__NODE__NODE_PARAM_REF);
}

/* SELECT set_config(…), set_config(…) of constants and parameters: it does all of that, in this order, or fails. */
static bool sets_only(const PgQuery__SelectStmt *s)
{
	if (!bare_select(s))
		return false;
	for (size_t i = 0; i < s->n_target_list; i++) {
		const PgQuery__FuncCall *f = plain_call(s->target_list[i], "set_config");

		if (!f || f->n_args != 3)
			return false;
		for (size_t j = 0; j < f->n_args; j++)
			if (!plain_argument(f->args[j]))
				return false;
	}
	return true;
}

static void read_select(struct reading *r, const PgQuery__SelectStmt *s)
{
	if (!sets_only(s))
		return;
	for (size_t i = 0; i < r->row.n_touched; i++)
		r->row.touched[i].surely = true;
}

static void read_prepare(struct reading *r, const PgQuery__PrepareStmt *s)
{
	name_it(r, STMT_PREPARE, s->name);
	walk(r, s->query, WALK_CALLS);
	if (s->query && s->query->node_case == PG_QUERY__NODE__NODE_SELECT_STMT)
		read_select(r, s->query->select_stmt);
	r->row.inner_flags = r->row.flags;
	r->row.flags = 0;
	if (s->query && s->query->node_case == PG_QUERY__NODE__NODE_SELECT_STMT && unlocks_all(s->query->select_stmt))
		r->row.inner_kind = STMT_UNLOCK_ALL;
	find_name(r, NULL, "prepare");
}

/* before: what the word EXECUTE follows, NULL where it can't be mistaken. */
static void read_execute(struct reading *r, const PgQuery__ExecuteStmt *s, const char *before)
{
	name_it(r, STMT_EXECUTE, s->name);
	for (size_t i = 0; i < s->n_params; i++)
		walk(r, s->params[i], WALK_CALLS);
	find_name(r, before, "execute");
}

static void read_table_as(struct reading *r, const PgQuery__CreateTableAsStmt *s)
{
	r->row.flags |= TOUCH_DDL;
	if (s->into)
		walk(r, s->into, WALK_CALLS);
	if (s->query && s->query->node_case == PG_QUERY__NODE__NODE_EXECUTE_STMT)
		read_execute(r, s->query->execute_stmt, "as");
	else
		walk(r, s->query, WALK_CALLS);
}

static void read_explain(struct reading *r, const PgQuery__ExplainStmt *s)
{
	bool analyze = false;

	for (size_t i = 0; i < s->n_options; i++)
		if (s->options[i]->node_case == PG_QUERY__NODE__NODE_DEF_ELEM)
			analyze |= !strcmp(s->options[i]->def_elem->defname, "analyze");
	if (!s->query)
		return;
	switch (s->query->node_case) {
	case PG_QUERY__NODE__NODE_EXECUTE_STMT: /* its arguments are computed without ANALYZE too */
		read_execute(r, s->query->execute_stmt, NULL);
		break;
	case PG_QUERY__NODE__NODE_CREATE_TABLE_AS_STMT:
		read_table_as(r, s->query->create_table_as_stmt);
		break;
	default: /* a DECLARE too: it runs the query and opens no cursor */
		if (analyze)
			walk(r, s->query, WALK_CALLS);
	}
}

static void read_copy(struct reading *r, const PgQuery__CopyStmt *s)
{
	walk(r, s, WALK_CALLS);
	if (s->is_from && !s->is_program && (!s->filename || !*s->filename))
		r->row.flags |= TOUCH_COPY_IN;
}

static void read_createdb(struct reading *r, const PgQuery__CreatedbStmt *s)
{
	r->row.flags |= TOUCH_DDL | TOUCH_DATABASE;
	r->row.name = copy_name(r->held, s->dbname);
	for (size_t i = 0; i < s->n_options; i++) {
		const PgQuery__DefElem *d = s->options[i]->def_elem;

		if (s->options[i]->node_case != PG_QUERY__NODE__NODE_DEF_ELEM || strcmp(d->defname, "template") || !d->arg ||
		    d->arg->node_case != PG_QUERY__NODE__NODE_STRING)
			continue;
		free(r->row.value);
		r->row.value = copy_name(r->held, d->arg->string->sval);
	}
}

static void alter(struct reading *r, const PgQuery__Node *n)
{
	r->row.flags |= TOUCH_DDL | TOUCH_DROP;
	walk(r, n, WALK_CALLS);
}

static void database(struct reading *r, const char *name)
{
	r->row.flags |= TOUCH_DDL | TOUCH_DROP | TOUCH_DATABASE;
	r->row.name = copy_name(r->held, name);
}

static void role_goes(struct reading *r, const char *name)
{
	struct stmt_effects *row = &r->row;

	row->flags |= TOUCH_ROLE;
	row->touched = reallocarray(row->touched, row->n_touched + 1, sizeof *row->touched);
	if (!row->touched)
		abort();
	row->touched[row->n_touched++] = (struct touched_setting){ .name = copy_name(r->held, name) };
	r->held->bytes += sizeof *row->touched;
}

static void read_drop_role(struct reading *r, const PgQuery__Node *n)
{
	const PgQuery__DropRoleStmt *s = n->drop_role_stmt;

	alter(r, n);
	for (size_t i = 0; i < s->n_roles; i++)
		if (s->roles[i]->node_case == PG_QUERY__NODE__NODE_ROLE_SPEC && s->roles[i]->role_spec->rolename &&
		    *s->roles[i]->role_spec->rolename)
			role_goes(r, s->roles[i]->role_spec->rolename);
}

static void read_rename(struct reading *r, const PgQuery__Node *n)
{
	if (n->rename_stmt->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_DATABASE)
		database(r, n->rename_stmt->subname);
	else
		alter(r, n);
	if (n->rename_stmt->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_ROLE && n->rename_stmt->subname && *n->rename_stmt->subname)
		role_goes(r, n->rename_stmt->subname);
}

static void read_owner(struct reading *r, const PgQuery__Node *n)
{
	const PgQuery__AlterOwnerStmt *s = n->alter_owner_stmt;

	if (s->object_type == PG_QUERY__OBJECT_TYPE__OBJECT_DATABASE && s->object &&
	    s->object->node_case == PG_QUERY__NODE__NODE_STRING)
		database(r, s->object->string->sval);
	else
		alter(r, n);
}

static void body_touches(void *reading, const char *name, bool local)
{
	struct reading *r = reading;

	for (size_t i = 0; i < r->row.n_touched; i++)
		if (r->row.touched[i].local == local && r->row.touched[i].name && !strcasecmp(r->row.touched[i].name, name))
			return;
	if (r->row.n_touched < BODY_NAMES)
		touch(r, name, 0, local);
	else
		r->row.flags |= TOUCH_SETTINGS_UNKNOWN;
}

/* Custom settings can't be listed afterwards, only asked for by name. */
static void read_do(struct reading *r, const PgQuery__DoStmt *s)
{
	if (r->watch && watch_known(r->watch)) {
		effects_watch_do(r->held, &r->row, r->watch, s, r->lex_mode);
		return;
	}
	r->row.flags |= TOUCH_OPAQUE;
	for (size_t i = 0; i < s->n_args; i++) {
		const PgQuery__DefElem *d = s->args[i]->def_elem;

		if (s->args[i]->node_case != PG_QUERY__NODE__NODE_DEF_ELEM || strcmp(d->defname, "as") || !d->arg ||
		    d->arg->node_case != PG_QUERY__NODE__NODE_STRING)
			continue;
		if (effects_read_body(d->arg->string->sval, strlen(d->arg->string->sval), r->backslash, body_touches, r))
			r->row.flags |= TOUCH_SETTINGS_UNKNOWN;
	}
}

static bool read_session_statement(struct reading *r, const PgQuery__Node *n)
{
	switch (n->node_case) {
	case PG_QUERY__NODE__NODE_TRANSACTION_STMT:
		read_transaction(r, n->transaction_stmt);
		return true;
	case PG_QUERY__NODE__NODE_PREPARE_STMT:
		read_prepare(r, n->prepare_stmt);
		return true;
	case PG_QUERY__NODE__NODE_EXECUTE_STMT:
		read_execute(r, n->execute_stmt, NULL);
		r->row.inner_kind = STMT_EXECUTE;
		return true;
	case PG_QUERY__NODE__NODE_DEALLOCATE_STMT:
		name_it(r, STMT_DEALLOCATE, n->deallocate_stmt->name);
		if (r->row.name)
			find_name(r, NULL, NULL);
		else
			r->row.kind = STMT_DEALLOCATE_ALL;
		return true;
	case PG_QUERY__NODE__NODE_DISCARD_STMT:
		read_discard(r, n->discard_stmt);
		return true;
	case PG_QUERY__NODE__NODE_DECLARE_CURSOR_STMT:
		r->row.name = copy_name(r->held, n->declare_cursor_stmt->portalname);
		if (n->declare_cursor_stmt->options & CURSOR_HOLD)
			r->row.flags |= TOUCH_CURSOR;
		walk(r, n->declare_cursor_stmt->query, WALK_CALLS);
		return true;
	case PG_QUERY__NODE__NODE_CLOSE_PORTAL_STMT:
		name_it(r, STMT_CLOSE, n->close_portal_stmt->portalname);
		if (!r->row.name)
			r->row.kind = STMT_CLOSE_ALL;
		r->row.flags |= TOUCH_DROP;
		return true;
	case PG_QUERY__NODE__NODE_LISTEN_STMT:
		name_it(r, STMT_LISTEN, n->listen_stmt->conditionname);
		if (may_be_cut(r->row.name))
			find_name(r, NULL, "listen");
		r->row.flags |= TOUCH_LISTEN;
		return true;
	case PG_QUERY__NODE__NODE_UNLISTEN_STMT:
		name_it(r, STMT_UNLISTEN, n->unlisten_stmt->conditionname);
		if (may_be_cut(r->row.name))
			find_name(r, NULL, "unlisten");
		if (!r->row.name)
			r->row.kind = STMT_UNLISTEN_ALL;
		r->row.flags |= TOUCH_DROP;
		return true;
	case PG_QUERY__NODE__NODE_LOAD_STMT:
		r->row.flags |= TOUCH_SESSION;
		return true;
	case PG_QUERY__NODE__NODE_DO_STMT:
		read_do(r, n->do_stmt);
		return true;
	case PG_QUERY__NODE__NODE_CALL_STMT:
		walk(r, n, WALK_CALLS);
		effects_watch_call(&r->row, r->watch, n->call_stmt);
		return true;
	default:
		return false;
	}
}

static bool read_query(struct reading *r, const PgQuery__Node *n)
{
	switch (n->node_case) {
	case PG_QUERY__NODE__NODE_SELECT_STMT:
		if (unlocks_all(n->select_stmt))
			r->row.kind = STMT_UNLOCK_ALL;
		walk(r, n, WALK_CALLS);
		read_select(r, n->select_stmt);
		return true;
	case PG_QUERY__NODE__NODE_EXPLAIN_STMT:
		read_explain(r, n->explain_stmt);
		return true;
	case PG_QUERY__NODE__NODE_CREATE_TABLE_AS_STMT:
		read_table_as(r, n->create_table_as_stmt);
		return true;
	case PG_QUERY__NODE__NODE_COPY_STMT:
		read_copy(r, n->copy_stmt);
		return true;
	case PG_QUERY__NODE__NODE_INSERT_STMT:
	case PG_QUERY__NODE__NODE_UPDATE_STMT:
	case PG_QUERY__NODE__NODE_DELETE_STMT:
	case PG_QUERY__NODE__NODE_MERGE_STMT:
	case PG_QUERY__NODE__NODE_FETCH_STMT:
	case PG_QUERY__NODE__NODE_NOTIFY_STMT:
	case PG_QUERY__NODE__NODE_VARIABLE_SHOW_STMT:
	case PG_QUERY__NODE__NODE_CONSTRAINTS_SET_STMT:
	case PG_QUERY__NODE__NODE_LOCK_STMT:
	case PG_QUERY__NODE__NODE_TRUNCATE_STMT:
	case PG_QUERY__NODE__NODE_COMMENT_STMT:
	case PG_QUERY__NODE__NODE_GRANT_STMT:
	case PG_QUERY__NODE__NODE_GRANT_ROLE_STMT:
	case PG_QUERY__NODE__NODE_VACUUM_STMT:
	case PG_QUERY__NODE__NODE_CLUSTER_STMT:
	case PG_QUERY__NODE__NODE_REINDEX_STMT:
	case PG_QUERY__NODE__NODE_CHECK_POINT_STMT:
	case PG_QUERY__NODE__NODE_SEC_LABEL_STMT:
		walk(r, n, WALK_CALLS);
		return true;
	default:
		return false;
	}
}

static bool read_database(struct reading *r, const PgQuery__Node *n)
{
	switch (n->node_case) {
	case PG_QUERY__NODE__NODE_ALTER_ROLE_SET_STMT:
	case PG_QUERY__NODE__NODE_ALTER_DATABASE_SET_STMT:
	case PG_QUERY__NODE__NODE_ALTER_SYSTEM_STMT:
		r->row.flags |= TOUCH_ROLE_DEFAULTS;
		return true;
	case PG_QUERY__NODE__NODE_CREATEDB_STMT:
		read_createdb(r, n->createdb_stmt);
		return true;
	case PG_QUERY__NODE__NODE_DROP_ROLE_STMT:
		read_drop_role(r, n);
		return true;
	case PG_QUERY__NODE__NODE_DROPDB_STMT:
		database(r, n->dropdb_stmt->dbname);
		return true;
	case PG_QUERY__NODE__NODE_ALTER_DATABASE_STMT:
		database(r, n->alter_database_stmt->dbname);
		return true;
	case PG_QUERY__NODE__NODE_ALTER_DATABASE_REFRESH_COLL_STMT:
		database(r, n->alter_database_refresh_coll_stmt->dbname);
		return true;
	case PG_QUERY__NODE__NODE_RENAME_STMT:
		read_rename(r, n);
		return true;
	case PG_QUERY__NODE__NODE_ALTER_OWNER_STMT:
		read_owner(r, n);
		return true;
	default:
		return false;
	}
}

/* The name of a statement's type tells what family it is of: protobuf keeps PostgreSQL's. */
static bool is_type(const ProtobufCMessage *m, const char *prefix)
{
	const char *s = m->descriptor->short_name;

	return !strncmp(s, prefix, strlen(prefix));
}

/* CREATE, ALTER, DROP. Bodies are stored, not run; whatever else is in them counts: ALTER TABLE … USING f() runs. */
static void read_ddl(struct reading *r, const PgQuery__Node *n)
{
	const ProtobufCMessage *m = (const ProtobufCMessage *)(const void *)n->alias;

	if (is_type(m, "Alter") || is_type(m, "Drop") || is_type(m, "Reassign")) {
		alter(r, n);
		return;
	}
	switch (n->node_case) {
	case PG_QUERY__NODE__NODE_CREATE_FUNCTION_STMT:
	case PG_QUERY__NODE__NODE_RULE_STMT:
	case PG_QUERY__NODE__NODE_VIEW_STMT:
	case PG_QUERY__NODE__NODE_CREATE_TRIG_STMT:
	case PG_QUERY__NODE__NODE_CREATE_POLICY_STMT:
		r->row.flags |= TOUCH_DDL;
		walk(r, n, WALK_MADE);
		return;
	case PG_QUERY__NODE__NODE_DEFINE_STMT:
	case PG_QUERY__NODE__NODE_INDEX_STMT:
	case PG_QUERY__NODE__NODE_COMPOSITE_TYPE_STMT:
	case PG_QUERY__NODE__NODE_IMPORT_FOREIGN_SCHEMA_STMT:
	case PG_QUERY__NODE__NODE_REFRESH_MAT_VIEW_STMT:
		break;
	default:
		if (!is_type(m, "Create")) {
			r->lost = true; /* a statement of a newer parser */
			return;
		}
	}
	r->row.flags |= TOUCH_DDL;
	walk(r, n, WALK_CALLS | WALK_MADE);
}

static void read_node(struct reading *r, const PgQuery__Node *n)
{
	if (!read_session_statement(r, n) && !read_query(r, n) && !read_database(r, n))
		read_ddl(r, n);
}

/* The statement between the blanks and comments around it. */
static bool find_extent(struct reading *r, size_t from, size_t len)
{
	struct lex l = lex_of(r->text + from, len, r->backslash);
	const char *first = NULL, *last = NULL;
	enum tok t;

	while ((t = lex_next(&l)) != TOK_END) {
		if (t == TOK_BAD)
			return false;
		if (!first)
			first = l.tok;
		last = l.tok_end;
	}
	if (!first)
		return false;
	r->row.at = (uint32_t)(first - r->text);
	r->row.len = (uint32_t)(last - first);
	return true;
}

static bool add_row(struct reading *r)
{
	if (r->lost) {
		held_row_clear(&r->row);
		r->row = (struct stmt_effects){ .flags = TOUCH_OPAQUE, .at = r->row.at, .len = r->row.len };
	}
	*held_row(r->held) = r->row;
	return true;
}

static bool read_statement(struct reading *r, const PgQuery__RawStmt *s, size_t len)
{
	size_t from = (size_t)s->stmt_location;

	r->row = (struct stmt_effects){ .kind = STMT_PLAIN };
	r->lost = false;
	if (s->stmt_location < 0 || from > len || s->stmt_len < 0 || (size_t)s->stmt_len > len - from || !s->stmt ||
	    !find_extent(r, from, s->stmt_len ? (size_t)s->stmt_len : len - from))
		return false;
	if (s->stmt->node_case == PG_QUERY__NODE__NODE_VARIABLE_SET_STMT)
		return effects_read_set(r->held, &r->row, s->stmt->variable_set_stmt);
	if (s->stmt->node_case == PG_QUERY__NODE__NODE__NOT_SET)
		return false;
	read_node(r, s->stmt);
	if (r->watch && r->row.flags & TOUCH_DDL)
		effects_watch_ddl(r->held, &r->row, r->watch, s->stmt, r->text, r->lex_mode);
	if (r->watch)
		effects_watch_row(r->held, &r->row, r->watch, s->stmt, r->text, r->lex_mode);
	return add_row(r);
}

struct held *effects_parse(struct tree_parser *t, const struct watch *w, const char *text, size_t len, unsigned lex_mode)
{
	const PgQuery__ParseResult *tree = tree_parse(t, text, len, lex_mode & LEX_BACKSLASH);
	struct reading r = { .watch = w, .text = text, .len = len, .lex_mode = lex_mode, .backslash = lex_mode & LEX_BACKSLASH };
	bool ok = tree != NULL;

	r.held = held_new();
	for (size_t i = 0; ok && i < tree->n_stmts; i++)
		ok = read_statement(&r, tree->stmts[i], len);
	tree_done(t);
	free(r.todo);
	if (!ok) {
		held_free(r.held);
		return NULL;
	}
	for (size_t i = 0; i < r.held->e.n; i++)
		r.held->e.flags |= r.held->e.stmts[i].flags;
	return r.held;
}
