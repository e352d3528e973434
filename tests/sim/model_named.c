/* Prepared statements and their analysis (plancache.c), portals and cursors. */
#include "tests/sim/model_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct model_stmt *model_stmt_find(struct model *m, const char *name)
{
	for (struct model_stmt *st = m->stmts; st < m->stmts + MODEL_STMTS; st++)
		if (st->name && st->name == name)
			return st;
	return NULL;
}

/* Analysed: what its tables and literals mean under the settings of now. */
bool model_analyse(struct model *m, struct model_stmt *st, const struct model_sql *q)
{
	const char *path = model_show(m, VAR_SEARCH_PATH), *name;

	if (q && q->op == OP_TABLE && path[0] != 'a' && path[0] != 'b')
		return model_error(m, "42P01", "relation \"%s\" does not exist", "t");
	if (q && q->op == OP_TEMP_READ && !(m->now.temps >> q->n & 1))
		return model_error(m, "42P01", "relation \"%s\" does not exist", "pg_temp.t");
	st->path = path;
	st->order = model_show(m, VAR_DATESTYLE);
	st->temp_schema = m->now.temp_schema;
	if (!st->type && q && q->op != OP_EXECUTE && q->op != OP_FETCH)
		st->type = model_result_of(m, q, &name);
	return true;
}

/* plancache.c: another search_path, or none left that it was analysed under. */
bool model_revalidate(struct model *m, struct model_stmt *st)
{
	const struct model_sql *q = st->sql;
	const char *name;

	if (q && q->op == OP_TEMP_READ && !(m->now.temps >> q->n & 1))
		return model_error(m, "42P01", "relation \"%s\" does not exist", "pg_temp.t");
	if (!q || (st->path == model_show(m, VAR_SEARCH_PATH) && st->temp_schema == m->now.temp_schema))
		return true;
	if (!model_analyse(m, st, q))
		return false;
	if (q->op == OP_TABLE && model_result_of(m, q, &name) != st->type) {
		st->path = NULL;
		return model_error(m, "0A000", "%s must not change result type", "cached plan");
	}
	return true;
}

struct model_stmt *model_stmt_put(struct model *m, const char *name, const struct model_text *t, const struct model_sql *q)
{
	for (struct model_stmt *st = m->stmts; st < m->stmts + MODEL_STMTS; st++)
		if (!st->name) {
			*st = (struct model_stmt){ .name = name, .text = t, .sql = q };
			return st;
		}
	model_complain(m, "too many statements", name);
	return NULL;
}

void model_stmts_drop_named(struct model *m)
{
	for (struct model_stmt *st = m->stmts; st < m->stmts + MODEL_STMTS; st++)
		if (st->name && *st->name)
			st->name = NULL;
}

bool model_prepare(struct model *m, const struct model_sql *q)
{
	struct model_stmt *st, judged = { 0 };

	if (!model_analyse(m, &judged, q->inner))
		return false;
	if (model_stmt_find(m, q->name))
		return model_error(m, "42P05", "prepared statement \"%s\" already exists", q->name);
	st = model_stmt_put(m, q->name, NULL, q->inner);
	if (!st)
		return model_error(m, "54000", "%s", "too many statements");
	judged.name = st->name;
	judged.sql = q->inner;
	*st = judged;
	st->from_sql = true;
	model_tag(m, "PREPARE");
	return true;
}


bool model_execute(struct model *m, const struct run *r, const struct model_sql *q)
{
	struct model_stmt *st = model_stmt_find(m, q->name);
	struct run inner = *r;

	if (!st || !*q->name)
		return model_error(m, "26000", "prepared statement \"%s\" does not exist", q->name);
	if (st->text && st->text->n_params)
		return model_error(m, "42601", "wrong number of parameters for prepared statement \"%s\"", q->name);
	if (!model_revalidate(m, st))
		return false;
	inner.order = st->order;
	inner.path = st->path;
	if (!st->sql) {
		model_tag(m, "");
		return true;
	}
	return model_run(m, &inner, st->sql);
}

