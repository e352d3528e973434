/* LISTEN shared: what a client says becomes markers (state/channels.h), what is notified waits here until the client may
 * read it, and its ReadyForQuery waits until its own transaction's notifications have come. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "parser/reader.h"
#include "state/session_internal.h"

bool listen_is_shared(const struct session *s)
{
	return s->carry && s->channels && (s->listens || s->rules->action[RULE_LISTEN] == RULE_CARRY);
}

const char *session_listens_to(const struct session *s, size_t i)
{
	return s->listens ? subscriber_channel(s->listens, i) : NULL;
}

static struct subscriber *subscriber_of(struct session *s)
{
	if (!s->listens)
		s->listens = subscriber_new(s->channels, s->serial, s);
	return s->listens;
}

void session_listen_end(struct session *s)
{
	subscriber_free(s->listens);
	s->listens = NULL;
}

/* ---- LISTEN and UNLISTEN on their way to the backend ---- */

/* The listening backend speaks the server's encoding, and nothing is converted here. Names beyond ASCII are folded and
 * cut as the encoding has it. */
static bool same_encoding(const struct session *s, const char *name)
{
	const char *server = settings_get(s->reported, "server_encoding"), *client = settings_get(s->reported, "client_encoding");

	if (!server || !client)
		return false;
	for (; *name; name++)
		if ((unsigned char)*name >= 0x80 && strcasecmp(server, "UTF8"))
			return false;
	return !strcasecmp(server, client) || !strcasecmp(server, "SQL_ASCII") || !strcasecmp(client, "SQL_ASCII");
}

/* A standby refuses LISTEN, in its own words. */
static bool in_recovery(const struct session *s)
{
	const char *value = settings_get(s->reported, "in_hot_standby");

	return value && !strcmp(value, "on");
}

bool listen_may_share(const struct session *s, const struct stmt_effects *row)
{
	if (!listen_is_shared(s))
		return false;
	if (row->kind != STMT_LISTEN)
		return true;
	return s->rules->action[RULE_LISTEN] == RULE_CARRY && !(s->pins & PIN_LISTEN) && row->name && same_encoding(s, row->name) && !in_recovery(s) &&
	       channels_state(s->channels) != CHANNELS_REFUSED;
}

/* What an EXECUTE runs in the end. */
static const struct stmt_effects *executed_row(const struct session *s, const struct stmt_effects *row)
{
	const struct stmt *st = row->kind == STMT_EXECUTE && row->name ? names_find(&s->names, row->name) : NULL;

	return st && stmt_executed(st)->effects->n ? &stmt_executed(st)->effects->stmts[0] : row;
}

bool listen_unshared(const struct session *s, const struct stmt_effects *row)
{
	row = executed_row(s, row);
	return row->kind == STMT_LISTEN && s->rules->action[RULE_LISTEN] == RULE_CARRY && !in_recovery(s) && !listen_may_share(s, row);
}

bool listen_may_wait(const struct session *s, const struct stmt_effects *row)
{
	if (!listen_is_shared(s))
		return false;
	row = executed_row(s, row);
	return row->kind == STMT_LISTEN || row->kind == STMT_UNLISTEN || row->kind == STMT_UNLISTEN_ALL;
}

enum listen_way listen_way(struct session *s, const struct stmt_effects *row, bool behind)
{
	enum channel_answer answer;

	if (row->kind != STMT_LISTEN && !s->listens)
		return LISTEN_PLAIN;
	if (row->kind != STMT_LISTEN)
		answer = channels_wait_up(s->listens);
	else if (behind && s->backend->status != 'E')
		answer = channels_reserve_within(subscriber_of(s), row->name);
	else
		answer = channels_reserve(subscriber_of(s), row->name);
	s->listen.caught_up |= s->listens->own;
	return answer == CHANNEL_READY ? LISTEN_MARKED : answer == CHANNEL_PENDING ? LISTEN_WAIT : LISTEN_PLAIN;
}

