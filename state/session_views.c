/* pg_prepared_statements and pg_cursors show what is on the backend: before a statement that names them runs, that is what this
 * client has made, under its own names, and nothing else. Afterwards it is taken away again, ahead of the client's next message or
 * when the transaction is over, so that what the client deallocates is not found there. */
#include "state/session_internal.h"

/* Whose effects an EXECUTE in a text has: PREPARE's are those of what it prepares. */
static bool prepared_shows(const struct effects *e)
{
	if (e->flags & TOUCH_OWN_VIEWS)
		return true;
	for (size_t i = 0; i < e->n; i++)
		if (e->stmts[i].kind == STMT_PREPARE && e->stmts[i].inner_flags & TOUCH_OWN_VIEWS)
			return true;
	return false;
}

bool views_shown(const struct session *s, const struct effects *e)
{
	const struct stmt *st;
	bool prepares = prepared_shows(e);

	if (e->flags & TOUCH_OWN_VIEWS)
		return true;
	for (size_t i = 0; i < e->n; i++) {
		if (e->stmts[i].kind != STMT_EXECUTE || !e->stmts[i].name)
			continue;
		st = names_find(&s->names, e->stmts[i].name);
		if (prepares || (st && prepared_shows(st->effects)))
			return true;
	}
	return false;
}

bool views_shown_by(const struct portal *p)
{
	return p->effects->flags & TOUCH_OWN_VIEWS || (!p->own && prepared_shows(p->effects));
}

/* Nothing of the client's may be under way that could fail: what follows it would be skipped, and is presumed to happen. */
static void task_clear(struct session *s, enum views next)
{
	bool settled = !s->backend->owed.count;

	task_begin(s, settled ? TASK_CLEAR : TASK_SETTLE);
	s->views_next = next;
	s->counters->replay_trips++;
	if (settled)
		send_own(s, "DEALLOCATE ALL", 14);
	else
		send_own(s, NOTHING_SQL, sizeof NOTHING_SQL - 1);
	task_sent(s);
}

struct laying {
	struct session *s;
	const struct settings *now; /* in force as far as was sent */
	const struct settings *other; /* that of a statement that was parsed under other settings */
};

static void look_at_settings(void *arg, const char *name, struct stmt *st)
{
	struct laying *l = arg;

	if (settings_meaning(st->at_parse) != l->now)
		l->other = settings_meaning(st->at_parse);
}

static void lay_one(void *arg, const char *name, struct stmt *st)
{
	struct laying *l = arg;
	struct session *s = l->s;
	const struct settings *then = settings_meaning(st->at_parse);

	if (then != l->now) {
		custom_applying(s, then);
		send_difference(s, l->now, then, true);
		l->now = then;
	}
	if (st->from_sql) {
		send_own(s, (const char *)(st->given ? st->given : st->tail), st->given ? st->given_len : st->tail_len);
		return;
	}
	send_parse(s, name, st->given ? st->given : st->tail, st->given ? st->given_len : st->tail_len);
	ledger_push(&s->backend->owed, OWED_PARSE, true);
}

static void task_lay(struct session *s)
{
	const struct settings *now = settings_meaning(s->effective);
	struct laying l = { .s = s, .now = now };
	bool savepoint;

	names_each_named(&s->names, look_at_settings, &l);
	if (l.other && learn_first(s, now, l.other))
		return;
	task_begin(s, TASK_LAY);
	s->counters->replay_trips++;
	savepoint = l.other && s->backend->status == 'T' && s->task_alone;
	if (savepoint)
		send_own(s, "SAVEPOINT pgporter", 18);
	names_each_named(&s->names, lay_one, &l);
	if (savepoint) {
		send_own(s, "ROLLBACK TO SAVEPOINT pgporter", 30);
		send_own(s, "RELEASE SAVEPOINT pgporter", 26);
	} else if (l.now != now && !s->task_alone) {
		send_difference(s, l.now, now, true);
	}
	send_own_closed(s);
	task_sent(s);
}

bool views_ready(struct session *s)
{
	if (s->backend->status == 'E' || rules_leave_prepared(s))
		return true;
	switch (s->views) {
	case VIEWS_LAID:
		s->views = VIEWS_OLD;
		return true;
	case VIEWS_CLEARED:
		task_lay(s);
		return false;
	case VIEWS_NONE:
	case VIEWS_OLD:
		break;
	}
	task_clear(s, VIEWS_CLEARED);
	return false;
}

bool views_gone(struct session *s)
{
	if (s->views != VIEWS_OLD || s->backend->status == 'E')
		return true;
	task_clear(s, VIEWS_NONE);
	return false;
}

void views_end(struct session *s)
{
	if (s->views == VIEWS_NONE || s->task || s->backend->status != 'I' || s->backend->batch || s->backend->owed.count)
		return;
	task_clear(s, VIEWS_NONE);
	s->views_ending = true;
}

/* The backend's own set is as it was where DEALLOCATE ALL has failed. */
bool views_done(struct session *s, enum task_kind kind, bool failed)
{
	struct backend *b = s->backend;
	bool ending = s->views_ending;

	s->views_ending = false;
	s->task_failed = failed && !ending;
	s->task_stmt_failed = failed && kind != TASK_LAY;
	if (kind == TASK_LAY)
		s->views = failed ? VIEWS_OLD : VIEWS_LAID;
	if (kind != TASK_CLEAR || failed)
		return !(failed && ending);
	set_clear(&b->prepared);
	b->kept = 0;
	s->views = s->views_next;
	return true;
}