bool model_deallocate(struct model *m, const struct model_sql *q)
{
	struct model_stmt *st = model_stmt_find(m, q->name);

	if (!st)
		return model_error(m, "26000", "prepared statement \"%s\" does not exist", q->name);
	st->name = NULL;
	model_tag(m, "DEALLOCATE");
	return true;
}


static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct model_stmt *const *)a)->name, (*(const struct model_stmt *const *)b)->name);
}

bool model_my_statements(struct model *m, const struct run *r, const struct model_sql *q)
{
	const struct model_stmt *list[MODEL_STMTS];
	char text[MODEL_STMTS * 80];
	size_t n = 0, at = 0;

	for (const struct model_stmt *st = m->stmts; st < m->stmts + MODEL_STMTS; st++)
		if (st->name && *st->name)
			list[n++] = st;
	qsort(list, n, sizeof *list, by_name);
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, 80, "%s%.60s%s", i ? "," : "", list[i]->name, list[i]->from_sql ? "t" : "f");
	return model_one_row(m, r, q, n ? text : NULL);
}

/* ---- cursors ---- */

void model_portal_drop(struct model_portal *p)
{
	p->name = NULL;
}

struct model_portal *model_portal_find(struct model *m, const char *name)
{
	for (struct model_portal *p = m->portals; p < m->portals + MODEL_PORTALS; p++)
		if (p->name && p->name == name)
			return p;
	return NULL;
}

struct model_portal *model_portal_put(struct model *m, const char *name)
{
	for (struct model_portal *p = m->portals; p < m->portals + MODEL_PORTALS; p++)
		if (!p->name) {
			memset(p, 0, offsetof(struct model_portal, bound));
			p->at = 0;
			p->cursor = p->hold = p->held = p->done = false;
			p->level = m->n_saves;
			p->name = name;
			return p;
		}
	model_complain(m, "too many portals", name);
	return NULL;
}

bool model_declare(struct model *m, const struct model_sql *q)
{
	struct model_portal *p;

	if (!q->hold && !m->explicit_ && !m->several)
		return model_error(m, "25P01", "%s can only be used in transaction blocks", "DECLARE CURSOR");
	if (model_portal_find(m, q->name))
		return model_error(m, "42P03", "cursor \"%s\" already exists", q->name);
	p = model_portal_put(m, q->name);
	if (!p)
		return model_error(m, "54000", "%s", "too many portals");
	p->sql = q;
	p->cursor = true;
	p->hold = q->hold;
	model_tag(m, "DECLARE CURSOR");
	return true;
}

bool model_fetch(struct model *m, const struct run *r, const struct model_sql *q)
{
	struct model_portal *p = model_portal_find(m, q->name);
	int given = 0;
	char text[32];

	if (!p || !p->cursor)
		return model_error(m, "34000", "cursor \"%s\" does not exist", q->name);
	if (q->op == OP_MOVE) {
		given = p->sql->n - p->at < q->n ? p->sql->n - p->at : q->n;
		p->at += given;
	} else {
		if (r->simple)
			model_describe(m, q);
		model_series(m, &p->at, p->sql->n, q->n, &given);
	}
	snprintf(text, sizeof text, "%s %d", q->op == OP_MOVE ? "MOVE" : "FETCH", given);
	model_tag(m, text);
	return true;
}

bool model_close(struct model *m, const struct model_sql *q)
{
	struct model_portal *p = model_portal_find(m, q->name);

	if (!p)
		return model_error(m, "34000", "cursor \"%s\" does not exist", q->name);
	model_portal_drop(p);
	model_tag(m, "CLOSE CURSOR");
	return true;
}

void model_portals_close_all(struct model *m)
{
	for (struct model_portal *p = m->portals; p < m->portals + MODEL_PORTALS; p++)
		p->name = NULL;
}