static uint64_t row_marker(struct session *s, const struct stmt_effects *row, char payload[static MARKER_MAX])
{
	char before[24];

	s->listen.marked = true;
	switch (row->kind) {
	case STMT_LISTEN:
		return marker_new(s->listens, '+', row->name, payload);
	case STMT_UNLISTEN:
		return marker_new(s->listens, '-', row->name, payload);
	default:
		snprintf(before, sizeof before, "%llu", (unsigned long long)s->listens->last_n + 1);
		return marker_new(s->listens, '*', before, payload);
	}
}

/* By itself a SELECT, whose constants pg_stat_statements does not tell apart; in a transaction NOTIFY, which takes no
 * snapshot, as LISTEN doesn't. */
bool listen_write(struct session *s, const struct stmt_effects *row, bool alone, struct buf *out)
{
	char payload[MARKER_MAX];

	s->listen.alone = row_marker(s, row, payload);
	if (!alone)
		s->listen.alone = 0;
	if (alone)
		buf_printf(out, "SELECT pg_catalog.pg_notify('%s',", channels_marker(s->channels));
	else
		buf_printf(out, "NOTIFY \"%s\",", channels_marker(s->channels));
	sql_put_literal(out, payload);
	if (alone)
		buf_u8(out, ')');
	return alone;
}

static void send_marker(struct session *s, const struct stmt_effects *row, bool alone)
{
	char payload[MARKER_MAX];
	struct buf sql = { 0 };

	row_marker(s, row, payload);
	if (alone) {
		send_own_with(s, "SELECT pg_catalog.pg_notify($1,$2)", channels_marker(s->channels), payload);
		return;
	}
	buf_printf(&sql, "NOTIFY \"%s\",", channels_marker(s->channels));
	sql_put_literal(&sql, payload);
	send_own(s, (const char *)buf_head(&sql), buf_len(&sql));
	buf_release(&sql);
}

/* The statement itself, where the client's own Parse has brought a no-op. */
static void send_itself(struct session *s, const struct stmt_effects *row)
{
	struct buf sql = { 0 };

	buf_text(&sql, row->kind == STMT_LISTEN ? "LISTEN " : "UNLISTEN ");
	if (row->kind == STMT_UNLISTEN_ALL)
		buf_u8(&sql, '*');
	else
		channels_put_name(&sql, row->name);
	send_own(s, (const char *)buf_head(&sql), buf_len(&sql));
	buf_release(&sql);
	s->txn.observe |= row->kind == STMT_LISTEN ? TOUCH_LISTEN : TOUCH_DROP;
}

void listen_forget_unsent(struct session *s)
{
	if (s->listen.unsent)
		effects_release(s->listen.unsent);
	s->listen.unsent = NULL;
}

/* What the client says next tells whether the LISTEN was all of its batch: behind a snapshot no BEGIN ISOLATION LEVEL may
 * follow, nor SET TRANSACTION. */
void listen_send_unsent(struct session *s, const struct client_message *m)
{
	if (m->type == 'H')
		return;
	send_marker(s, &s->listen.unsent->stmts[0], m->type == 'S' && !s->listen.behind);
	listen_forget_unsent(s);
}

static void marker_later(struct session *s, const struct effects *e)
{
	if (s->backend->status != 'I') {
		send_marker(s, &e->stmts[0], false);
		return;
	}
	s->listen.unsent = effects_retain(e);
	s->listen.marked = true;
}

enum session_verdict listen_execute(struct session *s, const struct client_message *m, const struct effects *e)
{
	const struct stmt_effects *row = &e->stmts[0];
	struct rule_refusal why;

