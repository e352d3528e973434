/* A connection that is logged in: messages for whoever is linked, giving back, checks between two uses, and the end.
 * A message out of place ends the connection. */
#include "server/backend_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "parser/reader.h"
#include "parser/report.h"
#include "parser/wire.h"
#include "server/catalogue.h"
#include "server/client.h"
#include "server/derive.h"
#include "server/console.h"
#include "server/listening.h"
#include "server/log.h"
#include "server/protocol.h"
#include "server/vacate.h"

static const struct stream_owner_ops conn_ops;

void conn_log(const struct backend_conn *b, int level, const char *fmt, ...)
{
	char prefix[400];
	va_list ap;

	if (!log_wants((enum log_level)level))
		return;
	snprintf(prefix, sizeof prefix, "S-%p: %s/%s@%s:%d ", (const void *)b, b->pool->database->name, b->pool->user->name,
		 *b->address ? b->address : "?", b->port);
	va_start(ap, fmt);
	log_vline((enum log_level)level, prefix, fmt, ap);
	va_end(ap);
}

void conn_enter_state(struct backend_conn *b, enum conn_state state)
{
	if (log_wants(LOG_LEVEL_NOISE))
		conn_log(b, LOG_LEVEL_NOISE, "state %d -> %d", b->state, state);
	b->state = state;
}

const char *conn_state_name(const struct backend_conn *b)
{
	if (b->cancels)
		return "being_canceled";
	switch (b->state) {
	case CONN_CHECK:
	case CONN_RESET:
		return "tested";
	case CONN_READY:
	case CONN_LOOKUP:
	case CONN_CATALOGUE:
		if (b->pool->listening)
			return "listening";
		return b->node.place == PLACE_ACTIVE ? "active" : "idle";
	default:
		return "new";
	}
}

/* ---- closing ---- */

void conn_free(struct backend_conn *b)
{
	auth_server_free(b->auth);
	settings_release(b->learning);
	settings_release(b->greeting);
	backend_release(&b->facts);
	free(b);
}

void conn_end(struct backend_conn *b)
{
	struct worker *w = b->worker;

	TAILQ_REMOVE(b->parting ? &w->parting : &w->backends, b, in);
	TAILQ_INSERT_TAIL(&w->dead_backends, b, in);
	b->parting = false;
	worker_clean(w, &b->stream);
	stream_release(&b->stream);
	pool_gone(&b->node);
}

/* PostgreSQL ends a session that is idle at once, one that runs a statement after it, and closes its socket last of all. */
static void part(struct backend_conn *b)
{
	struct worker *w = b->worker;

	TAILQ_REMOVE(&w->backends, b, in);
	TAILQ_INSERT_TAIL(&w->parting, b, in);
	b->parting = true;
	b->request_us = w->now_us;
	pool_closing(&b->node, w->now_us);
	worker_clean(w, &b->stream);
	buf_reset(&b->stream.in);
	stream_resume(&b->stream);
	stream_flush_now(&b->stream); /* what a client sent before it left runs, as it would directly */
	if (!buf_len(&b->stream.out)) {
		msg_add(stream_out(&b->stream), 'X', NULL, 0);
		stream_flush_now(&b->stream);
	}
	buf_reset(&b->stream.out);
	shutdown(b->stream.fd, SHUT_WR);
}

void conn_close(struct backend_conn *b, const char *reason)
{
	struct worker *w = b->worker;
	struct client *c = b->client;
	bool checking = b->state == CONN_CHECK, reading = b->state == CONN_CATALOGUE;

	if (b->state == CONN_DEAD)
		return;
	if (w->config->log_disconnections && b->have_stream)
		conn_log(b, LOG_LEVEL_LOG, "closing because: %s (age=%llds)", reason,
			 (long long)((w->now_us - b->node.opened_us) / 1000000));
	conn_enter_state(b, CONN_DEAD);
	if (b->resolving) {
		struct evdns_getaddrinfo_request *r = b->resolving;

		b->resolving = NULL;
		evdns_getaddrinfo_cancel(r);
	}
	derive_abandon(b->derive);
	b->derive = NULL;
	if (b->cancels)
		cancel_target_gone(b);
	if (b->have_stream && b->pid && !b->unheard)
		part(b);
	if (!b->parting || w->shutdown == SHUTDOWN_NOW)
		conn_end(b);
	b->have_stream = false;
	b->client = NULL;
	if (b->pool->listening)
		listening_lost(b->pool->listening, b, reason);
	if (b->pool->protocol)
		protocol_lost(b, reason);
	if (c && checking) { /* nothing of the client's was there yet: it gets another */
		c->backend = NULL;
		client_schedule(c);
	} else if (c) {
		client_backend_lost(c, b->told_fatal);
	}
	if (reading)
		catalogue_lost(b);
	if (b->own)
		own_failed(b, reason, NULL, 0);
	if (b->lookup) {
		struct lookup *l = b->lookup;

		b->lookup = NULL;
		lookup_lost(l);
	}
}

