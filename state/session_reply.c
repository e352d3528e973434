/* The backend's messages, read against the ledger of owed replies: whose they are, and what they settle. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "parser/hash.h"
#include "parser/reader.h"
#include "state/session_internal.h"

void ledger_flush_invented(struct session *s)
{
	struct owed *o;

	while ((o = ledger_head(&s->backend->owed)) && o->kind == OWED_INVENTED) {
		msg_add(s->to_client, o->reply, NULL, 0);
		ledger_pop(&s->backend->owed);
	}
}

/* owed_pop() leaves what was invented after a reply to this: the reply itself goes first. */
void session_reply_done(struct session *s)
{
	if (s->backend && s->backend->owed.count && ledger_head(&s->backend->owed)->kind == OWED_INVENTED)
		ledger_flush_invented(s);
}

/* One that was skipped left the backend's unnamed statement as it was; one that failed, or was ours, who knows. */
static uint64_t unnamed_left(const struct owed *o, bool skipped)
{
	return skipped && o->unnamed_was ? o->unnamed_was : UNNAMED_UNKNOWN;
}

/* PostgreSQL did not run this message: what it had presumed isn't so. One that failed has ended the unnamed statement that it was
 * to replace, one that was skipped has not. */
static void undo(struct session *s, struct owed *o, bool skipped)
{
	struct backend *b = s->backend;

	switch (o->kind) {
	case OWED_PARSE:
	case OWED_EXECUTE:
		if (o->on_set)
			set_remove(&b->prepared, o->stmt);
		if (o->name && !o->taken && names_find(&s->names, o->name) == o->stmt)
			names_remove(&s->names, o->name);
		if (o->unnamed) {
			b->unnamed = unnamed_left(o, skipped);
			if (!o->ours && skipped)
				unnamed_restore(s, o);
			else if (!o->ours)
				unnamed_forget(s);
		}
		break;
	case OWED_CLOSE:
		if (o->on_set)
			set_add(&b->prepared, o->stmt);
		if (o->unnamed) {
			b->unnamed = unnamed_left(o, skipped);
			if (!o->ours)
				unnamed_restore(s, o);
		}
		break;
	case OWED_QUERY: /* in the middle of a batch */
		b->unnamed = unnamed_left(o, skipped);
		unnamed_restore(s, o);
		query_clear(s);
		s->await_ready = false;
		break;
	case OWED_CALL:
		s->await_ready = false;
		break;
	case OWED_INVENTED:
		if (o->name && o->reply == '1' && names_find(&s->names, o->name) == o->stmt)
			names_remove(&s->names, o->name);
		else if (o->name && o->reply == '3')
			names_put(&s->names, o->name, o->stmt);
		break;
	default:
		break;
	}
}

/* After an error in an extended message PostgreSQL skips to the next Sync. Returns true if that was sent already. What
 * was presumed last is undone first: a name closed and given anew ends as it was. */
bool ledger_skip(struct session *s)
{
	struct ledger *l = &s->backend->owed;
	size_t n = 0;

	while (n < l->count && ledger_at(l, n)->kind != OWED_SYNC)
		n++;
	for (size_t i = n; i-- > 0;)
		undo(s, ledger_at(l, i), i > 0);
	while (n--)
		owed_pop(s);
	return l->count;
}

/* ---- errors and notices: the client's own names and positions ---- */

/* The name in a PREPARE that is executed by its own. */
static const char *defined_name(const struct stmt *st, uint64_t id)
{
	st = st ? stmt_executed(st) : NULL;
	if (!st || st->from_sql || !st->target || st->target->id != id || st->effects->stmts[0].kind != STMT_PREPARE)
		return NULL;
	return st->effects->stmts[0].name;
}

/* The client's name for a backend's: the one that its message said, where it has several. */
static const char *name_said(struct session *s, uint64_t id)
{
	const struct owed *o = ledger_head(&s->backend->owed);
	const struct stmt *st = o && o->name ? names_find(&s->names, o->name) : NULL;
	const char *name;

	if (st && st->id == id)
		return o->name;
	if (o && o->name && o->stmt && o->stmt->id == id) /* which may have lost the name since */
		return o->name;
	if (o && o->kind == OWED_EXECUTE && o->portal && o->portal->own && o->portal->own->id == id)
		return o->portal->effects->stmts[0].name;
	if (o && o->kind == OWED_EXECUTE && o->portal && o->portal->target && o->portal->target->id == id &&
	    o->portal->effects->n == 1 && o->portal->effects->stmts[0].kind == STMT_EXECUTE)
		return o->portal->effects->stmts[0].name;
	if (s->query.row < s->query.n_steps && s->query.effects && s->query.row < s->query.effects->n &&
	    s->query.effects->stmts[s->query.row].kind == STMT_EXECUTE && s->query.steps[s->query.row].target &&
	    s->query.steps[s->query.row].target->id == id)
		return s->query.effects->stmts[s->query.row].name;
	if (o && o->kind == OWED_EXECUTE && o->portal && (name = defined_name(o->portal->target, id)))
		return name;
	if (s->query.row < s->query.n_steps && (name = defined_name(s->query.steps[s->query.row].target, id)))
		return name;
	for (size_t i = s->query.row; i < s->query.n_steps; i++)
		if (s->query.steps[i].name && s->query.steps[i].target && s->query.steps[i].target->id == id)
			return s->query.steps[i].name;
	return names_of(&s->names, id);
}

