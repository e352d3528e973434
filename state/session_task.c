/* pgporter's own work on a linked backend: applying settings, preparing a statement under the settings of its Parse,
 * asking what a transaction has left. Everything is schema-qualified, runs between the client's messages, and its
 * replies never reach the client. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "parser/report.h"
#include "state/session_internal.h"

/* Alone, the task ends with a Sync of its own; inside the client's batch that would end the client's transaction. */
void task_begin(struct session *s, enum task_kind kind)
{
	s->task = kind;
	s->ready = s->task_failed = s->task_mismatch = false;
	s->task_alone = !s->backend->batch;
	buf_reset(&s->task_error);
	buf_reset(&s->task_rows);
}

void task_sent(struct session *s)
{
	if (s->task_alone) {
		msg_add(s->backend->out, 'S', NULL, 0);
		ledger_push(&s->backend->owed, OWED_SYNC, true);
	} else {
		msg_add(s->backend->out, 'H', NULL, 0);
	}
}

/* Behind DISCARD ALL its batch is at its beginning again: an error, or a ROLLBACK, is not to take back what that has given. */
void task_apply(struct session *s, const struct settings *target, enum task_kind kind)
{
	task_begin(s, kind);
	s->counters->replay_trips++;
	settings_retain(target);
	settings_release(s->task_target);
	s->task_target = target;
	send_difference(s, s->backend->have, target, false);
	defaulted_again(s, s->backend->have, target);
	s->task_commits = s->backend->batch && s->discarded;
	if (s->task_commits)
		send_own(s, "COMMIT", 6);
	s->counters->replays++;
	task_sent(s);
}

void task_notify(struct session *s, const char *channel, const char *payload)
{
	task_begin(s, TASK_NOTIFY);
	send_own_with(s, "SELECT pg_catalog.pg_notify($1,$2)", channel, payload);
	task_sent(s);
}

static void send_sql_stmt(struct session *s, struct stmt *st)
{
	struct buf sql = { 0 };
	struct owed *o;

	make_room(s, s->query.n_steps + stmt_depth(st));
	put_renamed(&sql, (const char *)st->tail, st->tail_len, st->name_at, st->name_len, st);
	send_own(s, (const char *)buf_head(&sql), buf_len(&sql));
	buf_release(&sql);
	o = ledger_last(&s->backend->owed);
	o->stmt = stmt_retain(st);
	o->on_set = true;
	set_add(&s->backend->prepared, st);
}

/* What the client relies on: is the result still of that shape? */
static void send_describe(struct session *s, struct stmt *st)
{
	char name[STMT_NAME_MAX];
	struct owed *o;
	size_t mark;

	if (!st->described)
		return;
	stmt_name(st, name);
	mark = msg_begin(s->backend->out, 'D');
	buf_u8(s->backend->out, 'S');
	buf_str(s->backend->out, name);
	msg_end(s->backend->out, mark);
	o = ledger_push(&s->backend->owed, OWED_DESCRIBE_STMT, true);
	o->stmt = stmt_retain(st);
}

static void send_protocol_stmt(struct session *s, struct stmt *st)
{
	char name[STMT_NAME_MAX];
	struct owed *o;

	make_room(s, s->query.n_steps + stmt_depth(st));
	stmt_name(st, name);
	send_parse(s, name, st->tail, st->tail_len);
	o = ledger_push(&s->backend->owed, OWED_PARSE, true);
	o->stmt = stmt_retain(st);
	o->on_set = true;
	set_add(&s->backend->prepared, st);
}

static void send_unnamed(struct session *s)
{
	struct unnamed_stmt *u = &s->unnamed;
	struct owed *o;

	send_parse(s, "", buf_head(&u->tail), buf_len(&u->tail));
	o = ledger_push(&s->backend->owed, OWED_PARSE, true);
	o->unnamed = true;
	s->backend->unnamed = u->serial;
}

static void send_plain(struct session *s, const char *sql)
{
	send_own(s, sql, strlen(sql));
}