/* ---- giving back ---- */

static bool too_old(const struct backend_conn *b)
{
	const struct config_database *d = b->pool->database->conf;
	int64_t lifetime = d && d->server_lifetime_us > 0 ? d->server_lifetime_us : b->worker->config->server_lifetime_us;

	return b->worker->now_us - b->node.opened_us >= lifetime;
}

void conn_give_back(struct backend_conn *b)
{
	conn_enter_state(b, CONN_READY);
	if (b->close_needed || too_old(b) || vacate_holds(b->worker, b->pool->database)) {
		conn_close(b, b->close_needed ? "close_needed" : too_old(b) ? "server_lifetime" : "its database is to be left");
	} else if (b->cancels) {
		/* A cancel request is on its way to this process: whoever had it next would be hit. */
		b->free_after_cancel = true;
		return;
	} else if (!pool_unpin(&b->node, b->worker->now_us)) {
		conn_close(b, "pinned no more, and pool_size is used up");
	} else {
		b->used_us = b->worker->now_us;
		pool_give_back(&b->node, b->worker->now_us);
	}
	pools_serve(b->pool);
}

void conn_send_query(struct backend_conn *b, const char *sql)
{
	struct buf *out = stream_out(&b->stream);
	size_t mark = msg_begin(out, 'Q');

	buf_str(out, sql);
	msg_end(out, mark);
	worker_dirty(b->worker, &b->stream);
}

#define IDLE_TIMEOUT "idle_session_timeout"

/* Asked once of each set of settings that it comes back with. */
static bool keeps_idle_timeout(struct backend_conn *b)
{
	if (b->no_idle_timeout == settings_id(b->facts.applied))
		return false;
	if (settings_get(b->facts.applied, IDLE_TIMEOUT))
		return true;
	b->no_idle_timeout = settings_id(b->facts.applied);
	return false;
}

void conn_release(struct backend_conn *b, bool clean)
{
	const struct config *c = b->worker->config;

	b->client = NULL;
	b->lookup = NULL;
	if (b->state == CONN_DEAD)
		return;
	if (!clean || b->facts.spoilt || b->stream_left || b->single) {
		conn_close(b, b->single ? "its client is gone" : "unclean server");
		pools_serve(b->pool);
		return;
	}
	if (keeps_idle_timeout(b)) { /* it would be killed while it waits for the next client */
		settings_set(&b->facts.applied, IDLE_TIMEOUT, NULL);
		settings_set(&b->facts.have, IDLE_TIMEOUT, NULL);
		conn_enter_state(b, CONN_RESET);
		b->request_us = b->worker->now_us;
		conn_send_query(b, "RESET " IDLE_TIMEOUT);
		b->facts.unnamed = 0;
		return;
	}
	if ((b->pool->mode == POOL_SESSION || c->server_reset_query_always) && *c->server_reset_query) {
		conn_enter_state(b, CONN_RESET);
		b->request_us = b->worker->now_us;
		conn_send_query(b, c->server_reset_query);
		backend_wiped(&b->facts);
		return;
	}
	conn_give_back(b);
}

bool conn_fresh_enough(const struct backend_conn *b)
{
	const struct config *c = b->worker->config;

	/* Equal, for a delay of 0: it has answered in this very turn. */
	return !*c->server_check_query || b->worker->now_us - b->used_us <= c->server_check_delay_us;
}

void conn_check(struct backend_conn *b)
{
	const char *query = b->worker->config->server_check_query;

	conn_enter_state(b, CONN_CHECK);
	b->request_us = b->worker->now_us;
	conn_send_query(b, strcmp(query, "<empty>") ? query : "");
}

static void on_closed(void *owner, const char *reason)
{
	struct backend_conn *b = owner;
	struct worker *w = b->worker;
	struct db_pool *p = b->pool;
	char why[200];

	worker_turn(w);
	snprintf(why, sizeof why, "%s", b->stream.eof ? "server conn crashed?" : reason);
	b->unheard = true;
	if (b->parting)
		conn_end(b);
	else if (b->state == CONN_TLS && !b->stream.eof)
		conn_refused(b, why);
	else if (b->state < CONN_READY)
		conn_failed(b, why, NULL, 0);
	else
		conn_close(b, why);
	pools_serve(p);
	worker_turn_end(w);
}

