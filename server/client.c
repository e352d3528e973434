/* A client's messages: from its stream through its session to the backend it is linked to, and the link itself. */
#include "server/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <openssl/crypto.h>

#include "parser/reader.h"
#include "parser/wire.h"
#include "server/backend_conn.h"
#include "server/catalogue.h"
#include "server/console.h"
#include "server/defaults.h"
#include "server/derive.h"
#include "server/listening.h"
#include "server/log.h"
#include "server/roles.h"
#include "server/socket.h"
#include "server/vacate.h"

static const struct stream_owner_ops client_ops;

enum { CLIENT_IN_MAX = 1 << 17 }; /* bytes a client may send ahead while it waits */

void client_log(const struct client *c, int level, const char *fmt, ...)
{
	char prefix[400], address[SOCKET_TEXT];
	va_list ap;

	if (!log_wants((enum log_level)level))
		return;
	snprintf(prefix, sizeof prefix, "C-%p: %s/%s@%s:%d ", (const void *)c, c->database_name ? c->database_name : "(nodb)",
		 c->user_name ? c->user_name : "(nouser)", socket_end_text(&c->there, address), c->there.port);
	va_start(ap, fmt);
	log_vline((enum log_level)level, prefix, fmt, ap);
	va_end(ap);
}

static void enter_state(struct client *c, enum client_state state)
{
	if (log_wants(LOG_LEVEL_NOISE))
		client_log(c, LOG_LEVEL_NOISE, "state %d -> %d", c->state, state);
	c->state = state;
}

const char *client_state_name(const struct client *c)
{
	if (c->line.waiter.pool)
		return "waiting";
	if (c->state == CLIENT_ACTIVE && c->pool)
		return c->backend ? "active" : "idle";
	return c->state == CLIENT_CONSOLE ? "active" : "login";
}

/* ---- cancel keys ---- */

static void key_add(struct worker *w, struct client *c)
{
	struct client **slot;

	worker_random(&c->cancel_pid, sizeof c->cancel_pid);
	c->cancel_pid &= 0x7fffffff;
	worker_random(c->cancel_key, sizeof c->cancel_key);
	slot = &w->by_key[c->cancel_pid & (w->n_by_key - 1)];
	c->next_by_key = *slot;
	*slot = c;
}

static void key_remove(struct worker *w, struct client *c)
{
	struct client **at = &w->by_key[c->cancel_pid & (w->n_by_key - 1)];

	while (*at && *at != c)
		at = &(*at)->next_by_key;
	if (*at)
		*at = c->next_by_key;
}

static size_t key_len(const struct client *c)
{
	return c->minor >= 2 ? CANCEL_KEY_LONG : CANCEL_KEY_SHORT;
}

void client_tell_key(const struct client *c, struct buf *out)
{
	size_t mark = msg_begin(out, 'K');

	buf_u32(out, c->cancel_pid);
	buf_add(out, c->cancel_key, key_len(c));
	msg_end(out, mark);
}

struct client *client_by_key(struct worker *w, uint32_t pid, const uint8_t *key, size_t len)
{
	struct client *c, *found = NULL;

	for (c = w->by_key[pid & (w->n_by_key - 1)]; c; c = c->next_by_key)
		if (c->cancel_pid == pid && key_len(c) == len && !CRYPTO_memcmp(c->cancel_key, key, len))
			found = c;
	return found;
}

/* ---- beginning and end ---- */

void client_new(struct worker *w, int fd, bool unix_socket, const struct socket_end *there)
{
	struct client *c = calloc(1, sizeof *c);

	if (!c) {
		close(fd);
		return;
	}
	c->worker = w;
	c->id = ++w->last_client_id;
	c->unix_socket = unix_socket;
	c->there = *there;
	c->connected_us = c->request_us = c->last_us = w->now_us;
	c->line.client = c;
	stream_init(&c->stream, loops_next(&w->loops, SHARE_CLIENTS), fd, false, &client_ops, c);
	TAILQ_INSERT_TAIL(&w->clients, c, in);
	key_add(w, c);
}

void client_free(struct client *c)
{
	if (c->have_session)
		session_release(&c->session);
	auth_client_free(c->auth);
	buf_release(&c->params);
	rules_drop(c->worker, c->rules);
	free(c->pin_since_us);
	free(c->user_name);
	free(c->database_name);
	free(c);
}