void task_prepare(struct session *s, struct stmt *st)
{
	struct backend *b = s->backend;
	const struct settings *now = settings_meaning(s->effective);
	const struct settings *then = settings_meaning(st ? st->at_parse : s->unnamed.at_parse);
	bool differ = now != then, savepoint;

	if (learn_first(s, now, then))
		return;
	task_begin(s, TASK_PREPARE);
	s->counters->replay_trips++;
	/* SET LOCAL: gone with the transaction, ours or the client's. Inside the client's a savepoint takes it back, and with
	 * it whatever pgporter does not know the value of; what was prepared stays. A pipeline without BEGIN has none. */
	savepoint = differ && b->status == 'T' && s->task_alone;
	if (savepoint)
		send_plain(s, "SAVEPOINT pgporter");
	if (differ) {
		custom_applying(s, then);
		send_difference(s, now, then, true);
	}
	if (!st)
		send_unnamed(s);
	else if (st->from_sql)
		send_sql_stmt(s, st);
	else
		send_protocol_stmt(s, st);
	if (st)
		send_describe(s, st);
	if (savepoint) {
		send_plain(s, "ROLLBACK TO SAVEPOINT pgporter");
		send_plain(s, "RELEASE SAVEPOINT pgporter");
	} else if (differ && !s->task_alone) {
		send_difference(s, then, now, true);
	}
	task_sent(s);
}

/* It may have been reset to a value that is not the client's own, or never have been set, nor may be. PostgreSQL does not say it of
 * custom ones. */
static bool may_not_be_set(const struct session *s, const char *name)
{
	if (strchr(name, '.') || !strcmp(name, "role") || !strcmp(name, "session_authorization"))
		return false;
	return (s->txn.base_unknown && settings_get(s->base, name)) || (s->txn.unsure && !settings_get(s->backend->have, name));
}

static void put_if_set(struct buf *q, const char *name)
{
	buf_text(q, ",(SELECT pg_catalog.current_setting(s.name) FROM pg_catalog.pg_settings AS s WHERE pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) ");
	sql_put_literal(q, name);
	buf_text(q, " AND s.source OPERATOR(pg_catalog.=) 'session')");
}

/* A role that is none is no setting: a session starts so, where no ALTER ROLE … SET says otherwise. */
#define ROLE_IF_SET \
	"CASE WHEN pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) 'none' OR EXISTS (SELECT FROM pg_catalog.pg_db_role_setting AS d," \
	" pg_catalog.unnest(d.setconfig) AS c WHERE pg_catalog.starts_with(c,'role=')) THEN pg_catalog.current_setting('role') END"

static void put_asks(struct session *s, struct buf *q, uint32_t observe)
{
	const struct settings *have = s->backend->have;
	const char *sep = "SELECT ";
	/* What is certain is not asked: a value that RESET or DISCARD has given back would come as one that was SET. */
	size_t n_names = s->txn.uncertain || observe & (TOUCH_OPAQUE | TOUCH_LISTED) ? s->txn.n_names : 0;

	for (size_t i = 0; i < n_names; i++) {
		buf_printf(q, "%s'g'::pg_catalog.text,", sep);
		sql_put_literal(q, s->txn.names[i]);
		if (!strcmp(s->txn.names[i], "role")) {
			buf_text(q, "," ROLE_IF_SET);
		} else if (may_not_be_set(s, s->txn.names[i])) {
			put_if_set(q, s->txn.names[i]);
		} else {
			buf_text(q, ",pg_catalog.current_setting(");
			sql_put_literal(q, s->txn.names[i]);
			buf_text(q, ",true)");
		}
		sep = " UNION ALL SELECT ";
	}
	for (size_t i = 0; observe & (TOUCH_OPAQUE | TOUCH_LISTED) && i < settings_size(have); i++) {
		const char *name = settings_name_at(have, i);

		if (!strchr(name, '.'))
			continue;
		buf_printf(q, "%s'g'::pg_catalog.text,", sep);
		sql_put_literal(q, name);
		buf_text(q, ",pg_catalog.current_setting(");
		sql_put_literal(q, name);
		buf_text(q, ",true)");
		sep = " UNION ALL SELECT ";
	}
	for (size_t i = 0; i < settings_size(s->custom.pending); i++) {
		buf_printf(q, "%s'k'::pg_catalog.text,", sep);
		sql_put_literal(q, settings_name_at(s->custom.pending, i));
		buf_text(q, ",pg_catalog.current_setting(");
		sql_put_literal(q, settings_name_at(s->custom.pending, i));
		buf_text(q, ",true)");
		sep = " UNION ALL SELECT ";
	}
	if (observe & (TOUCH_OPAQUE | TOUCH_LISTED)) {
		buf_text(q, sep);
		buf_text(q, "'a'::pg_catalog.text,pg_catalog.lower(name),pg_catalog.current_setting(name) FROM pg_catalog.pg_settings"
			    " WHERE source OPERATOR(pg_catalog.=) 'session'"
			    " UNION ALL SELECT 'g','role'," ROLE_IF_SET);
	}
	if (n_names || observe & (TOUCH_OPAQUE | TOUCH_LISTED) || custom_pending(s))
		buf_u8(q, ';');
}

