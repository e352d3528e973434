/* What pgporter asks of a backend (state/session_task.c, state/session_learn.c). */
#include "tests/sim/model_internal.h"

#include <stdio.h>
#include <string.h>

/* The rows of one of pgporter's questions. */
static void answer(struct model *m, const char *kind, const char *name, const char *value)
{
	size_t mark = msg_begin(&m->out, 'D');

	buf_u16(&m->out, 3);
	model_put_value(m, kind);
	model_put_value(m, name);
	model_put_value(m, value);
	msg_end(&m->out, mark);
}

static void answer_count(struct model *m, const char *kind, int n)
{
	char text[16];

	snprintf(text, sizeof text, "%d", n);
	answer(m, kind, "", text);
}

int model_cursors_held(const struct model *m)
{
	int n = 0;

	for (const struct model_portal *p = m->portals; p < m->portals + MODEL_PORTALS; p++)
		n += p->name && p->cursor && p->hold;
	return n;
}

int model_prepared_by_sql(const struct model *m)
{
	int n = 0;

	for (const struct model_stmt *st = m->stmts; st < m->stmts + MODEL_STMTS; st++)
		n += st->name && st->from_sql && strncmp(st->name, "pgporter_", 9);
	return n;
}

static void answer_settings(struct model *m)
{
	for (int v = 0; v < VARS; v++)
		if (m->now.session[v] && !model_is_custom(v) && v != VAR_ROLE && v != VAR_AUTHORIZATION)
			answer(m, "a", model_var_name((enum model_var)v), model_show(m, (enum model_var)v));
}

void model_asked(struct model *m, const struct model_sql *q)
{
	for (size_t i = 0; i < q->n_changes; i++) {
		const struct model_change *c = &q->changes[i];

		switch (c->asks) {
		case 'g':
			answer(m, (const char[]){ c->kind, 0 }, model_var_name((enum model_var)c->var),
			       model_is_custom(c->var) && !(m->custom_known >> c->var & 1) ? NULL : model_show(m, (enum model_var)c->var));
			break;
		case 's':
			answer(m, (const char[]){ c->kind, 0 }, model_var_name((enum model_var)c->var),
			       m->now.session[c->var] ? model_show(m, (enum model_var)c->var) : NULL);
			break;
		case 'a':
			answer_settings(m);
			break;
		case 'r':
			answer(m, "g", "role", strcmp(model_show(m, VAR_ROLE), "none") ? model_show(m, VAR_ROLE) : NULL);
			break;
		case 'l':
			answer_count(m, "l", model_locks_held(m));
			break;
		case 'c':
			answer_count(m, "c", model_cursors_held(m));
			break;
		case 'n':
			answer_count(m, "n", __builtin_popcount(m->now.channels));
			break;
		case 'm':
			answer(m, "m", "", m->now.temp_schema ? "16400" : "0");
			break;
		case 't':
			answer_count(m, "t", __builtin_popcount(m->now.temps));
			break;
		case 'f':
			answer_count(m, "t", 0);
			break;
		case 'y':
			answer_count(m, "t", 2 * __builtin_popcount(m->now.temps));
			break;
		case 'p':
			answer_count(m, "p", model_prepared_by_sql(m));
			break;
		default:
			model_complain(m, "asked", "?");
		}
	}
	model_tag(m, "SELECT 1");
}

bool model_learned(struct model *m, const struct model_sql *q)
{
	size_t mark = msg_begin(&m->out, 'D');

	buf_u16(&m->out, (uint16_t)q->n_changes);
	for (size_t i = 0; i < q->n_changes; i++) {
		int v = q->changes[i].var;

		model_put_value(m, model_is_custom(v) && !(m->custom_known >> v & 1) ? NULL : model_show(m, (enum model_var)v));
	}
	msg_end(&m->out, mark);
	model_tag(m, "SELECT 1");
	return true;
}

bool model_given_back(struct model *m, const struct model_sql *q)
{
	for (size_t i = 0; i < q->n_changes; i++) {
		const struct model_change *c = &q->changes[i];
		bool given = strcmp(model_show(m, (enum model_var)c->var), c->value) && !m->now.session[c->var] && !m->now.local[c->var];
		size_t mark;

		if (given && !model_set(m, (enum model_var)c->var, c->value, false))
			return false;
		mark = msg_begin(&m->out, 'D');
		buf_u16(&m->out, 2);
		model_put_value(m, model_var_name((enum model_var)c->var));
		model_put_value(m, given ? c->value : NULL);
		msg_end(&m->out, mark);
	}
	model_tag(m, "SELECT");
	return true;
}