static void uncount(struct client *c)
{
	if (!c->counted)
		return;
	c->counted = false;
	c->worker->n_clients--;
	if (c->database)
		c->database->clients.count--;
	c->user->clients.count--;
}

static void count_bytes(struct client *c)
{
	uint64_t sent = stream_written(&c->stream);

	if (!c->pool)
		return;
	c->pool->traffic.received += c->stream.read_bytes - c->counted_received;
	c->pool->traffic.sent += sent - c->counted_sent;
	c->counted_received = c->stream.read_bytes;
	c->counted_sent = sent;
}

void client_give_up_backend(struct client *c)
{
	struct backend_conn *b = c->backend;
	bool clean;

	if (!b)
		return;
	c->backend = NULL;
	if (b->state == CONN_CHECK) { /* not linked yet */
		b->client = NULL;
		return;
	}
	if (session_mark_unsent(&c->session))
		speakers_unmarked(&b->speakers);
	speakers_leave(&b->speakers, session_listens(&c->session), c->worker->now_us); /* its ReadyForQuery has waited for them */
	clean = session_unlink(&c->session);
	conn_release(b, clean && !c->stream_left);
}

void client_close(struct client *c, const char *reason)
{
	struct worker *w = c->worker;

	if (c->state == CLIENT_DEAD)
		return;
	if (w->config->log_disconnections && c->state != CLIENT_CANCEL)
		client_log(c, LOG_LEVEL_LOG, "closing because: %s (age=%llds)", reason,
			   (long long)((w->now_us - c->connected_us) / 1000000));
	if (c->state == CLIENT_LOOKUP)
		lookup_abandon(c);
	if (c->state == CLIENT_CANCEL)
		cancel_abandon(c);
	derive_abandon(c->derive);
	c->derive = NULL;
	if (c->state == CLIENT_CONSOLE)
		console_gone(c);
	enter_state(c, CLIENT_DEAD);
	client_pins_gone(c);
	if (c->have_session)
		session_listen_end(&c->session);
	pool_unwait(&c->line.waiter);
	vacate_end(c);
	own_abandon(c);
	client_give_up_backend(c);
	key_remove(w, c);
	worker_clean(w, &c->stream);
	stream_flush_now(&c->stream);
	count_bytes(c);
	stream_release(&c->stream);
	uncount(c);
	if (c->runnable)
		TAILQ_REMOVE(&w->runnable, c, run);
	TAILQ_REMOVE(&w->clients, c, in);
	TAILQ_INSERT_TAIL(&w->dead_clients, c, in);
	if (c->pool) {
		c->pool->n_clients--;
		pools_serve(c->pool);
	}
}

/* The rest of a message is owed to it: whatever else it were told, it would take for that. */
static bool in_mid_message(const struct client *c)
{
	return c->backend && c->backend->stream_left && !c->backend->stream_drop;
}

void client_fail(struct client *c, const char *sqlstate, const char *message, const char *detail, const char *hint)
{
	if (c->state == CLIENT_DEAD)
		return;
	if (c->worker->config->log_pooler_errors)
		client_log(c, LOG_LEVEL_WARNING, "pooler error: %s", message);
	if (!in_mid_message(c))
		msg_report(stream_out(&c->stream), 'E', "FATAL", sqlstate, message, detail, hint);
	client_close(c, message);
}

void client_backend_lost(struct client *c, bool told)
{
	bool cut = in_mid_message(c);

	c->backend = NULL;
	if (c->session.backend)
		session_unlink(&c->session);
	if (c->state == CLIENT_DEAD)
		return;
	/* Forwarded replies are in the stream already; what PostgreSQL said last came with them. */
	if (told || cut)
		client_close(c, cut ? "server closed the connection in the middle of a message" : "server closed the connection");
	else
		client_fail(c, "08006", "server closed the connection unexpectedly",
			    "The server connection this session was linked to is gone, and what it held with it.", NULL);
}

void client_rules(struct client *c)
{
	struct worker *w = c->worker;

	struct kept_rules *was = c->rules;

	c->rules = rules_keep(w, c->database, c->user);
	session_rules_set(&c->session, &c->rules->rules, &c->pool->pins, !c->session.through && !rules_ignore_all(&c->rules->rules));
	rules_drop(w, was);
}