/* `given` is the name of the Parse that failed, if it was one. */
static void put_names(struct session *s, struct buf *out, const char *text, const char *given)
{
	while (*text) {
		size_t len = 0;
		uint64_t id = stmt_name_read(text, strlen(text), &len);
		const char *name = id ? name_said(s, id) : NULL;

		if (given && !strncmp(text, TAKEN_STMT, sizeof TAKEN_STMT - 1)) {
			name = given;
			len = sizeof TAKEN_STMT - 1;
		}

		if (name) {
			buf_text(out, name);
			text += len;
		} else {
			buf_u8(out, (uint8_t)*text++);
		}
	}
	buf_u8(out, 0);
}

/* How many bytes longer a statement's name on the backend is than what stood there; NULL: than what is never there. */
static int32_t stmt_shift(const struct stmt *st, uint32_t len)
{
	char name[STMT_NAME_MAX];

	if (st)
		stmt_name(st, name);
	return (int32_t)strlen(st ? name : NO_STMT) - (int32_t)len;
}

/* A PREPARE that an EXECUTE has run, and that gave its statement a backend's name: errors are in its text then. */
static const struct stmt *prepare_run(const struct session *s, const struct owed *o)
{
	size_t row = s->query.row;
	const struct stmt *st = NULL;

	if (o && o->kind == OWED_EXECUTE && o->portal && o->portal->target)
		st = stmt_executed(o->portal->target);
	else if (o && o->kind == OWED_QUERY && row < s->query.n_steps && s->query.steps[row].target && s->query.effects->stmts[row].kind == STMT_EXECUTE)
		st = stmt_executed(s->query.steps[row].target);
	return st && !st->from_sql && st->substitute == SUB_RENAMED && st->effects->stmts[0].kind == STMT_PREPARE ? st : NULL;
}

/* What was sent was the client's text with a backend's name in it, or with what it would hear of its backend. */
static const struct stmt_effects *edited_row(const struct session *s, const struct owed *o, struct edit *how)
{
	const struct stmt *run = prepare_run(s, o);
	const struct effects *e = NULL;
	uint8_t sub = SUB_NONE;

	if (run) {
		e = run->effects;
		sub = run->substitute;
		*how = (struct edit){ .rename = true, .name = run->target };
	} else if (o && o->kind == OWED_EXECUTE && o->portal) {
		e = o->portal->effects;
		sub = o->portal->substitute;
		*how = (struct edit){ .rename = sub == SUB_RENAMED, .name = o->portal->own ? o->portal->own : o->portal->target };
	} else if (o && o->kind == OWED_PARSE) {
		e = o->stmt ? o->stmt->effects : s->unnamed.effects;
		sub = o->stmt ? o->stmt->substitute : s->unnamed.substitute;
		if (sub == SUB_RENAMED) /* which shift_at tells */
			return NULL;
		*how = (struct edit){ 0 };
	}
	return (sub == SUB_RENAMED || sub == SUB_EDITED) && e->n == 1 ? &e->stmts[0] : NULL;
}

/* In the client's text, where an error is at `position` (from 1) of what was sent for the message that is answered now. */
static long position_back(struct session *s, const struct owed *head, long position)
{
	uint32_t at = head ? head->shift_at : 0;
	long delta = head ? head->shift_delta : 0;
	struct edit how;
	const struct stmt_effects *row = edited_row(s, head, &how);

	if (row)
		return edit_position(s, row, &how, position);
	if (head && (head->kind == OWED_BIND || head->kind == OWED_DESCRIBE_STMT) && head->stmt && head->stmt->from_sql)
		at = head->stmt->name_at, delta = stmt_shift(head->stmt, head->stmt->name_len);
	else if (head && head->kind == OWED_QUERY)
		for (size_t i = 0; i < s->query.n_shifts && position > (long)s->query.shifts[i].at; i++)
			at = s->query.shifts[i].at, delta += s->query.shifts[i].delta;
	if (position > (long)at)
		position = position - delta > 0 ? position - delta : 1;
	return head && head->kind == OWED_QUERY && !head->part ? position + (long)s->query_done : position;
}

