/* How a settings difference gets to a backend: as one SELECT of set_config() with Bind parameters, so that no value is ever
 * quoted; inside the client's own transaction as SETs. Either inside a task, in a round trip of its own, or in flight: as a transaction of its own directly ahead of
 * the client's message, without a Sync between. If anything in it fails PostgreSQL skips what follows to the next Sync,
 * simple Query included, so nothing of the client's runs under other settings than its own (PostgreSQL docs, "Extended
 * Query"; ../shared/same-flight.md says what was tried on which versions). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "parser/report.h"
#include "state/session_internal.h"

#define TASK_STMT STMT_PREFIX "set"

struct change {
	const char *name, *value; /* NULL: back to what the backend started with */
};

struct changes {
	struct change *list;
	size_t n;
};

static void change_add(struct changes *c, const char *name, const char *value)
{
	c->list = realloc(c->list, (c->n + 1) * sizeof *c->list);
	if (!c->list)
		abort();
	c->list[c->n++] = (struct change){ name, value };
}

static void collect(void *arg, const char *name, const char *was, const char *now)
{
	if (strcmp(name, "role") && strcmp(name, "session_authorization") && strcmp(name, "client_encoding"))
		change_add(arg, name, now);
}

static bool differs(const struct settings *from, const struct settings *to, const char *name)
{
	const char *a = settings_get(from, name), *b = settings_get(to, name);

	return a && b ? strcmp(a, b) != 0 : a != b;
}

/* Settings are changed as the user who logged in, who alone may set them all: role and authorization are taken back
 * first and come last. The encoding goes ahead of the values that are written in it. */
static void changes_between(const struct settings *from, const struct settings *to, struct changes *first, struct changes *rest)
{
	const char *authorization = settings_get(to, "session_authorization"), *role = settings_get(to, "role");

	if (settings_get(from, "role"))
		change_add(first, "role", "none");
	if (settings_get(from, "session_authorization"))
		change_add(first, "session_authorization", NULL);
	if (differs(from, to, "client_encoding"))
		change_add(first, "client_encoding", settings_get(to, "client_encoding"));
	settings_diff(from, to, collect, rest);
	if (authorization)
		change_add(rest, "session_authorization", authorization);
	if (role)
		change_add(rest, "role", role);
	else if (settings_get(from, "role")) /* what it started with need not be none: ALTER ROLE … SET role */
		change_add(rest, "role", NULL);
}

/* ---- one statement of ours: each message is owed a reply that nobody sees ---- */

static void put_parse(struct session *s, const char *name, const char *sql, size_t sql_len, size_t n_params)
{
	struct buf *out = s->backend->out;
	size_t mark = msg_begin(out, 'P');

	buf_str(out, name);
	buf_add(out, sql, sql_len);
	buf_u8(out, 0);
	buf_u16(out, (uint16_t)n_params);
	for (size_t i = 0; i < n_params; i++)
		buf_u32(out, 25); /* text */
	msg_end(out, mark);
	ledger_push(&s->backend->owed, OWED_PARSE, true);
}

static void put_close(struct session *s, char what, const char *name)
{
	struct buf *out = s->backend->out;
	size_t mark = msg_begin(out, 'C');

	buf_u8(out, (uint8_t)what);
	buf_str(out, name);
	msg_end(out, mark);
	ledger_push(&s->backend->owed, OWED_CLOSE, true);
}

static void put_value(struct buf *out, const char *value)
{
	if (!value || *value == *VALUE_UNKNOWN) {
		buf_u32(out, UINT32_MAX);
		return;
	}
	buf_u32(out, (uint32_t)strlen(value));
	buf_text(out, value);
}

