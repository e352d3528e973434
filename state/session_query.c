/* The simple Query: forwarded as it is unless one of its statements names a prepared statement or resets what came with
 * the startup packet; then those statements, and nothing else, are written anew. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/session_internal.h"

void put_renamed(struct buf *out, const char *text, size_t len, uint32_t name_at, uint32_t name_len, const struct stmt *st)
{
	char name[STMT_NAME_MAX];

	if (st)
		stmt_name(st, name);
	buf_add(out, text, name_at);
	buf_text(out, st ? name : NO_STMT);
	buf_add(out, text + name_at + name_len, len - name_at - name_len);
}

struct stmt *sql_stmt_new(struct session *s, const char *text, const struct effects *e, const struct stmt_effects *row,
			  const struct settings *at_parse)
{
	/* PostgreSQL keeps the whole text. Where the statement is one of several, only its own is kept, with effects of its own. */
	bool alone = e->n == 1;
	const char *own_text = alone ? text : text + row->at;
	size_t from = alone ? 0 : row->at, own_len = alone ? strlen(text) : row->len;
	const struct effects *own = alone ? effects_retain(e) : session_effects_of(s, own_text, own_len);
	struct stmt_key key = { .from_sql = true, .tail = (const uint8_t *)own_text, .tail_len = own_len,
				.name_at = row->name_at - (uint32_t)from, .name_len = row->name_len, .at_parse = at_parse,
				.generation = *s->generation, .owner = s->txn.local_unknown ? s->serial : 0,
				.pool = s->counters };
	static const struct edit plainly;
	struct buf tail = { 0 };
	struct stmt *st;

	if (row->n_places) {
		edit_put(s, text, from, from + own_len, row, &plainly, &tail);
		key.tail = buf_head(&tail);
		key.tail_len = buf_len(&tail);
		key.given = (const uint8_t *)own_text;
		key.given_len = own_len;
	}
	st = stmt_intern(s->store->stmts, &key, own);
	if (!st->watched)
		st->watched = watch_seen(s);
	buf_release(&tail);
	effects_release(own);
	return st;
}

/* PostgreSQL would have cut the name, and said so; it never sees it. */
void tell_truncated(struct session *s, const char *token, uint32_t len, const char *name)
{
	char text[1024];
	bool quoted = len > 1 && *token == '"';

	if (strlen(name) < 60 || len - 2u * quoted <= 63 || (s->backend && s->backend->owed.count && !ledger_last(&s->backend->owed)->flight))
		return;
	snprintf(text, sizeof text, "identifier \"%.*s\" will be truncated to \"%s\"", (int)(len - 2u * quoted), token + quoted, name);
	msg_report(s->to_client, 'N', "NOTICE", "42622", text, NULL, NULL);
}

bool put_set_local(struct buf *out, const char *name, const char *value)
{
	struct buf sql = { 0 };
	bool good = sql_put_set(&sql, name, value);

	if (good) {
		buf_text(out, "SET LOCAL ");
		buf_add(out, buf_head(&sql) + 4, buf_len(&sql) - 4);
	}
	buf_release(&sql);
	return good;
}

void put_set_config(struct buf *out, const char *name, const char *value, bool local)
{
	buf_text(out, "DO $pgporter$BEGIN PERFORM pg_catalog.set_config(");
	sql_put_literal(out, name);
	buf_u8(out, ',');
	sql_put_literal(out, value);
	buf_printf(out, ",%s);END$pgporter$", local ? "true" : "false");
}

/* Back to the client's startup value. A SELECT of set_config(), where only that will do, takes a snapshot, which RESET doesn't. */
static void put_reset(struct buf *out, const char *name, const char *value)
{
	if (sql_put_set(out, name, value))
		return;
	buf_text(out, "SELECT pg_catalog.set_config(");
	sql_put_literal(out, name);
	buf_u8(out, ',');
	sql_put_literal(out, value);
	buf_text(out, ",false)");
}

/* Names as they will be when a statement further on in the same text runs. */
struct name_change {
	const char *name;
	struct stmt *stmt; /* NULL: deallocated */
};