/* ---- our own statements between two clients: check, reset ---- */

void conn_parameter(struct backend_conn *b, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	const char *name = reader_str(&r, NULL), *value = reader_str(&r, NULL);

	if (value)
		backend_reported(&b->facts, name, value);
}

static void on_own_message(struct backend_conn *b, char type, const uint8_t *body, size_t len)
{
	const char *value;
	struct client *c = b->client;

	switch (type) {
	case 'S':
		conn_parameter(b, body, len);
		return;
	case 'E':
		value = report_field(body, len, 'M');
		conn_log(b, LOG_LEVEL_WARNING, "%s failed: %s", b->state == CONN_RESET ? "server_reset_query" : "server_check_query",
			 value ? value : "?");
		conn_close(b, "test query failed");
		pools_serve(b->pool);
		return;
	case 'Z':
		b->facts.status = len ? (char)body[0] : 'I';
		if (b->state == CONN_RESET) {
			conn_give_back(b);
			return;
		}
		conn_enter_state(b, CONN_READY);
		b->used_us = b->worker->now_us;
		if (c) {
			b->client = NULL;
			client_linked(c, b);
		} else {
			conn_give_back(b);
		}
		return;
	default:
		return;
	}
}

/* Between two uses: what a server says of its own accord. */
static void on_idle_message(struct backend_conn *b, char type, const uint8_t *body, size_t len)
{
	const char *value;

	switch (type) {
	case 'S': /* the server's files were read again: who logs in is told by it */
		conn_parameter(b, body, len);
		pools_welcome_clear(b->pool);
		return;
	case 'N':
	case 'A':
		return;
	case 'E':
		value = report_field(body, len, 'M');
		conn_close(b, value ? value : "server error while idle");
		pools_serve(b->pool);
		return;
	default:
		conn_close(b, "unexpected message while idle");
		pools_serve(b->pool);
	}
}

/* ---- messages for a client ---- */

struct forward {
	struct buf *in;
	struct buf *out;
	size_t run; /* bytes at the head of `in` that go to the client */
};

static void forward_run(struct forward *f)
{
	if (!f->run)
		return;
	buf_add(f->out, buf_head(f->in), f->run);
	buf_consume(f->in, f->run);
	f->run = 0;
}

static struct backend_conn *by_pid(const struct backend_conn *to, uint32_t pid)
{
	struct backend_conn *b;

	TAILQ_FOREACH (b, &to->worker->backends, in)
		if (b->pid == pid && b->peer_len == to->peer_len && !memcmp(&b->peer, &to->peer, b->peer_len))
			return b;
	return NULL;
}

void conn_marker_heard(const struct backend_conn *to, uint32_t pid, uint64_t serial)
{
	struct backend_conn *b = by_pid(to, pid);

	if (b)
		speakers_marked(&b->speakers, serial);
}

uint32_t conn_known_as(const struct backend_conn *to, uint32_t pid)
{
	struct backend_conn *b = by_pid(to, pid);
	uint32_t known_as = b ? speakers_heard(&b->speakers, b->worker->now_us) : 0;

	return known_as ? known_as : pid;
}

void conn_all_caught_up(const struct backend_conn *to)
{
	struct backend_conn *b;

	TAILQ_FOREACH (b, &to->worker->backends, in)
		if (b->peer_len == to->peer_len && !memcmp(&b->peer, &to->peer, b->peer_len))
			speakers_caught_up(&b->speakers);
}

/* A notification tells who sent it: the client, as others know it, rather than the backend that spoke for it. A backend that
 * listens itself began to for the client that has it now, behind all that it has notified for others. */
static void name_sender(const struct backend_conn *to, const struct client_message *m)
{
	uint8_t *body = (uint8_t *)m->body; /* in the stream's own buffer */
	uint32_t known_as;

	if (m->type != 'A' || m->have < 4)
		return;
	known_as = be32(body) == to->pid ? to->client->cancel_pid : conn_known_as(to, be32(body));
	for (int i = 0; i < 4; i++)
		body[i] = (uint8_t)(known_as >> (24 - 8 * i));
}