void client_login_failed(struct client *c)
{
	struct db_pool *p = c->pool;
	struct buf *out = stream_out(&c->stream);
	char text[300];

	if (buf_len(&p->last_error)) { /* PostgreSQL's own words */
		msg_add(out, 'E', buf_head(&p->last_error), buf_len(&p->last_error));
		client_close(c, p->last_reason);
		return;
	}
	snprintf(text, sizeof text, "server login has been failing, cached error: %s (server_login_retry)", p->last_reason);
	client_fail(c, "08P01", text, NULL, NULL);
}

/* ---- the link ---- */

/* Kinds of state that this client may find left on a backend. */
static uint32_t left_by(const struct client *c)
{
	return c->session.carry_next || c->session.through ? c->rules->rules.ignore : ~0u;
}

void client_linked(struct client *c, struct backend_conn *b)
{
	struct worker *w = c->worker;

	c->backend = b;
	b->client = c;
	if (b->facts.left & ~left_by(c)) {
		/* What others have left there by their rules is not for this client to meet. */
		c->backend = NULL;
		b->client = NULL;
		conn_close(b, "holds state that its clients' rules ignore");
		client_schedule(c);
		return;
	}
	if (!conn_fresh_enough(b)) {
		conn_check(b);
		return;
	}
	b->request_us = w->now_us;
	c->pool->traffic.assignments++;
	c->pool->traffic.wait_time_us += (uint64_t)(w->now_us - c->request_us);
	c->xact_us = c->query_us = w->now_us;
	c->query_notified = false;
	session_link(&c->session, &b->facts);
	if (speakers_enter(&b->speakers, c->cancel_pid, c->session.serial, session_listens(&c->session), session_can_mark(&c->session), w->now_us))
		session_mark_first(&c->session);
	if (c->state == CLIENT_WELCOME) {
		if (c->pool->greeting && !b->single)
			session_base_under(&c->session, c->pool->greeting);
		if (session_login_begin(&c->session))
			client_welcome(c, b->facts.reported);
		else
			worker_dirty(w, &b->stream);
		return;
	}
	if (!c->pumping)
		client_schedule(c);
}

/* True if the client is linked now. Else it is in line, and will be scheduled. */
static bool request_backend(struct client *c)
{
	const struct settings *knows = NULL;
	struct pool_backend *node;
	char text[100];

	if (c->line.waiter.pool || c->backend)
		return false;
	if (c->login_gone) {
		snprintf(text, sizeof text, "role \"%.63s\" does not exist", c->pool->user->name);
		client_fail(c, "28000", text, "It was dropped or renamed while this session was open.", NULL);
		return false;
	}
	c->request_us = c->worker->now_us;
	if (c->own_wanted) {
		own_request(c);
		return c->backend;
	}
	/* At login nothing is read. */
	if (c->state != CLIENT_WELCOME)
		knows = session_knows(&c->session, buf_head(&c->stream.in), buf_len(&c->stream.in));
	node = pool_take(&c->pool->pool, c->session.want, knows, c->worker->now_us);
	if (node) {
		client_linked(c, conn_of(node));
		return c->backend && c->session.backend;
	}
	if (c->worker->shutdown == SHUTDOWN_WAIT_SERVERS) {
		client_fail(c, "57P01", "server shutting down", NULL, NULL);
		return false;
	}
	pool_wait(&c->pool->pool, &c->line.waiter, c->session.want, knows, c->worker->now_us);
	pools_serve(c->pool);
	return c->backend && c->session.backend; /* a pump that goes on is not scheduled */
}

void client_want_backend(struct client *c)
{
	request_backend(c);
}

void client_schedule(struct client *c)
{
	if (c->runnable || c->state == CLIENT_DEAD)
		return;
	c->runnable = true;
	TAILQ_INSERT_TAIL(&c->worker->runnable, c, run);
}

static void query_ended(struct client *c)
{
	struct worker *w = c->worker;
	struct backend_conn *b = c->backend;

	if (c->busy)
		c->pool->traffic.query_time_us += (uint64_t)(w->now_us - c->query_us);
	c->busy = false;
	c->idle_us = c->query_us = w->now_us;
	if (!b || b->facts.status == 'I')
		vacate_end(c);
	/* Session pooling would keep a backend that is to be closed for as long as its client stays. */
	if (b && b->close_needed && b->facts.status == 'I' && c->session.through && w->config->server_fast_close) {
		client_fail(c, "57P01", "database configuration changed", NULL, NULL);
		return;
	}
	if (b && b->facts.status == 'I') {
		c->pool->traffic.xact_time_us += (uint64_t)(w->now_us - c->xact_us);
		c->xact_us = w->now_us;
	} else if (b && c->pool->mode == POOL_STATEMENT) {
		b->facts.spoilt = true;
		client_fail(c, "08P01", "transaction blocks not allowed in statement pooling mode", NULL, NULL);
	}
}

