/* Statements that PostgreSQL refuses while anybody is connected to the database they are about (55006): pgporter's own
 * idle backends have to be gone before such a statement is sent. */
#include "state/session_internal.h"

enum session_verdict vacate_first(struct session *s, const struct effects *e)
{
	if (!(e->flags & TOUCH_DATABASE) || s->backend->status == 'E')
		return SESSION_NEXT;
	if (s->vacated) {
		vacate_forget(s);
		return SESSION_NEXT;
	}
	if (!s->vacate)
		s->vacate = effects_retain(e);
	return SESSION_VACATE;
}

void vacate_forget(struct session *s)
{
	if (s->vacate)
		effects_release(s->vacate);
	s->vacate = NULL;
	s->vacated = false;
}

void session_vacated(struct session *s)
{
	s->vacated = s->vacate;
}

const char *session_vacates(const struct session *s, size_t *at)
{
	while (s->vacate && *at < s->vacate->n) {
		const struct stmt_effects *row = &s->vacate->stmts[(*at)++];

		if (!(row->flags & TOUCH_DATABASE))
			continue;
		if (row->flags & TOUCH_DROP)
			return row->name;
		return row->value ? row->value : "template1"; /* CREATE DATABASE: what it copies */
	}
	return NULL;
}