/* Where texts are not looked through for it, since nobody shares what listens: one may listen by itself. */
static void note_notify(struct backend_conn *b, const struct client_message *m)
{
	const struct channels *shared = b->client->session.channels;

	if (m->type == 'C' && m->have == 7 && !memcmp(m->body, "NOTIFY", 7) && !(shared && channels_in_use(shared)))
		speakers_said(&b->speakers, b->worker->now_us);
}

static bool is_fatal(const struct client_message *m)
{
	const char *severity = m->type == 'E' && m->have == m->len ? report_field(m->body, m->len, 'V') : NULL;

	return severity && (!strcmp(severity, "FATAL") || !strcmp(severity, "PANIC"));
}

/* One message of a linked backend. Returns false when the pump has to stop. */
static bool linked_message(struct backend_conn *b, struct forward *f, const struct client_message *m, uint32_t *events)
{
	struct client *c = b->client;
	enum reply_verdict verdict;

	if (session_plain_row(&c->session, m->type)) {
		verdict = REPLY_FORWARD;
	} else {
		struct client_message here = *m;
		const struct owed *head = ledger_head(&b->facts.owed);
		bool own = head && head->ours && (c->session.task || head->flight);

		if (f->run && m->type != 'T' && m->type != 'D') { /* the session may write behind what is being forwarded */
			forward_run(f);
			here.body = buf_head(f->in) + WIRE_HEAD;
		}
		verdict = session_from_backend(&c->session, &here, events);
		if (verdict == REPLY_FORWARD)
			note_notify(b, &here);
		if (is_fatal(&here)) {
			b->told_fatal = true;
			if (own && verdict == REPLY_SWALLOW) { /* said to a statement of ours, and the client has yet to hear it */
				msg_add(f->out, 'E', here.body, here.len);
				conn_close(b, "server ended while the client's settings were seen to");
				return false;
			}
		}
	}
	switch (verdict) {
	case REPLY_WHOLE:
		return false;
	case REPLY_BROKEN:
		conn_close(b, "server broke the protocol");
		return false;
	case REPLY_FORWARD:
		f->run += WIRE_HEAD + m->have;
		b->stream_left = m->len - m->have;
		b->stream_drop = false;
		break;
	case REPLY_SWALLOW:
		forward_run(f);
		buf_consume(f->in, WIRE_HEAD + m->have);
		b->stream_left = m->len - m->have;
		b->stream_drop = true;
		break;
	}
	return true;
}

static void stream_rest(struct backend_conn *b, struct forward *f)
{
	size_t n = buf_len(f->in) < b->stream_left ? buf_len(f->in) : b->stream_left;

	if (b->stream_drop)
		buf_consume(f->in, n);
	else
		f->run += n;
	b->stream_left -= n;
}

/* A report behind the last answer is the server's goodbye: it is nobody's, and who comes next gets another backend. */
static bool says_goodbye(const struct forward *f)
{
	return buf_len(f->in) > f->run && buf_head(f->in)[f->run] == 'E';
}

/* Behind a message: what pgporter answers itself follows. */
static void answer_invented(struct backend_conn *b, struct forward *f)
{
	if (!b->facts.owed.count || ledger_head(&b->facts.owed)->kind != OWED_INVENTED)
		return;
	forward_run(f);
	session_reply_done(&b->client->session);
}

