/* What backends answer, through the sessions they are linked to: linked_pump() of server/backend_conn.c is followed step by
 * step. */
#include "tests/sim/sim_internal.h"

#include <string.h>

#include "parser/report.h"
#include "parser/wire.h"

static void count_pins(uint32_t was, uint32_t now)
{
	for (int i = 0; i < PIN_REASONS; i++)
		if (now & ~was & 1u << i)
			counts[COUNT_PIN + i]++;
	if (was && !now)
		counts[COUNT_PIN_ENDED]++;
}

/* server/roles.c: the roles a client has dropped are nobody's any more. */
static void roles_gone(struct world *w, struct client *by)
{
	for (size_t i = 0; i < by->s.n_roles_gone; i++) {
		const char *name = by->s.roles_gone[i];

		for (struct client *c = w->clients; c < w->clients + w->p->n_clients; c++) {
			session_role_gone(&c->s, name);
			if (c->waiter.pool)
				c->waiter.want = c->s.want;
		}
		for (struct conn *b = w->conns; b < w->conns + BACKENDS; b++) {
			if (b->state != CONN_READY || !backend_role_gone(&b->facts, name))
				continue;
			b->close_needed = true;
			if (b->node.place == PLACE_IDLE)
				conn_close(w, b, "its role is gone");
		}
	}
	session_roles_told(&by->s);
}

/* Nobody knows what the backend holds: both go, and the client is told. */
static void client_broken(struct world *w, struct client *c)
{
	counts[COUNT_TOLD_BROKEN]++;
	c->conn->facts.spoilt = true;
	msg_report(&c->out, 'E', "FATAL", "08006", c->s.refusal ? c->s.refusal : "login failed", NULL, NULL);
	conn_close(w, c->conn, "nobody knows what it holds");
	pools_serve(w, pool_of(w, c));
}

/* What could not be told beforehand, from the text: the last one in is closed. A LISTEN could. */
static bool too_many_pins(struct world *w, const struct client *c)
{
	const struct pin_limit *l = &pool_of(w, c)->pins;

	return l->max && l->count >= l->max && c->s.pins != PIN_LISTEN && !strcmp(c->s.refusal, "too many pinned sessions");
}

void client_events(struct world *w, struct client *c, uint32_t events)
{
	struct conn *b = c->conn;

	if (events & EVENT_BROKEN) {
		if (b && !b->dying && !b->faulty && !too_many_pins(w, c))
			world_fail(w, "client %zu: %s", client_no(w, c), c->s.refusal);
		else if (b)
			client_broken(w, c);
		return;
	}
	if (events & EVENT_ROLES)
		roles_gone(w, c);
	if (events & EVENT_UNMARKED)
		speakers_unmarked(&b->speakers);
	if (events & EVENT_LOGIN_FAILED && !b->faulty)
		world_fail(w, "client %zu could not log in", client_no(w, c));
	else if (events & EVENT_LOGIN_FAILED)
		client_broken(w, c);
	if (c->state == CLIENT_GONE)
		return;
	if (events & EVENT_LOGIN_DONE)
		client_welcome(w, c, b->facts.reported);
	if (session_releasable(&c->s) && c->state == CLIENT_ACTIVE &&
	    !(events & EVENT_PROGRESS && !(events & EVENT_READY) && buf_len(&c->in)))
		client_give_up(w, c);
	if (buf_len(&c->in) && events & (EVENT_PROGRESS | EVENT_READY | EVENT_LOGIN_DONE))
		c->runnable = true;
}

void client_failed(struct world *w, struct client *c, const char *code, const char *message)
{
	if (!c->conn || !c->conn->left) /* not in the middle of a message */
		msg_report(&c->out, 'E', "FATAL", code, message, NULL, NULL);
	c->fatal = true;
	client_gone(w, c);
}

static bool is_fatal(const struct client_message *m)
{
	const char *severity = m->type == 'E' && m->have == m->len ? report_field(m->body, m->len, 'V') : NULL;

	return severity && !strcmp(severity, "FATAL");
}