struct rewrite {
	struct session *s;
	const struct effects *e;
	const char *text;
	struct buf out;
	struct query_step *steps;
	struct name_change *changes;
	size_t n_changes;
	bool all_gone, changed;
	enum session_verdict verdict;
};

static struct stmt *resolve(struct rewrite *w, const char *name, bool *fresh)
{
	for (size_t i = w->n_changes; i-- > 0;)
		if (!strcmp(w->changes[i].name, name)) {
			*fresh = w->changes[i].stmt;
			return w->changes[i].stmt;
		}
	*fresh = false;
	if (w->all_gone)
		return NULL;
	watch_refresh(w->s, names_find(&w->s->names, name));
	return edit_of_today(w->s, name, names_find(&w->s->names, name));
}

static void name_changes(struct rewrite *w, const char *name, struct stmt *st)
{
	w->changes[w->n_changes++] = (struct name_change){ .name = name, .stmt = st };
}

/* Itself, but for its name and what session_edit.c has to say. */
static void step_as_is(struct rewrite *w, const struct stmt_effects *row, struct query_step *step, bool rename, const struct stmt *st)
{
	struct edit how = { .rename = rename, .name = st, .note = true };

	edit_put(w->s, w->text, row->at, row->at + row->len, row, &how, &w->out);
	step->noted = true;
}

static void step_renamed(struct rewrite *w, const struct stmt_effects *row, struct query_step *step, struct stmt *st)
{
	step->substitute = SUB_RENAMED;
	step->target = st ? stmt_retain(st) : NULL;
	step_as_is(w, row, step, true, st);
	w->changed = true;
}

static void step_nothing(struct rewrite *w, struct query_step *step, enum substitute sub)
{
	step->substitute = sub;
	step->rows_ours = true;
	buf_text(&w->out, SNAPSHOT_SQL);
	w->changed = true;
}

/* The client's names are the backend's for once. */
static bool step_laid(struct rewrite *w, const struct stmt_effects *row, struct query_step *step)
{
	bool fresh;
	struct stmt *st;

	if (!views_laid(w->s) || row->kind < STMT_PREPARE || row->kind > STMT_DEALLOCATE_ALL || (row->name && names_ours(row->name)))
		return false;
	buf_add(&w->out, w->text + row->at, row->len);
	st = row->name ? resolve(w, row->name, &fresh) : NULL;
	if (row->kind == STMT_PREPARE && !st) {
		step->substitute = SUB_LAID;
		step->target = prepare_stmt(w->s, w->text, w->e, row);
		name_changes(w, row->name, step->target);
	} else if (row->kind == STMT_EXECUTE && st) {
		step->target = stmt_retain(st);
	} else if (row->kind == STMT_DEALLOCATE && st) {
		step->substitute = SUB_DEALLOCATE;
		name_changes(w, row->name, NULL);
	} else if (row->kind == STMT_DEALLOCATE_ALL) {
		step->substitute = SUB_DEALLOCATE_ALL;
		w->all_gone = true;
		w->n_changes = 0;
	}
	return true;
}

/* What settings are when it runs, in a statement of ours ahead of it. */
static void step_asks(struct rewrite *w, const struct stmt_effects *row, struct query_step *step)
{
	size_t before = buf_len(&w->out);

	step->asks = learn_written(w->s, w->e, row, &w->out);
	buf_u8(&w->out, ';');
	note_shift(w->s, (uint32_t)buf_len(&w->out), (int32_t)(buf_len(&w->out) - before));
}

static void step_prepare(struct rewrite *w, const struct stmt_effects *row, struct query_step *step)
{
	bool fresh;
	struct stmt *st = resolve(w, row->name, &fresh);

	if (st) { /* taken: PostgreSQL shall say so */
		if (!fresh && ensure_stmt(w->s, st, true) != SESSION_NEXT)
			w->verdict = SESSION_HOLD;
		step_renamed(w, row, step, st);
		if (!(step->name = strdup(row->name)))
			abort();
		return;
	}
	st = prepare_stmt(w->s, w->text, w->e, row);
	if (set_has(&w->s->backend->prepared, st) || w->s->backend->status == 'E') {
		/* There already, for another client or an earlier life of this name. In a failed transaction the statement goes as it is. */
		if (w->s->backend->status == 'E')
			buf_add(&w->out, w->text + row->at, row->len);
		else
			step_nothing(w, step, SUB_PREPARED);
		if (step->substitute)
			step->target = stmt_retain(st);
	} else {
		if (prepare_is_late(st))
			step_asks(w, row, step);
		step_renamed(w, row, step, st);
	}
	if (step->substitute && !(step->name = strdup(row->name)))
		abort();
	name_changes(w, row->name, st);
	if (step->target)
		stmt_release(st); /* the step's reference keeps it */
	else
		w->n_changes--, stmt_release(st);
}