static void fail_as_refused(struct client *c)
{
	const struct rule_refusal *why = c->session.refused;

	if (why && c->session.refusal == why->message)
		client_fail(c, why->code, why->message, why->detail, why->hint);
	else
		client_fail(c, c->session.refusal_code, c->session.refusal, NULL, NULL);
}

static void reply_events(struct client *c, uint32_t events)
{
	struct backend_conn *b = c->backend;

	if (events & EVENT_READY)
		query_ended(c);
	if (c->state == CLIENT_DEAD)
		return;
	if (c->session.idle_timeout_changed)
		client_idle_timeout(c);
	if (events & EVENT_PINS)
		client_pins_changed(c);
	if (events & EVENT_DEFAULTS)
		defaults_changed(c);
	if (events & EVENT_ROLES)
		roles_gone(c);
	if (events & EVENT_CATALOGUE)
		catalogue_changed(c->database);
	if (events & EVENT_UNMARKED && b)
		speakers_unmarked(&b->speakers);
	if (events & EVENT_BROKEN) {
		if (b)
			b->facts.spoilt = true;
		fail_as_refused(c);
		return;
	}
	if (events & EVENT_LOGIN_FAILED)
		client_welcome_failed(c);
	else if (events & EVENT_LOGIN_DONE)
		client_welcome(c, b->facts.reported);
}

void client_events(struct client *c, uint32_t events)
{
	c->last_us = c->worker->now_us;
	if (events)
		reply_events(c, events);
	if (c->state == CLIENT_DEAD)
		return;
	/* Settings were applied for a message that is held: it runs now, or two clients could take turns at that for ever. */
	if (session_releasable(&c->session) && c->state == CLIENT_ACTIVE &&
	    !(events & EVENT_PROGRESS && !(events & EVENT_READY) && buf_len(&c->stream.in)))
		client_give_up_backend(c);
	if (buf_len(&c->stream.in) && events & (EVENT_PROGRESS | EVENT_READY | EVENT_LOGIN_DONE))
		client_schedule(c);
}

/* ---- messages ---- */

/* The rest of a message too long to be held goes on as it comes. */
static void stream_rest(struct client *c)
{
	struct buf *in = &c->stream.in;
	size_t n = buf_len(in) < c->stream_left ? buf_len(in) : c->stream_left;

	if (!c->stream_drop && c->backend)
		buf_add(stream_out(&c->backend->stream), buf_head(in), n);
	buf_consume(in, n);
	c->stream_left -= n;
}

static void begin_query(struct client *c, char type)
{
	if (c->busy || type == 'X' || type == 'd' || type == 'c' || type == 'f')
		return;
	c->busy = true;
	c->query_us = c->worker->now_us;
	if (!c->backend || c->backend->facts.status == 'I')
		c->xact_us = c->query_us;
}

static void log_refusal(struct client *c)
{
	c->session.refused_now = false;
	if (c->worker->config->log_pooler_errors)
		client_log(c, LOG_LEVEL_WARNING, "statement refused: %s (%s)", c->session.refused->message, c->session.refused->detail);
}

/* A BEGIN does not say what the transaction will read: where some backends won't do for this client unless it sets a custom
 * setting first, its next message decides. */
static bool hold_begin(struct client *c)
{
	struct buf *in = &c->stream.in;
	size_t taken;

	if (c->pool->mode != POOL_TRANSACTION || !c->pool->counters.custom_names || c->line.waiter.pool || c->backend || c->own_wanted ||
	    !pool_has_strange(&c->pool->pool, c->session.custom.known))
		return false;
	taken = session_hold_begin(&c->session, buf_head(in), buf_len(in));
	if (!taken)
		return false;
	buf_consume(in, taken);
	c->idle_us = c->xact_us = c->worker->now_us;
	return true;
}