static bool reply(struct world *w, struct conn *b, const struct client_message *m, uint32_t *events)
{
	struct client *c = b->client;
	const struct owed *head = ledger_head(&b->facts.owed);
	bool own = head && head->ours && (c->s.task || head->flight), plain = session_plain_row(&c->s, m->type);
	uint32_t pins = c->s.pins;
	enum task_kind task = c->s.task;
	size_t had = buf_len(&c->out);
	enum reply_verdict verdict = session_from_backend(&c->s, m, events);

	if (verdict != REPLY_BROKEN)
		counts[COUNT_FORWARD + verdict]++;
	client_note_failure(w, c, had, c->flown);
	c->listened_itself |= c->s.pins & PIN_LISTEN;
	count_pins(pins, c->s.pins);
	if (c->s.task != task)
		count_task(&c->s);
	if (plain && verdict != REPLY_FORWARD)
		world_fail(w, "a plain row was not forwarded");
	if (verdict != REPLY_WHOLE && w->trace) {
		world_trace(w, "server %zu %s client %zu: ", conn_no(w, b), verdict == REPLY_FORWARD ? "to" : "not to", client_no(w, c));
		if (m->have == m->len)
			words_told(w->trace, m->type, m->body, m->len);
		else
			world_trace(w, "%c…\n", m->type);
	}
	if (is_fatal(m)) {
		b->told_fatal = true;
		if (own && verdict == REPLY_SWALLOW) {
			conn_close(w, b, "ended");
			return false;
		}
	}
	switch (verdict) {
	case REPLY_WHOLE:
		if (m->have == m->len)
			world_fail(w, "more of a whole reply was asked for");
		return false;
	case REPLY_BROKEN:
		world_fail(w, "client %zu: a reply %c of server %zu was not expected", client_no(w, c), m->type, conn_no(w, b));
		return false;
	case REPLY_FORWARD:
		had = buf_len(&c->out);
		buf_add(&c->out, buf_head(&b->in), WIRE_HEAD + m->have);
		if (m->type == 'E' && m->have == m->len)
			client_note_failure(w, c, had, c->flown);
		break;
	case REPLY_SWALLOW:
		break;
	}
	b->left = m->len - m->have;
	b->drop = verdict == REPLY_SWALLOW;
	buf_consume(&b->in, WIRE_HEAD + m->have);
	return true;
}

static void reply_rest(struct conn *b)
{
	struct client *c = b->client;
	size_t n = buf_len(&b->in) < b->left ? buf_len(&b->in) : b->left;

	if (!b->drop)
		buf_add(&c->out, buf_head(&b->in), n);
	buf_consume(&b->in, n);
	b->left -= n;
	if (!b->left)
		session_reply_done(&c->s);
}

static void answer_invented(struct conn *b)
{
	if (!b->left && b->facts.owed.count && ledger_head(&b->facts.owed)->kind == OWED_INVENTED)
		session_reply_done(&b->client->s);
}

/* Those that take no thought; now and then they are told apart one by one all the same. */
static bool plain_replies(struct world *w, struct conn *b)
{
	size_t n = world_chance(w, 3) ? 0 : session_plain_replies(&b->client->s, buf_head(&b->in), buf_len(&b->in), 1u << 30);

	if (!n)
		return false;
	world_trace(w, "server %zu to client %zu: %zu bytes that take no thought\n", conn_no(w, b), client_no(w, b->client), n);
	counts[COUNT_PLAIN]++;
	buf_add(&b->client->out, buf_head(&b->in), n);
	buf_consume(&b->in, n);
	answer_invented(b);
	return true;
}

/* A notification tells who sent it: the client, as others know it. */
static void name_sender(struct world *w, const struct conn *b, uint8_t *body)
{
	uint32_t pid = be32(body), known_as = pid == b->m.pid ? b->client->alone.pid : listening_known_as(w, pid);

	for (int i = 0; i < 4; i++)
		body[i] = (uint8_t)(known_as >> (24 - 8 * i));
}

static void linked_pump(struct world *w, struct conn *b)
{
	struct client *c = b->client;
	uint32_t events = 0;

	while (b->state == CONN_READY && b->client == c && buf_len(&b->in) && !w->result->failed) {
		struct client_message m;
		struct wire_head head;

		if (b->left) {
			reply_rest(b);
			continue;
		}
		if (plain_replies(w, b))
			continue;
		if (wire_head(buf_head(&b->in), buf_len(&b->in), 1u << 30, &head) != WIRE_OK)
			break;
		m = (struct client_message){ .type = head.type, .body = buf_head(&b->in) + WIRE_HEAD, .len = head.body_len };
		m.have = buf_len(&b->in) - WIRE_HEAD < m.len ? buf_len(&b->in) - WIRE_HEAD : m.len;
		if (m.type == 'A' && m.have == m.len)
			name_sender(w, b, (uint8_t *)m.body);
		if (!reply(w, b, &m, &events))
			break;
		answer_invented(b);
		if (events && !b->left && session_releasable(&c->s)) {
			if (buf_len(&b->in) && buf_head(&b->in)[0] == 'E')
				b->facts.spoilt = true;
			break;
		}
	}
	if (b->told_fatal)
		conn_close(w, b, "ended");
	if (c->state != CLIENT_GONE && b->client == c && !w->result->failed)
		client_events(w, c, events);
}

void conn_pump(struct world *w, struct conn *b)
{
	while (b->state == CONN_READY && buf_len(&b->in) && !w->result->failed) {
		size_t had = buf_len(&b->in);

		if (!b->client) {
			if (!b->dying && buf_head(&b->in)[0] != 'S')
				world_fail(w, "server %zu says %c to nobody", conn_no(w, b), buf_head(&b->in)[0]);
			conn_close(w, b, "said something while idle");
			pools_serve(w, (struct pooled *)b->node.pool);
			return;
		}
		linked_pump(w, b);
		if (buf_len(&b->in) == had)
			return;
	}
}