static void step_reset_all(struct rewrite *w, const struct stmt_effects *row, struct query_step *step)
{
	const struct settings *base = w->s->base;

	buf_add(&w->out, w->text + row->at, row->len);
	for (size_t i = 0; i < settings_size(base); i++) {
		const char *name = settings_name_at(base, i), *kept;

		if (!strcmp(name, "role") || !strcmp(name, "session_authorization"))
			continue;
		kept = defaulted_value(w->s, w->e, row, name);
		buf_u8(&w->out, ';');
		put_reset(&w->out, name, kept ? kept : settings_value_at(base, i));
		step->extra++;
		if (!kept)
			continue;
		buf_u8(&w->out, ';');
		if (!put_set_local(&w->out, name, settings_value_at(base, i)))
			put_set_config(&w->out, name, settings_value_at(base, i), true);
		step->extra++;
	}
	if (!step->extra)
		return;
	step->substitute = SUB_RESET_ALL;
	w->changed = true;
}

static void step_listen(struct rewrite *w, const struct stmt_effects *row, struct query_step *step)
{
	struct session *s = w->s;
	bool behind = row != w->e->stmts || s->backend->status != 'I' || s->backend->batch;
	enum listen_way way = listen_may_share(s, row) ? listen_way(s, row, behind) : LISTEN_PLAIN;
	bool both = row->kind != STMT_LISTEN && s->pins & PIN_LISTEN;

	if (way == LISTEN_WAIT)
		w->verdict = SESSION_HOLD;
	if (way != LISTEN_MARKED || both)
		buf_add(&w->out, w->text + row->at, row->len);
	if (way == LISTEN_PLAIN && row->kind == STMT_LISTEN)
		s->txn.observe |= TOUCH_LISTEN;
	if (way != LISTEN_MARKED)
		return;
	if (both) {
		buf_u8(&w->out, ';');
		step->extra = 1;
	}
	step->substitute = row->kind == STMT_LISTEN ? SUB_LISTEN : SUB_UNLISTEN;
	step->rows_ours = listen_write(s, row, w->e->n == 1 && !both && s->backend->status == 'I' && !s->backend->batch, &w->out);
	w->changed = true;
}

/* An EXECUTE of a LISTEN or UNLISTEN, parsed by the extended protocol, that is not PostgreSQL's. */
static bool step_executes_listen(struct rewrite *w, const struct stmt_effects *row, struct query_step *step, const struct stmt *st)
{
	const char *text = w->text;

	st = stmt_executed(st);
	if (row->inner_kind != STMT_EXECUTE || (st->substitute != SUB_LISTEN && st->substitute != SUB_UNLISTEN))
		return false;
	w->text = (const char *)st->given;
	step_listen(w, &st->effects->stmts[0], step);
	w->text = text;
	return true;
}