static bool needs_care(const struct session *s, const struct owed *head, const struct client_message *m)
{
	return s->raising || s->query_done || s->query.n_shifts || (head && (head->shift_delta || head->portal || head->kind == OWED_BIND || head->kind == OWED_DESCRIBE_STMT)) || memmem(m->body, m->len, STMT_PREFIX, sizeof STMT_PREFIX - 1);
}

static enum reply_verdict tell_report(struct session *s, const struct client_message *m)
{
	struct reader r = reader_of(m->body, m->len);
	struct owed *head = ledger_head(&s->backend->owed);
	const char *given = head && head->kind == OWED_PARSE ? head->name : NULL;
	size_t mark;
	char field;

	if (!needs_care(s, head, m))
		return REPLY_FORWARD;
	mark = msg_begin(s->to_client, m->type);
	while ((field = (char)reader_u8(&r)) && !r.bad) {
		const char *value = reader_str(&r, NULL);

		if (!value)
			break;
		if (s->raising && strchr("WFLR", field))
			continue;
		buf_u8(s->to_client, (uint8_t)field);
		if (field == 'P')
			buf_printf(s->to_client, "%ld%c", position_back(s, head, strtol(value, NULL, 10)), 0);
		else
			put_names(s, s->to_client, value, given);
	}
	buf_u8(s->to_client, 0);
	msg_end(s->to_client, mark);
	return REPLY_SWALLOW;
}

/* ---- ErrorResponse ---- */

static void barrier_passed(struct session *s, uint32_t *events)
{
	if (s->await_reply || s->await_copy_end)
		*events |= EVENT_PROGRESS;
	s->await_reply = s->await_copy_end = false;
}

static void transaction_failed(struct session *s)
{
	s->txn.error = true;
	if (s->txn.outcome)
		s->txn.uncertain = true;
}

static enum reply_verdict task_error(struct session *s, struct owed *o, const struct client_message *m, uint32_t *events)
{
	if (!s->task_alone || s->backend->status != 'I') /* the client's transaction, not one of our own */
		transaction_failed(s);
	if (!buf_len(&s->task_error))
		buf_add(&s->task_error, m->body, m->len);
	if (o->kind == OWED_QUERY || o->kind == OWED_SYNC)
		return REPLY_SWALLOW;
	if (!ledger_skip(s)) {
		s->backend->skipping = true;
		task_finish(s, events);
	}
	return REPLY_SWALLOW;
}

static enum reply_verdict on_error(struct session *s, const struct client_message *m, uint32_t *events)
{
	struct backend *b = s->backend;
	struct owed *o = ledger_head(&b->owed);
	enum reply_verdict verdict;

	if (m->have < m->len && m->len <= REPLY_HOLD_MAX)
		return REPLY_WHOLE;
	s->ready = false;
	if (!o) /* FATAL on its way out: the client linked to it is told */
		return REPLY_FORWARD;
	b->copy_in = b->copy_both = false;
	if (o->flight)
		return m->have < m->len ? REPLY_BROKEN : (flight_error(s, m, events), REPLY_SWALLOW);
	if (o->ours && s->task)
		return m->have < m->len ? REPLY_BROKEN : task_error(s, o, m, events);
	s->query_part_failed |= o->part;
	transaction_failed(s);
	verdict = m->have < m->len || !s->carry ? REPLY_FORWARD : tell_report(s, m);
	if (o->kind != OWED_QUERY && o->kind != OWED_CALL && o->kind != OWED_SYNC && !ledger_skip(s)) {
		b->skipping = true;
		s->skip = true;
		s->task = TASK_NONE; /* it was to run in the client's batch, and was skipped with it */
		*events |= EVENT_PROGRESS;
	}
	barrier_passed(s, events);
	return verdict;
}

/* ---- ReadyForQuery ---- */

struct telling {
	struct session *s;
	const struct settings *told;
};

static void copy_superuser(const struct settings **to, const struct settings *from)
{
	const char *value = settings_get(from, "is_superuser");

	if (value)
		settings_set(to, "is_superuser", value);
}