/* Takes one message; false when the pump has to stop. partial: it was begun, and its backend is kept for it. */
static bool one_message(struct client *c, const struct client_message *m, bool *partial)
{
	struct buf *in = &c->stream.in;
	enum session_verdict verdict;

	if (m->type == 'Q' && c->worker->config->disable_pqexec) {
		client_fail(c, "08P01", "PQexec disallowed", NULL, NULL);
		return false;
	}
	verdict = session_from_client(&c->session, m);
	if (verdict == SESSION_LINK) {
		if (hold_begin(c))
			return true;
		if (!request_backend(c))
			return false;
		stream_out(&c->backend->stream); /* a warm block, as in active_pump() */
		verdict = session_from_client(&c->session, m);
	}
	if (c->session.refused_now)
		log_refusal(c);
	switch (verdict) {
	case SESSION_NEXT:
	case SESSION_STREAM:
		begin_query(c, m->type);
		if (c->backend && session_caught_up(&c->session))
			speakers_caught_up(&c->backend->speakers);
		if (c->backend && session_said_notify(&c->session))
			speakers_said(&c->backend->speakers, c->worker->now_us);
		c->stream_left = m->len - m->have;
		c->stream_drop = false;
		buf_consume(in, WIRE_HEAD + m->have);
		return true;
	case SESSION_DROP:
		c->stream_left = m->len - m->have;
		c->stream_drop = true;
		buf_consume(in, WIRE_HEAD + m->have);
		if (session_misplaced(&c->session)) {
			if (c->backend->have_stream)
				stream_out_unused(&c->backend->stream);
			client_give_up_backend(c);
		}
		return true;
	case SESSION_LINK: /* it is linked now */
		return false;
	case SESSION_VACATE:
		begin_query(c, m->type);
		return vacate_begin(c);
	case SESSION_MORE:
		*partial = true;
		return false;
	case SESSION_HOLD:
		if (c->session.listens && c->session.listens->waiting)
			listening_due(c->database->listening);
		return false;
	case SESSION_END:
		client_close(c, "client close request");
		return false;
	case SESSION_REFUSE:
		client_fail(c, c->session.refusal_code, c->session.refusal, NULL, NULL);
		return false;
	}
	return false;
}

static bool message_at(struct client *c, struct client_message *m)
{
	struct buf *in = &c->stream.in;
	struct wire_head head;
	enum wire_result result = wire_head(buf_head(in), buf_len(in), (uint32_t)c->worker->config->max_packet_size, &head);

	if (result == WIRE_MORE)
		return false;
	if (result == WIRE_BAD) {
		client_fail(c, "08P01", "invalid message: unknown type or length", NULL, NULL);
		return false;
	}
	*m = (struct client_message){ .type = head.type, .body = buf_head(in) + WIRE_HEAD, .len = head.body_len };
	m->have = buf_len(in) - WIRE_HEAD < m->len ? buf_len(in) - WIRE_HEAD : m->len;
	return true;
}

static bool backend_full(struct client *c)
{
	struct backend_conn *b = c->backend;

	if (!b || !b->have_stream || buf_len(&b->stream.out) <= STREAM_HIGH)
		return false;
	stream_flush(&b->stream);
	return stream_full(&b->stream);
}

/* Between the message and the client: is there room for more to wait in memory? */
static void press_back(struct client *c)
{
	bool full = buf_len(&c->stream.in) > CLIENT_IN_MAX && !c->stream_left;
	struct client_message m;

	if (full && message_at(c, &m) && m.have < m.len && !c->line.waiter.pool && c->state == CLIENT_ACTIVE && m.len > CLIENT_IN_MAX)
		full = false; /* one long message that is wanted whole */
	if (full || backend_full(c))
		stream_pause(&c->stream);
	else if (c->stream.paused)
		stream_resume(&c->stream);
}

static void active_pump(struct client *c)
{
	struct client_message m;
	uint32_t body_max = (uint32_t)c->worker->config->max_packet_size;
	bool partial = false;
	size_t run;

	if (c->welcomed && session_releasable(&c->session))
		client_give_up_backend(c);
	c->welcomed = false;
	c->pumping = true;
	while (c->state == CLIENT_ACTIVE && buf_len(&c->stream.in) && !backend_full(c)) {
		if (c->stream_left) {
			stream_rest(c);
			continue;
		}
		if (c->backend && c->backend->have_stream)
			stream_out(&c->backend->stream); /* what the session writes for it goes into a warm block */
		run = c->busy ? session_plain_messages(&c->session, buf_head(&c->stream.in), buf_len(&c->stream.in), body_max) : 0;
		if (run)
			buf_consume(&c->stream.in, run);
		else if (!message_at(c, &m) || !one_message(c, &m, &partial))
			break;
	}
	c->pumping = false;
	if (c->state != CLIENT_ACTIVE)
		return;
	if (c->backend && c->backend->have_stream) {
		if (buf_len(&c->backend->stream.out))
			worker_dirty(c->worker, &c->backend->stream);
		else
			stream_out_unused(&c->backend->stream);
	}
	if (buf_len(&c->stream.out))
		worker_dirty(c->worker, &c->stream);
	if (!partial && session_releasable(&c->session))
		client_give_up_backend(c);
	press_back(c);
	count_bytes(c);
}

