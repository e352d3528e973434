/* What clients say, through their sessions: active_pump() of server/client.c is followed step by step. */
#include "tests/sim/sim_internal.h"

#include <string.h>

#include "parser/report.h"
#include "parser/wire.h"

void client_give_up(struct world *w, struct client *c)
{
	struct conn *b = c->conn;
	bool clean;

	if (!b)
		return;
	world_trace(w, "client %zu gives back server %zu\n", client_no(w, c), conn_no(w, b));
	c->conn = NULL;
	if (session_mark_unsent(&c->s))
		speakers_unmarked(&b->speakers);
	speakers_leave(&b->speakers, session_listens(&c->s), w->now_us);
	clean = session_unlink(&c->s);
	conn_release(w, b, clean && !c->left);
}

void client_gone(struct world *w, struct client *c)
{
	if (c->state == CLIENT_GONE)
		return;
	c->state = CLIENT_GONE;
	c->gone_at = w->listening.through;
	session_listen_end(&c->s);
	pool_unwait(&c->waiter);
	client_give_up(w, c);
	pool_of(w, c)->n_clients--;
	pools_serve(w, pool_of(w, c));
}

/* Told what it would have been told alone with the same startup packet. */
void client_welcome(struct world *w, struct client *c, const struct settings *told)
{
	session_welcome(&c->s, told);
	for (size_t i = 0; i < settings_size(told); i++) {
		const char *name = settings_name_at(told, i), *alone = model_reported(&c->alone, name);

		if (!alone || strcmp(alone, settings_value_at(told, i)))
			world_fail(w, "client %zu is welcomed with %s = %s, alone %s", client_no(w, c), name, settings_value_at(told, i), alone ? alone : "not at all");
	}
	c->state = CLIENT_ACTIVE;
	c->runnable = true;
}

void count_task(const struct session *s)
{
	if (s->task)
		counts[COUNT_TASK + s->task - 1]++;
}

void client_linked(struct world *w, struct client *c, struct conn *b)
{
	world_trace(w, "client %zu gets server %zu\n", client_no(w, c), conn_no(w, b));
	c->conn = b;
	b->client = c;
	session_link(&c->s, &b->facts);
	if (speakers_enter(&b->speakers, c->alone.pid, c->s.serial, session_listens(&c->s), session_can_mark(&c->s), w->now_us))
		session_mark_first(&c->s);
	c->runnable = true;
	if (c->state != CLIENT_LOGIN)
		return;
	if (session_login_begin(&c->s))
		client_welcome(w, c, b->facts.reported);
	else
		count_task(&c->s);
}

static bool request_backend(struct world *w, struct client *c)
{
	struct pooled *p = pool_of(w, c);
	const struct settings *knows = NULL;
	struct pool_backend *node;

	if (c->waiter.pool || c->conn)
		return false;
	if (c->state != CLIENT_LOGIN) /* where nothing is read */
		knows = session_knows(&c->s, buf_head(&c->in), buf_len(&c->in));
	node = pool_take(&p->pool, c->s.want, knows, w->now_us);
	if (node) {
		client_linked(w, c, (struct conn *)node);
		return true;
	}
	counts[COUNT_WAITED]++;
	pool_wait(&p->pool, &c->waiter, c->s.want, knows, w->now_us);
	pools_serve(w, p);
	return false;
}

bool client_message_at(struct world *w, struct client *c, struct client_message *m)
{
	struct wire_head head;

	if (wire_head(buf_head(&c->in), buf_len(&c->in), 1u << 30, &head) != WIRE_OK)
		return false;
	*m = (struct client_message){ .type = head.type, .body = buf_head(&c->in) + WIRE_HEAD, .len = head.body_len };
	m->have = buf_len(&c->in) - WIRE_HEAD < m->len ? buf_len(&c->in) - WIRE_HEAD : m->len;
	return true;
}

void client_taken(struct client *c, const struct client_message *m, bool drop)
{
	c->left = m->len - m->have;
	c->drop = drop;
	c->n_messages++;
	buf_consume(&c->in, WIRE_HEAD + m->have);
}

/* Or what PostgreSQL says to whatever comes in a failed transaction. */
static bool is_refusal(const char *text)
{
	return strstr(text, "not allowed here") || strstr(text, "too many pinned sessions") || strstr(text, "current transaction is aborted");
}

void client_note_failure(struct world *w, struct client *c, size_t had, size_t message)
{
	for (size_t len; had < buf_len(&c->out); had += 1 + len) {
		const uint8_t *m = buf_head(&c->out) + had;
		const char *text;
		bool refused = false;
		size_t body;

		len = be32(m + 1);
		body = len - 4;
		text = *m == 'E' ? report_field(m + WIRE_HEAD, len - 4, 'M') : NULL;
		if (text && strstr(text, "is not yet defined in this session")) { /* rather than another's number */
			counts[COUNT_NO_NUMBER]++;
			message = c->n_messages - 1;
			body = 0; /* its numbers are gone, and it would be told the same alone */
		} else if (text && c->refusing && is_refusal(text)) {
			c->refusing = false;
			message = c->refused_at;
			counts[strstr(text, "too many pinned") ? COUNT_TOO_MANY_PINS : COUNT_REFUSED]++;
			refused = true;
		} else if (!text || !strstr(text, "out of memory")) {
			c->refusing = c->refusing && !text; /* what was sent before it has failed, and it is skipped */
			continue;
		} else {
			counts[COUNT_NOT_RESTORED]++;
		}
		if (c->n_failures == FAILURES)
			world_fail(w, "client %zu is told too many errors of ours", client_no(w, c));
		else
			c->failures[c->n_failures++] = (typeof(*c->failures)){ message, buf_len(&c->failed), body, refused };
		buf_add(&c->failed, m + WIRE_HEAD, body);
	}
}