/* A setting that the backend gets only with the next statement. */
static void told_ahead(void *arg, const char *name, const char *has, const char *wanted)
{
	struct telling *t = arg;
	const char *base = settings_get(t->s->base, name), *value = wanted;
	bool as_at_start = defaulted_now(t->s, name) || (wanted ? base && !strcmp(base, wanted) : !base);

	if (as_at_start)
		value = settings_get_nocase(t->s->base_reported, name);
	if (!strcmp(name, "role") || !strcmp(name, "session_authorization")) /* what the backend says is about another role */
		copy_superuser(&t->told, as_at_start ? t->s->base_reported : t->s->reported);
	for (size_t i = 0; value && i < settings_size(t->told); i++)
		if (!strcasecmp(settings_name_at(t->told, i), name)) {
			settings_set(&t->told, settings_name_at(t->told, i), value);
			return;
		}
}

/* What the client's settings look like. RESET and DISCARD may have given back what the backend does not have yet. */
static void tell_reported(struct session *s)
{
	struct telling t = { .s = s };

	if (buf_len(&s->lost.error)) /* as if all that were still there */
		return;
	if (s->lost.reported)
		lost_forget(s);
	if (s->want == s->backend->have && s->backend->reported == s->reported)
		return;
	if (s->want != s->backend->have && s->want == s->base && s->backend->status == 'I')
		t.told = settings_retain(s->base_reported);
	else
		t.told = settings_retain(s->backend->reported);
	settings_diff(s->backend->have, s->want, told_ahead, &t);
	session_tell_reported(s, t.told);
	settings_release(t.told);
}

static void tell_ready(struct session *s, uint32_t *events)
{
	char status;

	s->ready_held = false;
	*events |= EVENT_READY;
	s->query_done = 0;
	s->listen.within = s->backend->status != 'I';
	if (s->backend->status == 'I' && buf_len(&s->listen.inbox))
		listen_flush(s);
	tell_reported(s);
	status = backend_said(s->backend);
	msg_add(s->to_client, 'Z', &status, 1);
}

void session_tell_ready(struct session *s, uint32_t *events)
{
	transaction_looked_at(s, events);
	s->ready_held = reset_look(s);
	if (!s->ready_held)
		tell_ready(s, events);
}

void session_tell_held(struct session *s, uint32_t *events)
{
	if (s->ready_held)
		tell_ready(s, events);
}

void transaction_looked_at(struct session *s, uint32_t *events)
{
	struct backend *b = s->backend;

	s->await_ready = s->raising = s->learned = false;
	s->skip = s->listen.behind = s->discarded = s->discarded_here = s->ready = s->ends = false;
	barrier_passed(s, events);
	*events |= EVENT_PROGRESS;
	s->counters->queries++;
	query_clear(s);
	if (b->status == 'I') {
		s->counters->transactions++;
		if (s->portals)
			portals_clear(s);
		if (s->txn.defaults)
			*events |= EVENT_DEFAULTS;
		s->txn.defaults = false;
		if (s->n_roles_gone && (s->txn.outcome == 'R' || (!s->txn.outcome && s->txn.error)))
			session_roles_told(s);
		if (s->n_roles_gone)
			*events |= EVENT_ROLES;
		if (settings_moved(s) || s->txn.observe || s->txn.error || s->txn.outcome || b->reported != s->txn.reported ||
		    s->txn.local_unknown || custom_pending(s)) {
			if (s->carry)
				effects_settle(s, events);
			else
				effects_reported_only(s);
		}
		if (s->carry && !s->task)
			rules_settle(s, events);
		views_end(s);
	} else {
		/* ROLLBACK TO, or a chained transaction: the tag does not tell which settings are left. */
		if (s->txn.outcome && settings_moved(s)) {
			s->txn.uncertain = s->txn.local_unknown = true;
			if (s->txn.ended)
				effects_unsure(s);
		} else {
			s->txn.outcome = 0;
		}
		s->txn.ended = false;
		if (s->effective != s->want)
			effects_reported(s);
	}
}

static void client_ready(struct session *s, uint32_t *events)
{
	if (s->listens && s->backend->status == 'I' && listen_holds_ready(s))
		return;
	session_tell_ready(s, events);
	if (s->backend->half_ended)
		half_ended_end(s);
}

static enum reply_verdict on_ready(struct session *s, const struct client_message *m, uint32_t *events)
{
	struct backend *b = s->backend;
	struct owed *o = ledger_head(&b->owed);
	bool ours, part;

