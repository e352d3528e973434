/* Cancel requests: matched by key, passed on to the very backend that runs the client's query, and that backend kept
 * from everyone else until PostgreSQL has taken the request. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser/reader.h"
#include "parser/wire.h"
#include "server/backend_conn.h"
#include "server/client.h"
#include "server/console.h"
#include "server/log.h"
#include "server/socket.h"

struct cancel {
	TAILQ_ENTRY(cancel) in;
	struct worker *worker;
	struct client *from;	     /* who brought it; NULL when gone */
	struct backend_conn *target; /* held back until this is done */
	struct stream stream;
	uint32_t pid, secret; /* the backend's */
	char host[256];
	bool tls, tls_asked;
	int64_t since_us;
};

static void cancel_end(struct cancel *x, const char *why)
{
	struct worker *w = x->worker;
	struct backend_conn *b = x->target;
	struct client *from = x->from;

	TAILQ_REMOVE(&w->cancels, x, in);
	worker_clean(w, &x->stream);
	stream_release(&x->stream);
	if (b && b->state != CONN_DEAD && --b->cancels == 0 && b->free_after_cancel) {
		b->free_after_cancel = false;
		conn_give_back(b);
	}
	if (from) {
		x->from = NULL;
		client_close(from, why);
	}
	TAILQ_INSERT_TAIL(&w->dead_cancels, x, in);
}

void cancel_reap(struct worker *w)
{
	struct cancel *x, *next;

	for (x = TAILQ_FIRST(&w->dead_cancels); x; x = next) {
		next = TAILQ_NEXT(x, in);
		if (!loops_freed(&w->loops, &x->stream))
			continue;
		TAILQ_REMOVE(&w->dead_cancels, x, in);
		free(x);
	}
}

static void send_cancel(struct cancel *x)
{
	struct buf *out = stream_out(&x->stream);

	buf_u32(out, 16);
	buf_u32(out, 80877102);
	buf_u32(out, x->pid);
	buf_u32(out, x->secret);
	stream_flush(&x->stream);
}

static void on_ready(void *owner)
{
	struct cancel *x = owner;
	struct worker *w = x->worker;
	struct buf *out;

	worker_turn(w);
	if (x->tls && !x->tls_asked) {
		x->tls_asked = true;
		out = stream_out(&x->stream);
		buf_u32(out, 8);
		buf_u32(out, 80877103);
		stream_flush(&x->stream);
	} else {
		send_cancel(x);
	}
	worker_turn_end(w);
}

static void on_readable(void *owner)
{
	struct cancel *x = owner;
	struct worker *w = x->worker;
	char answer;

	worker_turn(w);
	if (x->tls_asked && buf_len(&x->stream.in) == 1) {
		answer = (char)*buf_head(&x->stream.in);
		buf_consume(&x->stream.in, 1);
		if (answer != 'S' && w->config->server_tls_sslmode < SSLMODE_REQUIRE)
			send_cancel(x);
		else if (answer != 'S' || !stream_start_tls_client(&x->stream, w->server_tls, x->host,
								   w->config->server_tls_sslmode == SSLMODE_VERIFY_FULL))
			cancel_end(x, "cancel request: TLS failed");
	}
	worker_turn_end(w);
}

/* PostgreSQL closes the connection once the signal is sent. */
static void on_closed(void *owner, const char *reason)
{
	struct cancel *x = owner;
	struct worker *w = x->worker;

	worker_turn(w);
	cancel_end(x, x->stream.eof ? "cancel request done" : reason);
	worker_turn_end(w);
}

static const struct stream_owner_ops cancel_ops = { .readable = on_readable, .ready = on_ready, .closed = on_closed };

static bool cancel_connect(struct client *from, struct backend_conn *b)
{
	struct worker *w = b->worker;
	struct cancel *x;
	bool connecting;
	int fd = socket_connect((struct sockaddr *)&b->peer, b->peer_len, w->config, &connecting);

	if (fd < 0) {
		conn_log(b, LOG_LEVEL_WARNING, "cancel request: connect failed: %s", strerror(errno));
		return false;
	}
	x = calloc(1, sizeof *x);
	if (!x)
		abort();
	x->worker = w;
	x->from = from;
	x->target = b;
	x->pid = b->pid;
	x->secret = b->secret;
	x->tls = w->server_tls && b->peer.ss_family != AF_UNIX;
	x->since_us = w->now_us;
	memcpy(x->host, b->host, sizeof x->host);
	b->cancels++;
	TAILQ_INSERT_TAIL(&w->cancels, x, in);
	stream_init(&x->stream, loops_next(&w->loops, SHARE_SERVERS), fd, true, &cancel_ops, x);
	return true;
}

/* In line, or given a backend that is still being checked: its query is answered here and never sent. */
static void cancel_waiting(struct client *c)
{
	struct client_message m;
	struct wire_head head;
	struct buf *in = &c->stream.in;

	if (c->state != CLIENT_ACTIVE || wire_head(buf_head(in), buf_len(in), INT32_MAX, &head) != WIRE_OK)
		return;
	m = (struct client_message){ .type = head.type, .body = buf_head(in) + WIRE_HEAD, .len = head.body_len };
	m.have = buf_len(in) - WIRE_HEAD < m.len ? buf_len(in) - WIRE_HEAD : m.len;
	pool_unwait(&c->line.waiter);
	if (c->backend) { /* it goes back when it has answered */
		c->backend->client = NULL;
		c->backend = NULL;
	}
	if (!session_cancel_waiting(&c->session, &m))
		return;
	buf_consume(in, WIRE_HEAD + m.have);
	c->stream_left = m.len - m.have;
	c->stream_drop = true;
	c->busy = false;
	worker_dirty(c->worker, &c->stream);
	client_schedule(c);
}

void cancel_begin(struct client *from, uint32_t pid, const uint8_t *key, size_t len)
{
	struct client *c = client_by_key(from->worker, pid, key, len);
	struct backend_conn *b = c ? c->backend : NULL;

	if (c && c->state == CLIENT_CONSOLE) {
		console_cancel(c);
	} else if (c && (c->line.waiter.pool || (b && b->state == CONN_CHECK))) {
		cancel_waiting(c);
	} else if (b && b->state == CONN_READY && !session_idle(&c->session) && cancel_connect(from, b)) {
		client_log(c, LOG_LEVEL_DEBUG, "cancel request passed on");
		return;
	}
	client_close(from, "cancel request done");
}

void cancel_query(struct backend_conn *b)
{
	cancel_connect(NULL, b);
}

void cancel_abandon(struct client *from)
{
	struct cancel *x;

	TAILQ_FOREACH (x, &from->worker->cancels, in)
		if (x->from == from)
			x->from = NULL;
}

/* The backend is gone: nothing is left to hold back. */
void cancel_target_gone(struct backend_conn *b)
{
	struct cancel *x;

	TAILQ_FOREACH (x, &b->worker->cancels, in)
		if (x->target == b)
			x->target = NULL;
}

void cancel_expire(struct worker *w)
{
	struct cancel *x, *next;

	for (x = TAILQ_FIRST(&w->cancels); x; x = next) {
		next = TAILQ_NEXT(x, in);
		if (w->config->cancel_wait_timeout_us && w->now_us - x->since_us > w->config->cancel_wait_timeout_us)
			cancel_end(x, "cancel_wait_timeout");
	}
}

void cancel_free_all(struct worker *w)
{
	struct cancel *x;

	while ((x = TAILQ_FIRST(&w->cancels)))
		cancel_end(x, "shutdown");
}