static void put_run(struct session *s, const char *portal, const char *name, const struct change *values, size_t n)
{
	struct buf *out = s->backend->out;
	size_t mark = msg_begin(out, 'B');

	buf_str(out, portal);
	buf_str(out, name);
	buf_u16(out, 0);
	buf_u16(out, (uint16_t)(n * 2));
	for (size_t i = 0; i < n; i++) {
		put_value(out, values[i].name);
		put_value(out, values[i].value);
	}
	buf_u16(out, 0);
	msg_end(out, mark);
	ledger_push(&s->backend->owed, OWED_BIND, true);
	mark = msg_begin(out, 'E');
	buf_str(out, portal);
	buf_u32(out, 0);
	msg_end(out, mark);
	ledger_push(&s->backend->owed, OWED_EXECUTE, true);
	s->backend->batch = true;
}

/* What an earlier task has left, in this transaction or before, is closed first; closing what isn't there is fine. */
static void send_statement(struct session *s, const char *sql, size_t sql_len, const struct change *values, size_t n)
{
	put_close(s, 'S', TASK_STMT);
	put_close(s, 'P', TASK_STMT);
	put_parse(s, TASK_STMT, sql, sql_len, n * 2);
	put_run(s, TASK_STMT, TASK_STMT, values, n);
}

void send_own_unnamed(struct session *s, const char *sql, size_t len)
{
	put_parse(s, "", sql, len, 0);
	put_run(s, "", "", NULL, 0);
	s->backend->unnamed = UNNAMED_UNKNOWN;
}

void send_own(struct session *s, const char *sql, size_t len)
{
	send_statement(s, sql, len, NULL, 0);
}

void send_own_closed(struct session *s)
{
	put_close(s, 'S', TASK_STMT);
	put_close(s, 'P', TASK_STMT);
}

void send_own_with(struct session *s, const char *sql, const char *first, const char *second)
{
	struct change parameters = { first, second };

	send_statement(s, sql, strlen(sql), &parameters, 1);
}

/* ---- in a round trip, or inside the client's transaction ---- */

static void put_set_configs(struct buf *sql, size_t n, bool local)
{
	buf_text(sql, "SELECT ");
	for (size_t i = 0; i < n; i++)
		buf_printf(sql, "%spg_catalog.set_config($%zu,$%zu,%s)", i ? "," : "", 2 * i + 1, 2 * i + 2, local ? "true" : "false");
}

enum { SETTINGS_AT_ONCE = 1000 };

/* Inside the client's transaction, or its batch: set_config() would take its snapshot, and SET TRANSACTION may be still to come. */
static void send_sets(struct session *s, const struct changes *c)
{
	struct buf sql = { 0 };

	for (size_t i = 0; i < c->n; i++) {
		const struct change *one = &c->list[i];
		bool unknown = !one->value || *one->value == *VALUE_UNKNOWN, set;

		buf_reset(&sql);
		set = sql_put_set(&sql, one->name, unknown ? NULL : one->value);
		if (!set)
			put_set_configs(&sql, 1, false);
		send_statement(s, (const char *)buf_head(&sql), buf_len(&sql), one, set ? 0 : 1);
	}
	s->counters->replay_settings += c->n;
	buf_release(&sql);
}

static void send_changes(struct session *s, const struct changes *c, bool local)
{
	struct buf sql = { 0 };

	if (!local && (s->backend->status == 'T' || !s->task_alone)) {
		send_sets(s, c);
		return;
	}
	for (size_t at = 0; at < c->n;) {
		size_t n = c->n - at < SETTINGS_AT_ONCE ? c->n - at : SETTINGS_AT_ONCE;

		buf_reset(&sql);
		put_set_configs(&sql, n, local);
		send_statement(s, (const char *)buf_head(&sql), buf_len(&sql), c->list + at, n);
		at += n;
	}
	s->counters->replay_settings += c->n;
	buf_release(&sql);
}