	if (m->len != 1 || !o || (o->kind != OWED_SYNC && o->kind != OWED_QUERY && o->kind != OWED_CALL) ||
	    (m->body[0] != 'I' && m->body[0] != 'T' && m->body[0] != 'E'))
		return REPLY_BROKEN;
	ours = o->ours;
	part = o->part;
	b->status = half_ended_status(b, o->kind == OWED_SYNC, (char)m->body[0]);
	if (b->batch && o->kind != OWED_SYNC) /* PostgreSQL 18 may say T of what the next Sync ends: one of ours must not */
		s->may_reset = s->may_reset && b->status == 'I';
	b->batch = b->skipping = b->copy_in = b->copy_both = false;
	ledger_pop(&b->owed);
	if (flight_roll_back(s, ours))
		return REPLY_SWALLOW;
	if (ours) {
		if (!s->task)
			return REPLY_BROKEN;
		task_finish(s, events);
		through_restored(s, events);
		return REPLY_SWALLOW;
	}
	if (s->no_blocks && b->status != 'I') { /* the client is not to believe that it has one */
		s->refusal_code = "08P01";
		s->refusal = "transaction blocks not allowed in statement pooling mode";
		*events |= EVENT_BROKEN;
		return REPLY_SWALLOW;
	}
	s->flight.failed = false;
	if (part)
		transaction_looked_at(s, events);
	else
		client_ready(s, events);
	return REPLY_SWALLOW;
}

/* ---- the rest ---- */

static enum reply_verdict on_parameter(struct session *s, const struct client_message *m)
{
	struct reader r = reader_of(m->body, m->len);
	const char *name = reader_str(&r, NULL), *value = reader_str(&r, NULL);
	struct owed *o = ledger_head(&s->backend->owed);
	const char *was;

	if (!value || r.bad)
		return REPLY_BROKEN;
	backend_reported(s->backend, name, value);
	if (s->task || (o && o->ours) || s->through_reset) /* a reset's is told when it is as the client asked for it */
		return REPLY_SWALLOW;
	was = settings_get(s->reported, name);
	if (was && !strcmp(was, value) && !s->through)
		return REPLY_SWALLOW; /* the client knows: the backend was another's before */
	if (buf_len(&s->lost.error) || reset_reported(s, name))
		return REPLY_SWALLOW;
	/* What is rolled back may be of ours as well: DISCARD ALL's in a batch that goes on with BEGIN. */
	if (s->through || !o || (s->want == s->backend->have && !s->txn.error && s->txn.outcome != 'R')) {
		settings_set(&s->reported, name, value);
		return REPLY_FORWARD;
	}
	return REPLY_SWALLOW; /* told at ReadyForQuery, if it is still so */
}

static const char *sub_tag(enum substitute sub)
{
	switch (sub) {
	case SUB_PREPARED:
		return "PREPARE";
	case SUB_DEALLOCATE:
		return "DEALLOCATE";
	case SUB_DEALLOCATE_ALL:
		return "DEALLOCATE ALL";
	case SUB_DISCARD_ALL:
		return "DISCARD ALL";
	case SUB_DISCARD_PLANS:
		return "DISCARD PLANS";
	case SUB_RESET:
	case SUB_RESET_ALL:
		return "RESET";
	case SUB_SET_DEFAULT:
		return "SET";
	case SUB_LISTEN:
		return "LISTEN";
	case SUB_UNLISTEN:
		return "UNLISTEN";
	default:
		return NULL;
	}
}

/* An EXECUTE has the tag of what it executes, and it isn't that which was sent. */
static enum substitute sub_executed(enum substitute sub, const struct stmt_effects *row, const struct stmt *target)
{
	if (sub != SUB_RENAMED || row->kind != STMT_EXECUTE || row->inner_kind != STMT_EXECUTE || !target)
		return sub;
	return (enum substitute)stmt_executed(target)->substitute;
}

static enum reply_verdict tell_tag(struct session *s, enum substitute sub)
{
	const char *tag = sub_tag(sub);

	if (!tag)
		return REPLY_FORWARD;
	msg_add(s->to_client, 'C', tag, strlen(tag) + 1);
	return REPLY_SWALLOW;
}

static void apply_rows(struct session *s, const struct effects *e, size_t row, enum substitute sub, struct stmt *target,
		       const struct portal *p, uint32_t *events)
{
	effects_apply(s, &e->stmts[row], sub, target, p, events);
	while (++row < e->n && row < 64 && e->more_of_same >> row & 1)
		effects_apply(s, &e->stmts[row], sub, target, p, events);
}

static enum reply_verdict query_complete(struct session *s, const struct client_message *m, uint32_t *events)
{
	const struct effects *e = s->query.effects;
	struct query_step *step;
	enum reply_verdict verdict = REPLY_FORWARD;
	size_t row = s->query.row;