static void console_pump(struct client *c)
{
	struct client_message m;

	while (c->state == CLIENT_CONSOLE && !c->wait && buf_len(&c->stream.in) && message_at(c, &m)) {
		char *body;

		if (m.len > 65536) {
			client_fail(c, "08P01", "incomplete pkt", NULL, NULL);
			return;
		}
		if (m.have < m.len)
			return;
		body = malloc(m.len + 1);
		if (!body)
			abort();
		memcpy(body, m.body, m.len);
		body[m.len] = 0;
		buf_consume(&c->stream.in, WIRE_HEAD + m.len);
		console_message(c, m.type, (const uint8_t *)body, m.len);
		free(body);
	}
}

static void overrun(struct client *c)
{
	char detail[200];

	snprintf(detail, sizeof detail, "More than %d bytes were waiting for it.", LISTEN_UNREAD_MAX);
	client_log(c, LOG_LEVEL_WARNING, "closing a listener that leaves its notifications unread");
	client_fail(c, "53400", "terminating connection because it does not read its notifications", detail,
		    "Read from the connection more often, and keep transactions of a listening session short.");
}

void client_pump(struct client *c)
{
	switch (c->state) {
	case CLIENT_STARTUP:
		client_startup(c);
		return;
	case CLIENT_PROTOCOL:
		client_protocol_known(c);
		return;
	case CLIENT_AUTH:
		client_auth_message(c);
		return;
	case CLIENT_ACTIVE:
		if (c->session.listen.overrun)
			overrun(c);
		else
			active_pump(c);
		return;
	case CLIENT_CONSOLE:
		console_pump(c);
		return;
	case CLIENT_WELCOME: /* nothing may be said before the welcome but Terminate, which can wait */
		if (!c->backend && !c->line.waiter.pool)
			request_backend(c);
		return;
	default:
		return;
	}
}

/* ---- the loop's calls ---- */

static void on_readable(void *owner)
{
	struct client *c = owner;
	struct worker *w = c->worker;

	worker_turn(w);
	c->last_us = w->now_us;
	if (c->state == CLIENT_WELCOME || c->state == CLIENT_LOOKUP || c->state == CLIENT_PROTOCOL || c->state == CLIENT_CANCEL ||
	    c->state == CLIENT_DERIVE) {
		if (buf_len(&c->stream.in) > CLIENT_IN_MAX)
			client_fail(c, "08P01", "too much data before login", NULL, NULL);
	} else {
		client_pump(c);
	}
	worker_turn_end(w);
}

static void on_drained(void *owner)
{
	struct client *c = owner;
	struct worker *w = c->worker;

	worker_turn(w);
	if (c->backend && c->backend->have_stream)
		stream_resume(&c->backend->stream);
	worker_turn_end(w);
}

static void on_ready(void *owner)
{
	struct client *c = owner;
	struct worker *w = c->worker;

	worker_turn(w);
	if (c->state == CLIENT_TLS)
		enter_state(c, CLIENT_STARTUP);
	worker_turn_end(w);
}

static void on_closed(void *owner, const char *reason)
{
	struct client *c = owner;
	struct worker *w = c->worker;

	worker_turn(w);
	/* Gone without a word in the middle of a query: nobody waits for it, and it holds what others wait for. */
	if (c->state == CLIENT_ACTIVE && c->backend && c->backend->state == CONN_READY && !session_idle(&c->session))
		cancel_query(c->backend);
	client_close(c, c->stream.eof ? "client unexpected eof" : reason);
	worker_turn_end(w);
}

static const struct stream_owner_ops client_ops = {
	.readable = on_readable,
	.drained = on_drained,
	.ready = on_ready,
	.closed = on_closed,
};