static void put_count(struct buf *q, const char **sep, char kind, const char *from)
{
	buf_printf(q, "%s'%c'::pg_catalog.text,''::pg_catalog.text,(SELECT pg_catalog.count(*) FROM pg_catalog.%s)::pg_catalog.text", *sep, kind,
		   from);
	*sep = " UNION ALL SELECT ";
}

static void put_counts(struct session *s, struct buf *q, uint32_t observe)
{
	const char *sep = "SELECT ";
	uint32_t pins = s->pins;

	if (observe & (TOUCH_LOCK | TOUCH_OPAQUE) || pins & PIN_LOCK)
		put_count(q, &sep, 'l',
			  "pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND granted"
			  " AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()");
	if (observe & (TOUCH_CURSOR | TOUCH_OPAQUE) || pins & PIN_CURSOR)
		put_count(q, &sep, 'c', "pg_cursors WHERE is_holdable");
	if (observe & (TOUCH_LISTEN | TOUCH_OPAQUE) || pins & PIN_LISTEN)
		put_count(q, &sep, 'n', "pg_listening_channels()");
	if (observe & (TOUCH_TEMP | TOUCH_OPAQUE) || pins & PIN_TEMP) {
		buf_printf(q, "%s'm'::pg_catalog.text,''::pg_catalog.text,pg_catalog.pg_my_temp_schema()::pg_catalog.text", sep);
		sep = " UNION ALL SELECT ";
		put_count(q, &sep, 't', "pg_class WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()");
		put_count(q, &sep, 't', "pg_proc WHERE pronamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()");
		put_count(q, &sep, 't', "pg_type WHERE typnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()");
	}
	if (observe & TOUCH_OPAQUE)
		put_count(q, &sep, 'p',
			  "pg_prepared_statements WHERE from_sql AND NOT pg_catalog.starts_with(name, '" STMT_PREFIX "')");
	if (sep[1] == 'U')
		buf_u8(q, ';');
}

void task_observe(struct session *s, uint32_t observe)
{
	struct backend *b = s->backend;
	size_t mark;

	task_begin(s, TASK_OBSERVE);
	s->task_observe = observe;
	if (observe & TOUCH_OPAQUE) /* which may have deallocated what it liked */
		b->kept = 0;
	mark = msg_begin(b->out, 'Q');
	buf_text(b->out, "BEGIN ISOLATION LEVEL READ COMMITTED;");
	put_asks(s, b->out, observe);
	buf_text(b->out, "SET LOCAL statement_timeout=0;");
	put_counts(s, b->out, observe);
	buf_text(b->out, "COMMIT");
	buf_u8(b->out, 0);
	msg_end(b->out, mark);
	ledger_push(&b->owed, OWED_QUERY, true);
	b->unnamed = 0;
	if (s->unnamed.unkept)
		unnamed_forget(s);
	s->counters->observations++;
}

/* A temporary schema, once made, comes first in every search path of that backend, and PostgreSQL analyses what was
 * prepared under another path anew, with the settings of whoever runs it. They are prepared again when needed instead. */