	if (effects_tags_matter(s))
		effects_tag(s, (const char *)m->body);
	if (!e || row >= e->n)
		return verdict;
	step = s->query.steps ? &s->query.steps[row] : NULL;
	if (step && step->asks) { /* what goes ahead of it */
		settings_release(step->asks);
		step->asks = NULL;
		s->query.swallow_rows = step->rows_ours;
		return REPLY_SWALLOW;
	}
	if (s->query.extra_left) { /* what came after a RESET ALL of ours */
		s->query.extra_left--;
	} else {
		apply_rows(s, e, row, step ? step->substitute : SUB_NONE, step ? step->target : NULL, NULL, events);
		if (step)
			s->query.extra_left = step->extra;
	}
	if (s->query.extra_left) /* told with the last of it, which may be what commits */
		verdict = REPLY_SWALLOW;
	else if (step)
		verdict = tell_tag(s, sub_executed((enum substitute)step->substitute, &e->stmts[row], step->target));
	s->query.swallow_rows = s->query.extra_left > 0;
	if (s->query.extra_left)
		return verdict;
	while (++row < e->n && row < 64 && e->more_of_same >> row & 1)
		;
	s->query.row = row;
	s->query.swallow_rows = s->query.steps && row < e->n && (s->query.steps[row].rows_ours || s->query.steps[row].asks);
	return verdict;
}

/* Names and types of a RowDescription: what a driver decodes rows by. Table and format don't matter. */
static uint64_t result_hash(const struct client_message *m)
{
	struct reader r = reader_of(m->body, m->len);
	uint64_t h = (uint64_t)(unsigned char)m->type;
	uint16_t n;

	if (m->type != 'T')
		return h;
	n = reader_u16(&r);
	while (n-- && !r.bad) {
		size_t len = 0;
		const char *name = reader_str(&r, &len);
		uint32_t type;

		reader_bytes(&r, 6);
		type = reader_u32(&r);
		reader_bytes(&r, 2);
		type ^= reader_u32(&r) << 8; /* modifier */
		reader_bytes(&r, 2);
		if (name)
			h = hash_bytes(name, len, h ^ type);
	}
	return h;
}

static void described(struct stmt *st, bool ours, struct session *s, const struct client_message *m)
{
	uint64_t hash;

	if (!st || m->have < m->len)
		return;
	hash = result_hash(m);
	if (ours) {
		s->task_mismatch = hash != st->result_hash;
	} else if (!st->described) {
		st->described = true;
		st->result_hash = hash;
	}
}

/* The statement of a simple Query that is answered now is an EXECUTE. */
static bool executes_prepared(const struct session *s)
{
	return s->query.steps && s->query.row < s->query.n_steps && s->query.steps[s->query.row].returns_rows;
}

static enum reply_verdict query_row(struct session *s, const struct client_message *m)
{
	const struct query_step *step = s->query.steps && s->query.row < s->query.n_steps ? &s->query.steps[s->query.row] : NULL;

	if (!s->query.swallow_rows)
		return REPLY_FORWARD;
	if (step && step->asks) {
		if (m->have < m->len)
			return REPLY_WHOLE;
		learn_row(s, step->asks, m->body, m->len);
	}
	return REPLY_SWALLOW;
}

static enum reply_verdict in_query(struct session *s, const struct client_message *m, uint32_t *events)
{
	switch (m->type) {
	case 'C':
		return query_complete(s, m, events);
	case 'T':
		if (executes_prepared(s))
			described(s->query.steps[s->query.row].target, false, s, m);
		return s->query.swallow_rows ? REPLY_SWALLOW : REPLY_FORWARD;
	case 'D':
		return query_row(s, m);
	case 'I':
	case 'V':
	case 'd':
	case 'c':
	case 'n':
	case 's':
		return REPLY_FORWARD;
	case 'G':
		s->backend->copy_in = true;
		*events |= EVENT_PROGRESS; /* its data may be waiting */
		return REPLY_FORWARD;
	case 'H':
		return REPLY_FORWARD;
	case 'W':
		s->backend->copy_both = true;
		*events |= EVENT_PROGRESS;
		return REPLY_FORWARD;
	default:
		return REPLY_BROKEN;
	}
}

/* A Sync that was sent behind the COPY: PostgreSQL ignores it. */
static void copy_eats_sync(struct session *s, uint32_t *events)
{
	struct ledger *l = &s->backend->owed;

	if (l->count != 2 || ledger_last(l)->kind != OWED_SYNC)
		return;
	ledger_drop_last(l);
	s->await_ready = false;
	*events |= EVENT_PROGRESS;
}

