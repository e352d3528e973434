/* Rows and their descriptions. */
#include "tests/sim/model_internal.h"

#include <stdio.h>
#include <string.h>

/* The column a statement returns; 0: none. FETCH and EXECUTE by what they name. */
uint32_t model_result_of(struct model *m, const struct model_sql *q, const char **name)
{
	const struct model_stmt *st;

	switch (q->op) {
	case OP_NOTHING:
	case OP_VALUE:
	case OP_DIVISION:
		*name = "?column?";
		return TYPE_TEXT;
	case OP_ORDER:
		*name = "date";
		return TYPE_DATE;
	case OP_TABLE:
		*name = "c";
		return !strncmp(model_show(m, VAR_SEARCH_PATH), "a", 1) ? TYPE_INT4 : TYPE_TEXT;
	case OP_SERIES:
	case OP_FETCH:
		*name = "generate_series";
		return q->op == OP_FETCH && !model_portal_find(m, q->name) ? 0 : TYPE_INT4;
	case OP_SHOW:
		*name = q->var < 0 ? "transaction_isolation" : model_var_name((enum model_var)q->var);
		return TYPE_TEXT;
	case OP_CURRENT_SETTING:
		*name = "current_setting";
		return TYPE_TEXT;
	case OP_SETTING_OR_NOTHING:
		*name = "nullif";
		return TYPE_TEXT;
	case OP_SET_CONFIG:
		*name = "set_config";
		return TYPE_TEXT;
	case OP_LOCK:
	case OP_LOCK_IN_TRANSACTION:
		*name = "pg_advisory_lock";
		return TYPE_VOID;
	case OP_UNLOCK:
		*name = "pg_advisory_unlock";
		return TYPE_BOOL;
	case OP_NEXTVAL:
	case OP_CURRVAL:
	case OP_LASTVAL:
		*name = q->op == OP_NEXTVAL ? "nextval" : q->op == OP_CURRVAL ? "currval" : "lastval";
		return TYPE_INT8;
	case OP_NOTIFY:
		*name = "pg_notify";
		return q->hold || !q->name ? TYPE_VOID : 0;
	case OP_UNLOCK_ALL:
		*name = "pg_advisory_unlock_all";
		return TYPE_VOID;
	case OP_MY_LOCKS:
	case OP_TEMP_READ:
		*name = "count";
		return TYPE_INT8;
	case OP_MY_STATEMENTS:
	case OP_MY_CHANNELS:
		*name = "string_agg";
		return TYPE_TEXT;
	case OP_EXECUTE:
		st = model_stmt_find(m, q->name);
		return st && st->sql ? model_result_of(m, st->sql, name) : 0;
	default:
		return 0;
	}
}

static uint16_t type_len(uint32_t type)
{
	return type == TYPE_BOOL ? 1 : type == TYPE_INT8 ? 8 : type == TYPE_TEXT ? UINT16_MAX : 4;
}

void model_describe(struct model *m, const struct model_sql *q)
{
	const char *name;
	uint32_t type = q ? model_result_of(m, q, &name) : 0;
	size_t n = q && q->op == OP_SET_CONFIG ? q->n_changes : q && q->op == OP_NOTHING ? 0 : 1, mark;

	if (!type) {
		msg_add(&m->out, 'n', NULL, 0);
		return;
	}
	mark = msg_begin(&m->out, 'T');
	buf_u16(&m->out, (uint16_t)n);
	while (n--) {
		buf_str(&m->out, name);
		buf_add(&m->out, "\0\0\0\0\0", 6);
		buf_u32(&m->out, type);
		buf_u16(&m->out, type_len(type));
		buf_add(&m->out, "\377\377\377\377\0", 6);
	}
	msg_end(&m->out, mark);
}

void model_put_value(struct model *m, const char *value)
{
	buf_u32(&m->out, value ? (uint32_t)strlen(value) : UINT32_MAX);
	if (value)
		buf_text(&m->out, value);
}

void model_row(struct model *m, const char *value)
{
	size_t mark = msg_begin(&m->out, 'D');

	buf_u16(&m->out, 1);
	model_put_value(m, value);
	msg_end(&m->out, mark);
}

static void row_of_number(struct model *m, int n)
{
	char text[16];

	snprintf(text, sizeof text, "%d", n);
	model_row(m, text);
}

bool model_one_row(struct model *m, const struct run *r, const struct model_sql *q, const char *value)
{
	if (r->simple)
		model_describe(m, q);
	model_row(m, value);
	model_tag(m, q->op == OP_SHOW ? "SHOW" : "SELECT 1");
	return true;
}

bool model_one_number(struct model *m, const struct run *r, const struct model_sql *q, int n)
{
	char text[16];

	snprintf(text, sizeof text, "%d", n);
	return model_one_row(m, r, q, text);
}

/* Rows from `at` to `n`, `max` at most (0: all). Returns false where the limit came first. */
bool model_series(struct model *m, int *at, int n, int max, int *given)
{
	*given = 0;
	while (*at < n && (!max || *given < max)) {
		++*at;
		++*given;
		row_of_number(m, *at);
	}
	return !max || *given < max;
}