void send_difference(struct session *s, const struct settings *from, const struct settings *to, bool local)
{
	struct changes first = { 0 }, rest = { 0 };

	/* What came with the startup packet may be half of one, for PostgreSQL's own other half and not for another client's. */
	if (s->task == TASK_LOGIN && settings_get(from, "datestyle") && differs(from, to, "datestyle"))
		change_add(&rest, "datestyle", NULL);
	changes_between(from, to, &first, &rest);
	send_changes(s, &first, local);
	send_changes(s, &rest, local);
	free(first.list);
	free(rest.list);
}

/* ---- in flight ---- */

#define BEGIN_STMT STMT_PREFIX "tx_begin"
#define COMMIT_STMT STMT_PREFIX "tx_commit"
/* A plain BEGIN would wait for other writers under serializable deferrable defaults: set_config() takes a snapshot. */
#define BEGIN_SQL "BEGIN ISOLATION LEVEL READ COMMITTED"

/* Statements of ours stay prepared on a backend. One that may or may not be there is closed first. */
static void keep_statement(struct session *s, unsigned bit, const char *name, const char *sql, size_t sql_len, size_t n_params)
{
	if (s->backend->kept >> bit & 1)
		return;
	put_close(s, 'S', name);
	put_parse(s, name, sql, sql_len, n_params);
	s->backend->kept |= 1u << bit;
}

/* One SELECT for each number of settings up to what is usual; more are rare and parsed each time. The portal is the unnamed
 * one: outside of a transaction no client has any. */
static void run_changes(struct session *s, const struct change *list, size_t n)
{
	struct buf sql = { 0 };
	char name[STMT_NAME_MAX];
	bool usual = n < BACKEND_KEPT;

	put_set_configs(&sql, n, false);
	snprintf(name, sizeof name, usual ? TASK_STMT "_%zu" : TASK_STMT, n);
	if (usual) {
		keep_statement(s, (unsigned)n, name, (const char *)buf_head(&sql), buf_len(&sql), n * 2);
	} else {
		put_close(s, 'S', name);
		put_parse(s, name, (const char *)buf_head(&sql), buf_len(&sql), n * 2);
	}
	put_run(s, "", name, list, n);
	s->counters->replay_settings += n;
	buf_release(&sql);
}

static void fly_changes(struct session *s, const struct changes *c)
{
	for (size_t at = 0; at < c->n; at += SETTINGS_AT_ONCE)
		run_changes(s, c->list + at, c->n - at < SETTINGS_AT_ONCE ? c->n - at : SETTINGS_AT_ONCE);
}

/* From PostgreSQL 14 on what our own change makes it report comes with the client's ReadyForQuery. Where that is what the
 * client believes already, nothing happened out of its sight. */
static void expect_believed(void *arg, const char *name, const char *was, const char *now)
{
	struct session *s = arg;
	const struct settings *reported = s->backend->reported;

	for (size_t i = 0; i < settings_size(reported); i++) {
		const char *as_reported = settings_name_at(reported, i), *believed;

		if (strcasecmp(as_reported, name))
			continue;
		believed = settings_get(s->reported, as_reported);
		if (believed)
			settings_set(&s->txn.reported, as_reported, believed);
		return;
	}
}

void flight_send(struct session *s, const struct settings *target)
{
	struct backend *b = s->backend;
	struct changes first = { 0 }, rest = { 0 };

	changes_between(b->have, target, &first, &rest);
	keep_statement(s, 0, BEGIN_STMT, BEGIN_SQL, sizeof BEGIN_SQL - 1, 0);
	put_run(s, "", BEGIN_STMT, NULL, 0);
	fly_changes(s, &first);
	fly_changes(s, &rest);
	keep_statement(s, BACKEND_KEPT, COMMIT_STMT, "COMMIT", 6, 0);
	put_run(s, "", COMMIT_STMT, NULL, 0);
	free(first.list);
	free(rest.list);
	for (size_t i = 0; i < b->owed.count; i++)
		ledger_at(&b->owed, i)->flight = true;
	b->batch = false; /* it ends itself */
	settings_diff(b->have, target, expect_believed, s);
	s->flight.kind = TASK_NONE;
	s->flight.answer = false;
	settings_assign(&s->flight.from, b->have);
	settings_assign(&b->have, target);
	settings_assign(&b->applied, target);
	s->counters->replays++;
	s->counters->flights++;
}