/* DISCARD ALL ends the portal that ran it, the no-op in its place does not. */
static void discard_portal(struct session *s, const char *name)
{
	struct buf *out = s->backend->out;
	size_t mark = msg_begin(out, 'C');

	buf_u8(out, 'P');
	buf_str(out, name);
	msg_end(out, mark);
	ledger_push(&s->backend->owed, OWED_CLOSE, true);
}

static enum reply_verdict execute_done(struct session *s, struct owed *o, const struct client_message *m, uint32_t *events)
{
	struct portal *p = o->portal;
	enum reply_verdict verdict = REPLY_FORWARD;

	if (m->type == 'C' && !o->ours && effects_tags_matter(s))
		effects_tag(s, (const char *)m->body);
	if (m->type == 'C' && p && p->effects->n) {
		apply_rows(s, p->effects, 0, p->substitute, p->own ? p->own : p->target, p, events);
		verdict = tell_tag(s, sub_executed((enum substitute)p->substitute, &p->effects->stmts[0], p->target));
	}
	s->backend->copy_in = s->backend->copy_both = false;
	if (m->type == 'C' && s->backend->status == 'E') { /* no longer, whatever it is until ReadyForQuery says */
		s->backend->status = 'T';
		if (settings_moved(s))
			effects_unsure(s);
	}
	if (s->backend->owed.count == 1) /* the last that was sent, so the one waited for */
		barrier_passed(s, events);
	if (m->type == 'C' && p && p->substitute == SUB_DISCARD_ALL)
		discard_portal(s, p->name);
	if (m->type == 'C' && p && p->own)
		prepare_undo(s, p);
	owed_pop(s);
	return verdict;
}

static enum reply_verdict in_execute(struct session *s, struct owed *o, const struct client_message *m, uint32_t *events)
{
	switch (m->type) {
	case 'D':
	case 'd':
	case 'c':
	case 'H':
		return REPLY_FORWARD;
	case 'C':
	case 'I':
	case 's':
		return execute_done(s, o, m, events);
	case 'G':
		s->backend->copy_in = true;
		copy_eats_sync(s, events);
		barrier_passed(s, events);
		return REPLY_FORWARD;
	case 'W':
		s->backend->copy_both = true;
		barrier_passed(s, events);
		return REPLY_FORWARD;
	default:
		return REPLY_BROKEN;
	}
}

/* What a client has set may be of any size; what is remembered of it may not. */
static enum reply_verdict observed_too_much(struct session *s, uint32_t *events)
{
	s->refusal_code = "54000";
	s->refusal = "this session's settings are too large to be carried to another server connection";
	*events |= EVENT_BROKEN;
	return REPLY_SWALLOW;
}

static enum reply_verdict in_ours(struct session *s, const struct client_message *m, uint32_t *events)
{
	if (s->task == TASK_OBSERVE && m->type == 'D') {
		if (m->len > OBSERVED_MAX - buf_len(&s->task_rows))
			return observed_too_much(s, events);
		if (m->have < m->len)
			return REPLY_WHOLE;
		buf_add(&s->task_rows, m->body, m->len);
	}
	return REPLY_SWALLOW;
}

static enum reply_verdict against_ledger(struct session *s, struct owed *o, const struct client_message *m, uint32_t *events)
{
	bool ours = o->ours;
	enum reply_verdict verdict = REPLY_BROKEN;

	switch ((enum owed_kind)o->kind) {
	case OWED_PARSE:
		if (m->type == '1')
			verdict = REPLY_FORWARD, owed_pop(s);
		break;
	case OWED_BIND:
		if (m->type == '2')
			verdict = REPLY_FORWARD, owed_pop(s);
		break;
	case OWED_CLOSE:
		if (m->type == '3')
			verdict = REPLY_FORWARD, owed_pop(s);
		break;
	case OWED_DESCRIBE_STMT:
		if (m->type == 't')
			verdict = REPLY_FORWARD;
		if (m->type == 'T' || m->type == 'n') {
			described(o->stmt, ours, s, m);
			verdict = REPLY_FORWARD;
			owed_pop(s);
		}
		break;
	case OWED_DESCRIBE_PORTAL:
		if (m->type == 'T' || m->type == 'n') {
			described(o->stmt, ours, s, m);
			verdict = REPLY_FORWARD;
			owed_pop(s);
		}
		break;
	case OWED_EXECUTE:
		if (ours && m->type == 'D' && (s->task == TASK_LEARN || s->task == TASK_RESET)) {
			if (m->have < m->len)
				return REPLY_WHOLE;
			buf_add(&s->task_rows, m->body, m->len);
		}
		verdict = ours && m->type == 'D' ? REPLY_FORWARD : in_execute(s, o, m, events);
		break;
	case OWED_QUERY:
		if (ours)
			return in_ours(s, m, events);
		verdict = in_query(s, m, events);
		break;
	case OWED_CALL:
		verdict = m->type == 'V' ? REPLY_FORWARD : REPLY_BROKEN;
		break;
	case OWED_SYNC:
	case OWED_INVENTED:
		break;
	}
	if (!ours || verdict == REPLY_BROKEN)
		return verdict;
	if (!s->backend->owed.count) /* it may have come behind what was waited for */
		barrier_passed(s, events);
	if (s->task && !s->task_alone && !s->backend->owed.count)
		task_finish(s, events);
	return REPLY_SWALLOW;
}