static void task_forget(struct session *s)
{
	struct backend *b = s->backend;

	task_begin(s, TASK_FORGET);
	s->temp_schema_new = false;
	b->temp_schema = true;
	set_clear(&b->prepared);
	b->kept = 0;
	b->unnamed = 0;
	msg_add(b->out, 'Q', "DEALLOCATE ALL", sizeof "DEALLOCATE ALL");
	ledger_push(&b->owed, OWED_QUERY, true);
}

/* The client has asked for its plans to be made anew, those that functions keep included. What is prepared here is others', too,
 * and would be analysed again under whatever settings come next: it is prepared again when needed instead. */
void task_discard_plans(struct session *s)
{
	struct backend *b = s->backend;

	task_begin(s, TASK_FORGET);
	b->plans = s->plans;
	set_clear(&b->prepared);
	b->kept = 0;
	b->unnamed = UNNAMED_UNKNOWN;
	send_own(s, "DISCARD PLANS", 13);
	send_own(s, "DEALLOCATE ALL", 14);
	task_sent(s);
}

bool plans_stale(const struct session *s)
{
	const struct backend *b = s->backend;

	return s->plans > b->plans && b->status != 'E' && !b->batch;
}

/* set_config(…, NULL, …) makes a name up as RESET does. */
void task_names(struct session *s, const struct settings *names)
{
	const struct settings *none = settings_empty(s->store->settings);

	task_begin(s, TASK_NAMES);
	send_difference(s, names, none, false);
	settings_release(none);
	task_sent(s);
}

void task_query(struct session *s, enum task_kind kind, const struct buf *sql)
{
	struct backend *b = s->backend;
	size_t mark;

	task_begin(s, kind);
	mark = msg_begin(b->out, 'Q');
	buf_add(b->out, buf_head(sql), buf_len(sql));
	buf_u8(b->out, 0);
	msg_end(b->out, mark);
	ledger_push(&b->owed, OWED_QUERY, true);
	b->unnamed = 0;
}

void task_raise_sql(struct session *s, struct buf *sql, const char *sqlstate, const char *message)
{
	buf_printf(sql, "DO $pgporter$BEGIN RAISE EXCEPTION '%s' USING ERRCODE='%s'; END$pgporter$", message, sqlstate);
	s->raising = true;
}

void task_raise(struct session *s, const char *sqlstate, const char *message)
{
	struct buf sql = { 0 };

	task_raise_sql(s, &sql, sqlstate, message);
	task_raise_text(s, (const char *)buf_head(&sql), buf_len(&sql));
	buf_release(&sql);
}

void task_raise_text(struct session *s, const char *sql, size_t len)
{
	send_own(s, sql, len);
	msg_add(s->backend->out, 'H', NULL, 0);
	s->await_reply = true;
}

void task_tell_error(struct session *s)
{
	const char *message = report_field(buf_head(&s->task_error), buf_len(&s->task_error), 'M'), *code = report_field(buf_head(&s->task_error), buf_len(&s->task_error), 'C');
	char text[512];

	if (s->task_stmt_failed || (code && !strcmp(code, "57014"))) { /* the statement's own, or a cancel: as PostgreSQL would have put it */
		msg_add(s->to_client, 'E', buf_head(&s->task_error), buf_len(&s->task_error));
		return;
	}
	if (s->views == VIEWS_OLD) {
		snprintf(text, sizeof text, "could not show this session's prepared statements: %s", message ? message : "?");
		msg_report(s->to_client, 'E', "ERROR", code ? code : "58000", text,
			   "pgporter prepares them again, under the session's own names, before a statement that shows them.",
			   "DEALLOCATE those that are no longer valid.");
		return;
	}
	snprintf(text, sizeof text, "could not restore this session's settings on a server connection: %s", message ? message : "?");
	msg_report(s->to_client, 'E', "ERROR", code ? code : "58000", text,
		   "The statement was not executed: pgporter runs nothing under settings other than the client's own.",
		   "RESET the setting or role that is no longer valid, or DISCARD ALL.");
}