	switch (listen_way(s, row, s->backend->status != 'I' || s->listen.behind)) {
	case LISTEN_WAIT:
		return SESSION_HOLD;
	case LISTEN_MARKED:
		if (row->kind != STMT_LISTEN && s->pins & PIN_LISTEN)
			send_itself(s, row);
		marker_later(s, e);
		break;
	case LISTEN_PLAIN:
		if (row->kind == STMT_LISTEN && !rules_allow_unshared(s, &why))
			return rules_refuse(s, m, &why);
		if (row->kind == STMT_LISTEN || s->pins & PIN_LISTEN)
			send_itself(s, row);
		break;
	}
	return SESSION_NEXT;
}

void listen_discarded(struct session *s)
{
	if (!s->listens)
		return;
	if (channels_state(s->channels) != CHANNELS_UP) {
		subscriber_unlisten_all(s->listens, s->listens->last_n + 1);
		return;
	}
	s->listen.discard_before = s->listens->last_n + 1;
	s->listen.marked = true;
}

/* ---- ReadyForQuery waits for the transaction's own notifications ---- */

/* In the inbox of a message that depends on how the transaction ends, in place of 'A'. */
enum { NOTIFIED_WITHIN = 'a', NOTIFIED_NAME_AT = 9 };

/* LISTEN and UNLISTEN take effect before PostgreSQL looks at what their transaction has notified, and at what others have while it
 * was open: what counts is who listens now. What came before the client knew of any transaction may be from before it: told. */
static void inbox_judge(struct session *s)
{
	struct reader r = reader_of(buf_head(&s->listen.inbox), buf_len(&s->listen.inbox));
	struct buf left = { 0 };

	while (reader_left(&r)) {
		const uint8_t *from = r.at;
		char type = (char)reader_u8(&r);
		uint32_t len = reader_u32(&r);

		reader_bytes(&r, len - 4);
		if (r.bad)
			break;
		if (type != NOTIFIED_WITHIN || subscriber_listens(s->listens, (const char *)from + NOTIFIED_NAME_AT))
			buf_add(&left, from, 1 + len);
	}
	buf_release(&s->listen.inbox);
	s->listen.inbox = left;
}

static void transaction_heard(struct session *s)
{
	if (s->listen.marked && s->listens && buf_len(&s->listen.inbox))
		inbox_judge(s);
	s->listen.marked = s->listen.waits = false;
	s->listen.alone = s->listen.await = s->listen.discard_before = 0;
	if (!s->listens)
		return;
	subscriber_settle(s->listens);
	if (TAILQ_EMPTY(&s->listens->to))
		session_listen_end(s);
}

bool listen_holds_ready(struct session *s)
{
	struct subscriber *sub = s->listens;
	char payload[MARKER_MAX], before[24] = "";
	bool up = channels_state(s->channels) == CHANNELS_UP;

	if ((!s->listen.marked && (!up || TAILQ_EMPTY(&sub->to))) ||
	    (s->listen.alone && (s->txn.error || sub->heard_n >= s->listen.alone))) {
		transaction_heard(s);
		return false;
	}
	s->listen.waits = true;
	if (!up) /* lost in this very turn: session_listen_lost() comes */
		return true;
	if (s->listen.alone) {
		s->listen.await = s->listen.alone;
		return true;
	}
	if (s->listen.discard_before)
		snprintf(before, sizeof before, "%llu", (unsigned long long)s->listen.discard_before);
	s->listen.await = marker_new(sub, *before ? '*' : '.', before, payload);
	task_notify(s, channels_marker(s->channels), payload);
	return true;
}

void listen_go_on(struct session *s, bool failed, uint32_t *events)
{
	if (!s->listen.waits || s->task || (!failed && s->listens->heard_n < s->listen.await))
		return;
	transaction_heard(s);
	session_tell_ready(s, events);
}

bool session_listens(const struct session *s)
{
	return s->carry && s->listens && !TAILQ_EMPTY(&s->listens->to) && channels_state(s->channels) == CHANNELS_UP;
}

bool session_can_mark(const struct session *s)
{
	return s->carry && s->channels && channels_in_use(s->channels) && channels_state(s->channels) == CHANNELS_UP;
}

void session_mark_first(struct session *s)
{
	s->listen.begins = true;
}