/* A BEGIN waits for what tells whether another backend would do better. */
static bool hold_begin(struct world *w, struct client *c)
{
	struct pooled *p = pool_of(w, c);
	size_t taken;

	if (!p->counters.custom_names || c->waiter.pool || c->conn || !pool_has_strange(&p->pool, c->s.custom.known))
		return false;
	taken = session_hold_begin(&c->s, buf_head(&c->in), buf_len(&c->in));
	if (!taken)
		return false;
	world_trace(w, "client %zu is told that it has begun\n", client_no(w, c));
	counts[COUNT_BEGIN_HELD]++;
	for (size_t at = 0; at < taken; at += 1 + be32(buf_head(&c->in) + at + 1))
		c->n_messages++;
	buf_consume(&c->in, taken);
	return true;
}

/* False when the pump has to stop. */
static bool one_message(struct world *w, struct client *c, const struct client_message *m, bool *partial)
{
	enum task_kind task = c->s.task;
	uint64_t flights = c->s.counters->flights;
	size_t had = buf_len(&c->out);
	enum session_verdict verdict = session_from_client(&c->s, m);

	counts[COUNT_NEXT + verdict]++;
	if (c->s.counters->flights != flights)
		c->flown = c->n_messages;
	if (c->s.refused_now)
		c->refused_at = c->n_messages;
	c->refusing |= c->s.refused_now;
	c->s.refused_now = false;
	client_note_failure(w, c, had, c->n_messages);
	if (c->s.task != task)
		count_task(&c->s);
	if (verdict != SESSION_MORE && w->trace) {
		static const char *const words[] = { "goes on", "streams", "needs a server", "is held", "", "is dropped", "waits for databases", "is the end", "is refused" };

		world_trace(w, "client %zu, message %s: ", client_no(w, c), words[verdict]);
		if (m->have == m->len)
			words_said(w->trace, m->type, m->body, m->len);
		else
			world_trace(w, "%c…\n", m->type);
	}
	if (c->conn && session_caught_up(&c->s))
		speakers_caught_up(&c->conn->speakers);
	if (c->conn && session_said_notify(&c->s))
		speakers_said(&c->conn->speakers, w->now_us);
	listening_said(w, c);
	switch (verdict) {
	case SESSION_NEXT:
		if (m->have < m->len)
			world_fail(w, "client %zu: a message that is there in part was taken as whole", client_no(w, c));
		client_taken(c, m, false);
		return true;
	case SESSION_STREAM:
		client_taken(c, m, false);
		return true;
	case SESSION_DROP:
		client_taken(c, m, true);
		if (session_misplaced(&c->s))
			client_give_up(w, c);
		return true;
	case SESSION_LINK:
		return hold_begin(w, c) || request_backend(w, c);
	case SESSION_VACATE:
		session_vacated(&c->s);
		return true;
	case SESSION_MORE:
		if (m->have == m->len)
			world_fail(w, "client %zu: more of a whole message was asked for", client_no(w, c));
		*partial = true;
		return false;
	case SESSION_HOLD:
		if (c->s.listens && c->s.listens->waiting)
			return false;
		if (!c->conn)
			world_fail(w, "client %zu: held without a backend that could end it", client_no(w, c));
		return false;
	case SESSION_END:
		client_gone(w, c);
		return false;
	case SESSION_REFUSE:
		world_fail(w, "client %zu was refused: %s", client_no(w, c), c->s.refusal);
		return false;
	}
	return false;
}

static void stream_rest(struct client *c)
{
	size_t n = buf_len(&c->in) < c->left ? buf_len(&c->in) : c->left;

	if (!c->drop && c->conn)
		buf_add(&c->conn->out, buf_head(&c->in), n);
	buf_consume(&c->in, n);
	c->left -= n;
}

/* What goes on without a thought, where there is some; by turns, so that all else sees it too. */
static bool plain_messages(struct world *w, struct client *c)
{
	size_t n = world_chance(w, 2) ? session_plain_messages(&c->s, buf_head(&c->in), buf_len(&c->in), 1u << 30) : 0;
	struct client_message m;

	counts[COUNT_PLAIN_SAID] += n > 0;
	for (size_t end = buf_len(&c->in) - n; buf_len(&c->in) > end;) {
		if (!client_message_at(w, c, &m) || m.have < m.len) {
			world_fail(w, "client %zu: half a message was sent on", client_no(w, c));
			return false;
		}
		world_trace(w, "client %zu, message %c goes on in a run\n", client_no(w, c), m.type);
		client_taken(c, &m, false);
	}
	return n;
}

void client_pump(struct world *w, struct client *c)
{
	struct client_message m;
	bool partial = false;

	c->runnable = false;
	if (c->state == CLIENT_LOGIN) {
		request_backend(w, c);
		return;
	}
	while (c->state == CLIENT_ACTIVE && buf_len(&c->in) && !w->result->failed) {
		if (c->left) {
			stream_rest(c);
			continue;
		}
		if (plain_messages(w, c))
			continue;
		if (!client_message_at(w, c, &m) || !one_message(w, c, &m, &partial))
			break;
	}
	if (c->state == CLIENT_ACTIVE && !partial && session_releasable(&c->s))
		client_give_up(w, c);
}