/* It is reported with the ReadyForQuery, and is no change of the client's own. */
static void expect_base(void *arg, const char *name, const char *was, const char *now)
{
	struct session *s = arg;

	for (size_t i = 0; i < settings_size(s->base_reported); i++)
		if (!strcasecmp(settings_name_at(s->base_reported, i), name)) {
			settings_set(&s->txn.reported, settings_name_at(s->base_reported, i), settings_value_at(s->base_reported, i));
			return;
		}
}

static void apply_done(struct session *s)
{
	struct backend *b = s->backend;

	if (s->task_commits)
		settings_diff(b->have, s->task_target, expect_base, s);
	settings_assign(&b->have, s->task_target);
	if (s->task_commits) {
		settings_assign(&b->applied, b->have);
	} else if (b->status == 'I' && !b->batch) {
		settings_assign(&b->applied, b->have);
		settings_assign(&s->txn.reported, b->reported); /* what changed was our doing */
	} else {
		s->txn.dirty = true;
	}
}

void task_finish(struct session *s, uint32_t *events)
{
	enum task_kind kind = s->task;
	bool failed = buf_len(&s->task_error) > 0;

	s->task = TASK_NONE;
	*events |= EVENT_PROGRESS;
	if (failed)
		custom_failed(s);
	if (s->flight.failed) {
		if (kind != TASK_UNDO)
			s->flight.kind = kind;
		flight_undone(s, events);
		return;
	}
	switch (kind) {
	case TASK_APPLY:
	case TASK_LOGIN:
		if (!failed)
			apply_done(s);
		if (kind == TASK_LOGIN)
			*events |= failed ? EVENT_LOGIN_FAILED : EVENT_LOGIN_DONE;
		else
			s->task_failed = failed;
		s->task_stmt_failed = false;
		break;
	case TASK_PREPARE:
		s->task_failed = s->task_stmt_failed = failed;
		break;
	case TASK_LEARN:
		s->task_failed = failed || !learn_done(s);
		s->task_stmt_failed = false;
		break;
	case TASK_OBSERVE:
		if (failed || s->backend->status != 'I') {
			s->refusal_code = "08006";
			s->refusal = "could not find out what the last transaction has left on the server connection";
			*events |= EVENT_BROKEN;
		} else {
			effects_observed(s, events);
			rules_settle(s, events);
			session_tell_held(s, events);
			if (s->temp_schema_new)
				task_forget(s);
		}
		break;
	case TASK_FORGET:
		if (failed) {
			s->refusal_code = "08006";
			s->refusal = "could not clear a server connection's prepared statements";
			*events |= EVENT_BROKEN;
		}
		break;
	case TASK_SETTLE:
	case TASK_CLEAR:
	case TASK_LAY:
		if (views_done(s, kind, failed))
			break;
		s->refusal_code = "08006";
		s->refusal = "could not clear a server connection's prepared statements";
		*events |= EVENT_BROKEN;
		break;
	case TASK_NOTIFY: /* where it failed, what was notified comes when it comes */
		if (failed)
			*events |= EVENT_UNMARKED;
		listen_go_on(s, failed, events);
		break;
	case TASK_SEQUENCE:
		sequence_discarded(s, failed);
		s->task_failed = failed;
		s->task_stmt_failed = false;
		break;
	case TASK_NAMES:
		s->task_failed = failed;
		s->task_stmt_failed = false;
		break;
	case TASK_RESET:
		if (!failed) {
			reset_done(s);
			session_tell_held(s, events);
			break;
		}
		s->refusal_code = "08006";
		s->refusal = "could not give settings back that the last statement has reset";
		*events |= EVENT_BROKEN;
		break;
	case TASK_HALF_ENDED:
		half_ended_done(s, failed, events);
		break;
	case TASK_BEGIN:
		if (begin_done(s))
			break;
		s->refusal_code = "08006";
		s->refusal = "could not begin the transaction on a server connection";
		*events |= EVENT_BROKEN;
		break;
	case TASK_UNDO:
	case TASK_NONE:
		break;
	}
	buf_reset(&s->task_rows);
	if (kind == TASK_OBSERVE || kind == TASK_FORGET)
		views_end(s);
}