static void linked_pump(struct backend_conn *b)
{
	struct client *c = b->client;
	struct forward f = { .in = &b->stream.in, .out = stream_out(&c->stream) };
	uint32_t events = 0, body_max = (uint32_t)b->worker->config->max_packet_size;

	while (b->state == CONN_READY && b->client == c && buf_len(f.in) > f.run && c->state != CLIENT_DEAD) {
		struct client_message m;
		struct wire_head head;
		enum wire_result result;
		size_t plain;

		if (b->stream_left) {
			forward_run(&f);
			stream_rest(b, &f);
			if (!b->stream_left) {
				forward_run(&f);
				session_reply_done(&c->session);
			}
			continue;
		}
		plain = session_plain_replies(&c->session, buf_head(f.in) + f.run, buf_len(f.in) - f.run, body_max);
		if (plain) {
			f.run += plain;
			answer_invented(b, &f);
			continue;
		}
		result = wire_head(buf_head(f.in) + f.run, buf_len(f.in) - f.run, body_max, &head);
		if (result == WIRE_MORE)
			break;
		if (result == WIRE_BAD) {
			conn_close(b, "server sent a malformed message");
			break;
		}
		m = (struct client_message){ .type = head.type, .body = buf_head(f.in) + f.run + WIRE_HEAD, .len = head.body_len };
		m.have = buf_len(f.in) - f.run - WIRE_HEAD;
		if (m.have > m.len)
			m.have = m.len;
		name_sender(b, &m);
		if (!linked_message(b, &f, &m, &events))
			break;
		if (!b->stream_left)
			answer_invented(b, &f);
		if (events & EVENT_BROKEN) /* it hears why, and no more replies */
			break;
		if (events && !b->stream_left && session_releasable(&c->session)) { /* the rest is not this client's */
			if (says_goodbye(&f))
				b->facts.spoilt = true;
			break;
		}
	}
	if (b->state != CONN_DEAD)
		forward_run(&f);
	if (b->told_fatal && b->state != CONN_DEAD) /* who was told that it is over shall not go on elsewhere */
		conn_close(b, "server ended the session");
	if (c->state == CLIENT_DEAD)
		return;
	worker_dirty(b->worker, &c->stream);
	if (b->state != CONN_DEAD && buf_len(&b->stream.out))
		worker_dirty(b->worker, &b->stream);
	if (b->state != CONN_DEAD && buf_len(&c->stream.out) > STREAM_HIGH) {
		stream_flush(&c->stream);
		if (stream_full(&c->stream))
			stream_pause(&b->stream);
	}
	client_events(c, events);
}

static void unlinked_message(struct backend_conn *b, char type, const uint8_t *body, size_t len)
{
	switch (b->state) {
	case CONN_LOGIN:
	case CONN_LEARN:
	case CONN_GREETING:
	case CONN_GREETED:
		conn_login_message(b, type, body, len);
		return;
	case CONN_CHECK:
	case CONN_RESET:
		on_own_message(b, type, body, len);
		return;
	case CONN_LOOKUP:
		lookup_message(b->lookup, type, body, len);
		return;
	case CONN_CATALOGUE:
		catalogue_message(b, type, body, len);
		return;
	default:
		if (b->pool->listening)
			listening_message(b->pool->listening, type, body, len);
		else
			on_idle_message(b, type, body, len);
	}
}

enum { UNLINKED_MAX = 1 << 20 };

static bool is_linked(const struct backend_conn *b)
{
	return b->client && b->state == CONN_READY;
}

void conn_pump(struct backend_conn *b)
{
	while (b->state != CONN_DEAD && buf_len(&b->stream.in)) {
		struct buf *in = &b->stream.in;
		struct wire_head head;
		enum wire_result result;
		uint8_t *body;

		if (is_linked(b)) {
			size_t had = buf_len(in);

			linked_pump(b);
			if (buf_len(in) == had)
				return;
			continue;
		}
		if (b->state == CONN_TLS_ASKED) {
			conn_tls_answer(b);
			return;
		}
		result = wire_head(buf_head(in), buf_len(in), UNLINKED_MAX, &head);
		if (result == WIRE_MORE || (result == WIRE_OK && buf_len(in) < WIRE_HEAD + head.body_len))
			return;
		if (result == WIRE_BAD) {
			if (b->state < CONN_READY)
				conn_failed(b, "server sent a malformed message", NULL, 0);
			else
				conn_close(b, "server sent a malformed message");
			return;
		}
		/* What follows may write, link or close; the message is taken out first. */
		body = malloc(head.body_len + 1);
		if (!body)
			abort();
		memcpy(body, buf_head(in) + WIRE_HEAD, head.body_len);
		body[head.body_len] = 0;
		buf_consume(in, WIRE_HEAD + head.body_len);
		unlinked_message(b, head.type, body, head.body_len);
		free(body);
	}
}

static void on_readable(void *owner)
{
	struct backend_conn *b = owner;
	struct worker *w = b->worker;

	worker_turn(w);
	if (b->parting)
		buf_reset(&b->stream.in);
	else
		conn_pump(b);
	worker_turn_end(w);
}

static void on_drained(void *owner)
{
	struct backend_conn *b = owner;
	struct worker *w = b->worker;

	worker_turn(w);
	if (b->client) {
		stream_resume(&b->client->stream);
		client_schedule(b->client);
	}
	worker_turn_end(w);
}

static const struct stream_owner_ops conn_ops = {
	.readable = on_readable,
	.drained = on_drained,
	.ready = conn_connected,
	.closed = on_closed,
};

void conn_stream_init(struct backend_conn *b, int fd)
{
	stream_init(&b->stream, loops_next(&b->worker->loops, SHARE_SERVERS), fd, true, &conn_ops, b);
}