static void step_write(struct rewrite *w, const struct stmt_effects *row, struct query_step *step)
{
	struct session *s = w->s;
	struct stmt *st;
	const char *value;
	bool fresh, left = rules_leave_prepared(s);

	if (step_laid(w, row, step))
		return;
	switch (row->kind) {
	case STMT_PREPARE:
		if (left)
			break;
		step_prepare(w, row, step);
		return;
	case STMT_EXECUTE:
		st = left ? NULL : resolve(w, row->name, &fresh);
		if (!st && !names_ours(row->name))
			break;
		if (st && !fresh) {
			st = stmt_of_today(s, row->name, st);
			if (ensure_taken(s, st, true) != SESSION_NEXT || ensure_executed(s, st, true) != SESSION_NEXT)
				w->verdict = SESSION_HOLD;
		}
		if (st && step_executes_listen(w, row, step, st))
			return;
		step->returns_rows = st && row->inner_kind == STMT_EXECUTE;
		step_renamed(w, row, step, st);
		return;
	case STMT_DEALLOCATE:
		if (names_ours(row->name) && !resolve(w, row->name, &fresh)) {
			step_renamed(w, row, step, NULL);
			return;
		}
		if (left || !resolve(w, row->name, &fresh) || s->backend->status == 'E')
			break;
		name_changes(w, row->name, NULL);
		step_nothing(w, step, SUB_DEALLOCATE);
		return;
	case STMT_DEALLOCATE_ALL:
		if (s->backend->status == 'E')
			break;
		w->all_gone = true;
		w->n_changes = 0;
		step_nothing(w, step, SUB_DEALLOCATE_ALL);
		return;
	case STMT_DISCARD_ALL:
		if (w->e->n > 1 || s->backend->status != 'I' || (s->backend->batch && !session_discarded(s)) || s->pins)
			break;
		step_nothing(w, step, SUB_DISCARD_ALL);
		return;
	case STMT_DISCARD_PLANS:
		if (s->backend->status == 'E')
			break;
		step_nothing(w, step, SUB_DISCARD_PLANS);
		return;
	case STMT_RESET:
		value = row->name ? settings_get(s->base, row->name) : NULL;
		if (!value || s->backend->status == 'E')
			break;
		step->substitute = w->text[row->at] == 'R' || w->text[row->at] == 'r' ? SUB_RESET : SUB_SET_DEFAULT;
		step->rows_ours = true;
		put_reset(&w->out, row->name, value);
		w->changed = true;
		return;
	case STMT_RESET_LOCAL:
		value = row->name ? settings_get(s->base, row->name) : NULL;
		if (!value || s->backend->status == 'E')
			break;
		if (!put_set_local(&w->out, row->name, value)) {
			if (w->e->n == 1 && s->backend->status == 'I' && !s->backend->batch)
				break; /* where it does nothing, but warns */
			put_set_config(&w->out, row->name, value, true);
			step->substitute = SUB_SET_DEFAULT;
		}
		w->changed = true;
		return;
	case STMT_RESET_ALL:
		if (s->backend->status == 'E')
			break;
		step_reset_all(w, row, step);
		return;
	case STMT_LISTEN:
	case STMT_UNLISTEN:
	case STMT_UNLISTEN_ALL:
		step_listen(w, row, step);
		return;
	default:
		break;
	}
	step_as_is(w, row, step, false, NULL);
}

/* From byte `at` of what was sent on, everything stands `delta` bytes further than the client wrote it. */
void note_shift(struct session *s, uint32_t at, int32_t delta)
{
	if (!delta)
		return;
	s->query.shifts = realloc(s->query.shifts, (s->query.n_shifts + 1) * sizeof *s->query.shifts);
	if (!s->query.shifts)
		abort();
	s->query.shifts[s->query.n_shifts].at = at;
	s->query.shifts[s->query.n_shifts++].delta = delta;
}

/* Writes the text anew, statement by statement; what stands between them stays. */
static void rewrite_text(struct rewrite *w, size_t len)
{
	size_t done = 0;

	for (size_t i = 0; i < w->e->n; i++) {
		const struct stmt_effects *row = &w->e->stmts[i];
		size_t before, written;

		if (i && i < 64 && w->e->more_of_same >> i & 1)
			continue;
		buf_add(&w->out, w->text + done, row->at - done);
		before = buf_len(&w->out);
		step_write(w, row, &w->steps[i]);
		done = row->at + row->len;
		written = buf_len(&w->out) - before;
		if (!w->steps[i].noted)
			note_shift(w->s, (uint32_t)(before + written), (int32_t)written - (int32_t)row->len);
	}
	buf_add(&w->out, w->text + done, len - done);
}

