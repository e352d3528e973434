/* Session pooling: everything goes through as it comes, but that RESET goes back to what the client asked for at its start.
 * A statement that resets is sent as it is; what it took away is set again before the client is told that it is done. */
#include "state/session_internal.h"

static bool resets(const struct effects *e)
{
	return e->n == 1 && (e->stmts[0].kind == STMT_RESET || e->stmts[0].kind == STMT_RESET_ALL || e->stmts[0].kind == STMT_DISCARD_ALL);
}

void through_note(struct session *s, const struct client_message *m)
{
	const char *text = (const char *)m->body, *end;
	const struct effects *e;

	if (!settings_size(s->base) || (m->type != 'Q' && m->type != 'P') || m->have < m->len || m->len > SQL_HOLD_MAX)
		return;
	if (m->type == 'P' && !(text = memchr(text, 0, m->len)))
		return;
	text += m->type == 'P';
	end = memchr(text, 0, m->len - (size_t)(text - (const char *)m->body));
	if (!end)
		return;
	e = effects_of(s->store->effects, text, (size_t)(end - text), session_lex_mode(s));
	if (resets(e)) {
		through_forget(s);
		s->through_reset = effects_retain(e);
	}
	effects_release(e);
}

void through_forget(struct session *s)
{
	if (s->through_reset)
		effects_release(s->through_reset);
	s->through_reset = NULL;
}

static bool kept_by_reset_all(const char *name)
{
	return !strcmp(name, "role") || !strcmp(name, "session_authorization");
}

/* CommandComplete: it was done. */
void through_done(struct session *s, const char *tag)
{
	const struct stmt_effects *row = s->through_reset ? &s->through_reset->stmts[0] : NULL;
	const struct settings *have = settings_retain(s->backend->have);

	if (row && !strcmp(tag, row->kind == STMT_DISCARD_ALL ? "DISCARD ALL" : "RESET"))
		for (size_t i = 0; i < settings_size(have); i++) {
			const char *name = settings_name_at(have, i);

			if (row->kind == STMT_RESET ? !strcmp(row->name, name) : row->kind == STMT_DISCARD_ALL || !kept_by_reset_all(name))
				settings_set(&s->backend->have, name, NULL);
		}
	else if (row && row->kind == STMT_RESET && !strcmp(tag, "SET")) /* SET … TO DEFAULT */
		settings_set(&s->backend->have, row->name, NULL);
	settings_release(have);
}

/* ReadyForQuery. True: it waits until the client's own settings are there again. */
bool through_ready(struct session *s)
{
	struct backend *b = s->backend;
	bool reset = s->through_reset;

	through_forget(s);
	if (s->want == b->have || b->status == 'E' || b->half_ended || s->ready_owed || s->task) {
		if (reset)
			session_tell_reported(s, b->reported);
		return false;
	}
	s->through_held = true;
	task_apply(s, s->want, TASK_APPLY);
	return true;
}

/* They are, or could not be, which the client learns with its next message. */
void through_restored(struct session *s, uint32_t *events)
{
	char status;

	if (!s->through_held)
		return;
	s->through_held = false;
	session_tell_reported(s, s->backend->reported);
	status = backend_said(s->backend);
	msg_add(s->to_client, 'Z', &status, 1);
	*events |= EVENT_READY;
}