bool session_said_notify(struct session *s)
{
	bool said = s->listen.said;

	s->listen.said = false;
	return said;
}

bool session_caught_up(struct session *s)
{
	bool caught_up = s->listen.caught_up;

	s->listen.caught_up = false;
	return caught_up;
}

bool session_mark_unsent(const struct session *s)
{
	return s->listen.begins;
}

void listen_look(struct session *s, const void *text, size_t len)
{
	const char *at = text, *end;

	if (!len || !s->channels || !channels_in_use(s->channels)) /* a statement that wasn't kept has no text */
		return;
	for (end = at + len; end - at >= 6; at++)
		if ((*at | 0x20) == 'n' && !strncasecmp(at, "notify", 6)) {
			s->listen.said = true;
			return;
		}
}

bool listen_begin(struct session *s)
{
	char payload[MARKER_MAX];

	s->listen.begins = false;
	if (!session_can_mark(s) || s->backend->status != 'I' || s->backend->batch)
		return false;
	if (s->listens)
		marker_new(s->listens, '.', NULL, payload);
	else
		snprintf(payload, sizeof payload, "%llu 0 .", (unsigned long long)s->serial);
	task_notify(s, channels_marker(s->channels), payload);
	return true;
}

void session_listen_marked(struct session *s, uint32_t *events)
{
	listen_go_on(s, false, events);
}

bool session_listen_lost(struct session *s, uint32_t *events)
{
	if (s->listen.marked)
		return false;
	s->listen.await = 0;
	listen_go_on(s, false, events);
	return true;
}

/* ---- notifications on their way to the client ---- */

/* As far as the client knows nothing of its own is under way. Our own work after its ReadyForQuery does not count. */
static bool may_read(const struct session *s)
{
	const struct backend *b = s->backend;

	if (s->listen.waits || s->ready_held || s->await_ready || s->await_reply || s->await_copy_end || s->skip)
		return false;
	if (!b)
		return !session_in_transaction(s);
	return b->status == 'I' && !b->batch && !b->skipping && !s->begin.held && (!b->owed.count || s->task);
}

void listen_flush(struct session *s)
{
	uint8_t *at = buf_head(&s->listen.inbox), *end = at + buf_len(&s->listen.inbox);

	for (; at < end; at += 1 + be32(at + 1))
		*at = *at == NOTIFIED_WITHIN ? 'A' : *at;
	buf_add(s->to_client, buf_head(&s->listen.inbox), buf_len(&s->listen.inbox));
	buf_release(&s->listen.inbox);
}

enum listen_delivery session_notify(struct session *s, const void *message, size_t len, bool own)
{
	const char *body = message;
	bool within = own || s->listen.within || s->begin.held;

	if (s->listen.overrun)
		return LISTEN_OVERRUN;
	if (buf_len(&s->listen.inbox) + buf_len(s->to_client) + len > LISTEN_UNREAD_MAX) {
		s->listen.overrun = true;
		buf_release(&s->listen.inbox);
		return LISTEN_OVERRUN;
	}
	within = within || !s->listens || !subscriber_listens(s->listens, body + NOTIFIED_NAME_AT);
	buf_u8(&s->listen.inbox, *body == 'A' && within ? NOTIFIED_WITHIN : (uint8_t)*body);
	buf_add(&s->listen.inbox, body + 1, len - 1);
	if (!may_read(s))
		return LISTEN_KEPT;
	listen_flush(s);
	return LISTEN_TOLD;
}

enum listen_delivery session_listen_gap(struct session *s)
{
	struct buf warning = { 0 };
	enum listen_delivery delivery;

	msg_report(&warning, 'N', "WARNING", "01000", "notifications may have been missed",
		   "The server connection on which pgporter listens for this session was lost and has been replaced.",
		   "Read again what the notifications are about.");
	delivery = session_notify(s, buf_head(&warning), buf_len(&warning), false);
	buf_release(&warning);
	return delivery;
}