static bool needs_rewrite(const struct session *s, const struct effects *e)
{
	for (size_t i = 0; i < e->n; i++)
		switch (e->stmts[i].kind) {
		case STMT_PLAIN:
			if (e->stmts[i].n_places && edit_wanted(s, &e->stmts[i]))
				return true;
			break;
		case STMT_PREPARE:
		case STMT_EXECUTE:
		case STMT_DEALLOCATE:
		case STMT_DEALLOCATE_ALL:
		case STMT_DISCARD_ALL:
		case STMT_DISCARD_PLANS:
			return true;
		case STMT_RESET:
		case STMT_RESET_LOCAL:
		case STMT_RESET_ALL:
			if (settings_size(s->base))
				return true;
			break;
		case STMT_LISTEN:
		case STMT_UNLISTEN:
		case STMT_UNLISTEN_ALL:
			if (listen_is_shared(s))
				return true;
			break;
		default:
			break;
		}
	return false;
}

static void send_query(struct session *s, const char *text, size_t len)
{
	struct backend *b = s->backend;
	size_t mark = msg_begin(b->out, 'Q');

	buf_add(b->out, text, len);
	buf_u8(b->out, 0);
	msg_end(b->out, mark);
}

/* They are prepared with a result the client does not expect: each use is judged anew. */
static void forget_targets(struct session *s)
{
	for (size_t i = 0; i < s->query.n_steps; i++)
		if (s->query.steps[i].target && s->query.steps[i].target->described)
			close_again(s, s->query.steps[i].target);
}

/* Returns HOLD where something has to be prepared first; the text is then written anew when that is done. */
static enum session_verdict query_rewritten(struct session *s, const struct effects *e, const char *text, size_t len)
{
	struct rewrite w = { .s = s, .e = e, .text = text, .verdict = SESSION_NEXT };

	w.steps = calloc(e->n, sizeof *w.steps);
	w.changes = calloc(e->n, sizeof *w.changes);
	if (!w.steps || !w.changes)
		abort();
	s->query.steps = w.steps;
	s->query.n_steps = e->n;
	/* A task, once begun, must not be begun twice: what is still missing is found the next time round. */
	rewrite_text(&w, len);
	free(w.changes);
	for (size_t i = 0; w.verdict == SESSION_NEXT && i < e->n; i++)
		if (w.steps[i].substitute && e->stmts[i].name_len)
			tell_truncated(s, text + e->stmts[i].name_at, e->stmts[i].name_len, e->stmts[i].name);
	if (w.verdict == SESSION_NEXT && s->task_mismatch) {
		s->task_mismatch = false;
		buf_reset(&w.out);
		task_raise_sql(s, &w.out, "0A000", "cached plan must not change result type");
		forget_targets(s);
		send_query(s, (const char *)buf_head(&w.out), buf_len(&w.out));
	} else if (w.verdict == SESSION_NEXT) {
		send_query(s, (const char *)buf_head(&w.out), buf_len(&w.out));
	} else {
		query_clear(s);
	}
	buf_release(&w.out);
	return w.verdict;
}

static void query_began(struct session *s)
{
	struct backend *b = s->backend;
	struct unnamed_stmt *before = unnamed_replaced(s); /* a simple Query ends the unnamed statement */
	struct owed *o;

	o = ledger_push(&b->owed, OWED_QUERY, false);
	o->before = before;
	o->unnamed_was = b->unnamed == UNNAMED_UNKNOWN ? 0 : b->unnamed;
	b->unnamed = 0;
	s->await_ready = true;
}

static void row_begins(struct session *s)
{
	struct query_step *step = s->query.steps ? &s->query.steps[s->query.row] : NULL;

	s->query.swallow_rows = step && (step->rows_ours || step->asks);
}

static enum session_verdict query_with_effects(struct session *s, const struct client_message *m, const struct effects *e)
{
	const char *text = (const char *)m->body;
	enum session_verdict verdict = vacate_first(s, e);

