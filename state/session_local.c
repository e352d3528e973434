/* Answers without a backend: what a client gives up that is only its own, and drivers' reset batches sent by a client
 * with nothing to reset. */
#include <string.h>

#include "state/session_internal.h"

static void tell_difference(void *arg, const char *name, const char *was, const char *now)
{
	struct session *s = arg;
	size_t mark;

	if (!now)
		return;
	mark = msg_begin(s->to_client, 'S');
	buf_str(s->to_client, name);
	buf_str(s->to_client, now);
	msg_end(s->to_client, mark);
}

void session_tell_reported(struct session *s, const struct settings *now)
{
	if (s->reported == now)
		return;
	settings_diff(s->reported, now, tell_difference, s);
	settings_assign(&s->reported, now);
}

void session_settings_to_base(struct session *s, bool role_too)
{
	const char *const kept[] = { "role", "session_authorization" };
	const struct settings *target = settings_retain(s->base);

	for (size_t i = 0; !role_too && i < 2; i++)
		settings_set(&target, kept[i], settings_get(s->want, kept[i]));
	settings_assign(&s->want, target);
	settings_assign(&s->effective, target);
	settings_release(target);
}

void session_forget_all(struct session *s)
{
	names_clear(&s->names);
	session_settings_to_base(s, true);
}

static void answer_tag(struct session *s, const char *tag)
{
	msg_add(s->to_client, 'C', tag, strlen(tag) + 1);
}

/* SELECT pg_advisory_unlock_all(): one column of type void, one row with an empty value. */
static void answer_unlock_all(struct session *s)
{
	struct buf *out = s->to_client;
	size_t mark = msg_begin(out, 'T');

	buf_u16(out, 1);
	buf_str(out, "pg_advisory_unlock_all");
	buf_u32(out, 0);
	buf_u16(out, 0);
	buf_u32(out, 2278);
	buf_u16(out, 4);
	buf_u32(out, UINT32_MAX);
	buf_u16(out, 0);
	msg_end(out, mark);
	mark = msg_begin(out, 'D');
	buf_u16(out, 1);
	buf_u32(out, 0);
	msg_end(out, mark);
	answer_tag(s, "SELECT 1");
}

static bool can_answer(const struct session *s, const struct effects *e)
{
	if (!effects_reset_batch(e))
		return false;
	/* In a text with more statements DISCARD ALL fails, and that is for PostgreSQL to say. RESET of a role that is in
	 * force changes what is reported, which only a backend knows. */
	for (size_t i = 0; i < e->n; i++) {
		if (e->stmts[i].kind == STMT_DISCARD_ALL && e->n > 1)
			return false;
		/* Until just there in the order of all notifications it has listened. */
		if (s->listens && (e->stmts[i].kind == STMT_DISCARD_ALL || e->stmts[i].kind == STMT_UNLISTEN_ALL))
			return false;
	}
	if (settings_get(s->want, "role") || settings_get(s->want, "session_authorization"))
		return false;
	return true;
}

static void answer_statement(struct session *s, const struct stmt_effects *row, const char *text)
{
	switch (row->kind) {
	case STMT_DISCARD_ALL:
		session_forget_all(s);
		sequence_given_up(s, true);
		answer_tag(s, "DISCARD ALL");
		break;
	case STMT_DISCARD_PLANS:
		s->plans = ++s->store->last_serial;
		answer_tag(s, "DISCARD PLANS");
		break;
	case STMT_DISCARD_SEQUENCES:
		sequence_given_up(s, true);
		answer_tag(s, "DISCARD SEQUENCES");
		break;
	case STMT_DISCARD_TEMP:
		answer_tag(s, "DISCARD TEMP");
		break;
	case STMT_RESET_ALL:
		session_settings_to_base(s, false);
		answer_tag(s, "RESET");
		break;
	case STMT_DEALLOCATE_ALL:
		names_clear(&s->names);
		answer_tag(s, "DEALLOCATE ALL");
		break;
	case STMT_CLOSE_ALL:
		answer_tag(s, "CLOSE CURSOR ALL");
		break;
	case STMT_UNLISTEN_ALL:
		answer_tag(s, "UNLISTEN");
		break;
	case STMT_RESET: /* of a role or authorization that was never set */
		answer_tag(s, text[row->at] == 'R' || text[row->at] == 'r' ? "RESET" : "SET");
		break;
	case STMT_UNLOCK_ALL:
		answer_unlock_all(s);
		break;
	default:
		break;
	}
}

bool session_answer_locally(struct session *s, const struct effects *e, const char *text)
{
	if (!can_answer(s, e))
		return false;
	for (size_t i = 0; i < e->n; i++)
		answer_statement(s, &e->stmts[i], text);
	settings_assign(&s->settings, s->want);
	unnamed_forget(s);
	/* With no role in force what is reported under the startup settings is what was reported at login. */
	if (s->want == s->base)
		session_tell_reported(s, s->base_reported);
	msg_add(s->to_client, 'Z', "I", 1);
	s->counters->local_answers++;
	s->counters->queries++;
	return true;
}