/* It tells that a statement has begun. */
static bool answers(char type)
{
	switch (type) {
	case 'Z':
	case 'S':
	case 'N':
	case 'A':
	case '3':
		return false;
	default:
		return true;
	}
}

static enum reply_verdict through_reply(struct session *s, const struct client_message *m, uint32_t *events)
{
	struct backend *b = s->backend;

	b->answered = b->answered || answers(m->type);
	switch (m->type) {
	case 'S':
		return m->have < m->len ? REPLY_WHOLE : on_parameter(s, m);
	case 'Z':
		if (m->have < m->len)
			return REPLY_WHOLE;
		if (m->len != 1)
			return REPLY_BROKEN;
		b->status = half_ended_status(b, true, (char)m->body[0]);
		b->batch = b->copy_in = b->copy_both = false;
		if (s->ready_owed)
			s->ready_owed--;
		s->counters->queries++;
		if (b->status == 'I')
			s->counters->transactions++;
		if (through_ready(s))
			return REPLY_SWALLOW;
		*events |= EVENT_READY;
		return REPLY_FORWARD;
	case 'C':
		if (!s->through_reset)
			return REPLY_FORWARD;
		if (m->have < m->len)
			return REPLY_WHOLE;
		if (m->len && !m->body[m->len - 1])
			through_done(s, (const char *)m->body);
		return REPLY_FORWARD;
	case 'G':
		b->copy_in = true;
		s->ready_owed = b->batch ? 0 : 1; /* a Sync sent behind the COPY is ignored; a Query is still to be answered */
		return REPLY_FORWARD;
	case 'W':
		b->copy_both = true;
		return REPLY_FORWARD;
	case 'E':
		b->copy_in = b->copy_both = false;
		return REPLY_FORWARD;
	default:
		return REPLY_FORWARD;
	}
}

/* Short messages that are read whole; the rest is forwarded, or thrown away, as it comes. */
static bool wanted_whole(const struct session *s, const struct client_message *m)
{
	switch (m->type) {
	case 'Z':
	case 'S':
	case 'C':
	case '1':
	case '2':
	case '3':
	case 'A': /* after it an invented reply may be written at any time */
		return true;
	case 'T':
		return s->backend->owed.count &&
		       (ledger_head(&s->backend->owed)->kind != OWED_QUERY || executes_prepared(s));
	case 'N':
		return m->len <= REPLY_HOLD_MAX;
	default:
		return false;
	}
}

enum reply_verdict session_from_backend(struct session *s, const struct client_message *m, uint32_t *events)
{
	struct owed *o;

	if (s->through && !s->task)
		return through_reply(s, m, events);
	if (m->have < m->len && wanted_whole(s, m))
		return m->len <= REPLY_HOLD_MAX ? REPLY_WHOLE : m->type == 'T' ? REPLY_FORWARD : REPLY_BROKEN;
	o = ledger_head(&s->backend->owed);
	switch (m->type) {
	case 'S':
		return on_parameter(s, m);
	case 'N':
		if (o && o->ours && s->task == TASK_LOGIN) {
			s->login_noticed = true;
			return REPLY_FORWARD;
		}
		if (o && o->ours)
			return REPLY_SWALLOW;
		return m->have < m->len || !s->carry ? REPLY_FORWARD : tell_report(s, m);
	case 'A':
		return REPLY_FORWARD;
	case 'E':
		return on_error(s, m, events);
	case 'Z':
		return on_ready(s, m, events);
	default:
		if (!o)
			return REPLY_BROKEN;
		if (m->type == 'C' && (!m->len || m->body[m->len - 1]))
			return REPLY_BROKEN;
		return against_ledger(s, o, m, events);
	}
}