/* Nothing of it is there, and nothing of the client's has run. */
static void flight_undo(struct session *s)
{
	struct backend *b = s->backend;

	settings_assign(&b->have, s->flight.from);
	settings_assign(&b->applied, s->flight.from);
	settings_assign(&s->txn.reported, b->reported);
	b->kept = 0;
	custom_not_sent(s);
	custom_failed(s);
	s->flight.failed = true;
}

/* Behind extended messages PostgreSQL skips a Query with them. */
static bool query_under_way(const struct session *s)
{
	struct ledger *l = &s->backend->owed;

	for (size_t i = 0; i < l->count; i++)
		if (!ledger_at(l, i)->ours)
			return ledger_at(l, i)->kind == OWED_QUERY || ledger_at(l, i)->kind == OWED_CALL;
	return false;
}

static void flight_tell(struct session *s)
{
	task_tell_error(s);
	buf_reset(&s->task_error);
	query_clear(s);
	session_txn_reset(s);
}

/* The client's messages after the flight are skipped by PostgreSQL: up to the client's own Sync, if they are extended
 * ones; behind a Query or FunctionCall the Sync is ours, and is sent only now: in the flight it would have ended the
 * skipping. */
void flight_error(struct session *s, const struct client_message *m, uint32_t *events)
{
	struct backend *b = s->backend;
	bool query = query_under_way(s), synced;
	const char *severity = report_field(m->body, m->len, 'V');

	if (severity && (!strcmp(severity, "FATAL") || !strcmp(severity, "PANIC")))
		return; /* the caller tells it, and closes both */
	buf_reset(&s->task_error);
	buf_add(&s->task_error, m->body, m->len);
	flight_undo(s);
	synced = ledger_skip(s);
	if (synced && ledger_head(&b->owed)->ours)
		return; /* a task's, for a message that is held: told with that */
	s->task = TASK_NONE;
	if (query) {
		s->task = TASK_UNDO;
		msg_add(b->out, 'S', NULL, 0);
		ledger_push(&b->owed, OWED_SYNC, true);
		return;
	}
	flight_tell(s);
	b->batch = b->skipping = true;
	s->skip = !synced;
	s->await_reply = s->await_copy_end = false; /* of what was skipped with it */
	*events |= EVENT_PROGRESS;
}

/* ReadyForQuery after a failed flight. Returns true if it is not the last: our BEGIN is still open. */
bool flight_roll_back(struct session *s, bool ours)
{
	struct backend *b = s->backend;

	if (!s->flight.failed || b->status == 'I')
		return false;
	s->flight.kind = s->task == TASK_UNDO ? TASK_NONE : s->task;
	s->flight.answer = !ours;
	s->task = TASK_UNDO;
	msg_add(b->out, 'Q', "ROLLBACK", sizeof "ROLLBACK");
	ledger_push(&b->owed, OWED_QUERY, true);
	b->unnamed = 0; /* a simple Query ends it */
	if (s->unnamed.unkept)
		unnamed_forget(s);
	return true;
}

/* The ROLLBACK is done, or wasn't needed: the client's message is answered, now or when it is asked about again. */
void flight_undone(struct session *s, uint32_t *events)
{
	s->flight.failed = false;
	if (s->flight.kind) {
		s->task_failed = true;
		s->task_stmt_failed = false;
		return;
	}
	if (!s->flight.answer)
		flight_tell(s);
	s->await_ready = s->await_reply = false;
	s->query_done = 0;
	if (buf_len(&s->listen.inbox))
		listen_flush(s);
	msg_add(s->to_client, 'Z', "I", 1);
	*events |= EVENT_READY;
}