	if (verdict != SESSION_NEXT)
		return verdict;
	if (!sequence_asked(s, rules_kinds(s, e)) || (views_shown(s, e) && !views_ready(s)) || learn_prepare(s, e, NULL))
		return SESSION_HOLD;
	query_clear(s);
	if (e->n && needs_rewrite(s, e))
		verdict = query_rewritten(s, e, text, m->len - 1);
	else
		forward_raw(s, m);
	if (verdict != SESSION_NEXT)
		return verdict;
	session_remember_text(s, text, m->len - 1);
	effects_sent(s, e, NULL, false);
	custom_sent(s, e, NULL, false);
	for (size_t i = 0; i < s->query.n_steps; i++)
		if (e->stmts[i].kind == STMT_EXECUTE) {
			effects_sent(s, e, s->query.steps[i].target, true);
			for (struct stmt *st = s->query.steps[i].target; st; st = stmt_executes(st))
				custom_sent(s, st->effects, NULL, true);
		}
	s->query.effects = effects_retain(e);
	s->query.text_len = (uint32_t)(m->len - 1);
	query_began(s);
	if (e->n)
		row_begins(s);
	return SESSION_NEXT;
}

void query_instead(struct session *s, const char *sql, size_t len)
{
	query_clear(s);
	send_query(s, sql, len);
	query_began(s);
}

static enum session_verdict query_opaque(struct session *s, const struct client_message *m)
{
	struct rule_refusal why;

	if (!rules_allow_text(s, effects_opaque(), false, false, &why))
		return rules_refuse(s, m, &why);
	if (!sequence_asked(s, rules_kinds(s, effects_opaque())))
		return SESSION_HOLD;
	query_clear(s);
	s->query.effects = effects_opaque();
	effects_sent(s, s->query.effects, NULL, false);
	custom_sent(s, s->query.effects, NULL, false);
	session_remember_text(s, "statement too long to be read", 29);
	query_began(s);
	return forward_raw(s, m);
}

/* The first statement may end the failed transaction: what comes behind it is seen to when it has. A statement that must not
 * be one of several has to stay that. */
static bool ends_failure_first(const struct session *s, const struct effects *e)
{
	if (s->backend->status != 'E' || e->n < 2)
		return false;
	if (e->stmts[0].kind != STMT_COMMIT && e->stmts[0].kind != STMT_ROLLBACK && e->stmts[0].kind != STMT_ROLLBACK_TO)
		return false;
	return e->n > 2 || (e->stmts[1].kind >= STMT_PREPARE && e->stmts[1].kind != STMT_DISCARD_ALL);
}

static enum session_verdict query_first_part(struct session *s, const char *text, size_t len)
{
	s->query_done = len;
	s->query_part_failed = false;
	query_instead(s, text, len);
	ledger_last(&s->backend->owed)->part = true;
	return SESSION_HOLD;
}

/* What is left of the text. */
static enum session_verdict query_rest(struct session *s, const struct client_message *m)
{
	const struct client_message rest = { 'Q', m->body + s->query_done, m->len - s->query_done, m->len - s->query_done };
	const struct effects *e;
	enum session_verdict verdict;

	if (s->query_part_failed) {
		s->query_done = 0;
		msg_add(s->to_client, 'Z', &s->backend->status, 1);
		return SESSION_DROP;
	}
	e = session_effects_of(s, (const char *)rest.body, rest.len - 1);
	verdict = query_with_effects(s, &rest, e);
	effects_release(e);
	return verdict;
}

enum session_verdict session_query(struct session *s, const struct client_message *m)
{
	const struct effects *e;
	enum session_verdict verdict;
	struct rule_refusal why;

	if (!s->carry) {
		s->backend->left = ~0u;
		query_began(s);
		return forward_raw(s, m);
	}
	if (m->len > SQL_HOLD_MAX)
		return query_opaque(s, m);
	if (m->have < m->len)
		return SESSION_MORE;
	if (!m->len || memchr(m->body, 0, m->len) != m->body + m->len - 1)
		return query_opaque(s, m); /* PostgreSQL judges the message */
	if (s->query_done)
		return query_rest(s, m);
	e = session_effects_of(s, (const char *)m->body, m->len - 1);
	listen_look(s, m->body, m->len);
	if (effects_none(e)) {
		query_clear(s);
		query_began(s);
		verdict = forward_raw(s, m);
	} else if (!rules_allow_text(s, e, false, false, &why)) {
		verdict = rules_refuse(s, m, &why);
	} else if (ends_failure_first(s, e)) {
		verdict = query_first_part(s, (const char *)m->body, e->stmts[1].at);
	} else {
		verdict = query_with_effects(s, m, e);
	}
	effects_release(e);
	return verdict;
}
