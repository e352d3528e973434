#include "server/listening.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser/reader.h"
#include "parser/report.h"
#include "server/backend_internal.h"
#include "server/client.h"
#include "server/log.h"
#include "server/vacate.h"

enum {
	SWEEP_US = 2 * 1000 * 1000,   /* how long nobody has to want a channel before it is given up */
	UNUSED_US = 10 * 1000 * 1000, /* and the connection, when there are no listeners at all */
	REOPEN_US = 1000 * 1000,      /* after it was closed to make way */
	REFUSED_US = 5 * 1000 * 1000, /* how long a refusal counts */
	ANSWER_US = 15 * 1000 * 1000, /* for LISTEN: a connection that answers later is taken to be dead */
};

/* What would end it, or its statements, though it only listens; and the encoding that channel names are kept in. */
#define GREETING                                                                                                       \
	"SELECT pg_catalog.set_config(name,'0',false) FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=)"       \
	" ANY('{idle_session_timeout,statement_timeout,lock_timeout,transaction_timeout}');"                               \
	"SELECT pg_catalog.set_config('client_encoding',pg_catalog.current_setting('server_encoding'),false);"

struct listening {
	struct db_pool pool; /* its own, of one, in no list: limits, retries and the login are those of any pool */
	struct worker *worker;
	struct database *database;
	struct channels *channels;
	struct backend_conn *conn; /* logged in */
	struct buf message;	   /* the notification under way */
	bool due, failed, greeting, asking, lost, gap;
	int64_t asked_us, swept_us, used_us, down_us, closed_us, refused_us;
	char why[200]; /* it is refused */
};

static struct client *client_of(void *session)
{
	return (struct client *)((char *)session - offsetof(struct client, session));
}

struct channels *listening_channels(struct worker *w, struct database *d)
{
	struct listening *l = d->listening;
	char marker[40];
	uint64_t secret;

	if (l)
		return l->channels;
	l = d->listening = calloc(1, sizeof *l);
	if (!l)
		abort();
	worker_random(&secret, sizeof secret);
	snprintf(marker, sizeof marker, "pgporter_%016llx", (unsigned long long)secret);
	l->worker = w;
	l->database = d;
	l->channels = channels_new(marker);
	l->pool.worker = w;
	l->pool.database = d;
	l->pool.listening = l;
	pool_init(&l->pool.pool, &d->backends, NULL);
	return l->channels;
}

void listening_free(struct database *d)
{
	struct listening *l = d->listening;

	if (!l)
		return;
	d->listening = NULL;
	channels_free(l->channels);
	pools_welcome_clear(&l->pool);
	for (size_t i = 0; i < l->pool.n_reports; i++)
		free(l->pool.reports[i]);
	free(l->pool.reports);
	buf_release(&l->pool.last_error);
	secret_wipe(&l->pool.learned);
	buf_release(&l->message);
	free(l);
}

bool listening_used(const struct database *d)
{
	const struct listening *l = d->listening;

	return l && (pool_backends(&l->pool.pool) || channels_in_use(l->channels));
}

struct backend_conn *listening_conn(const struct listening *l)
{
	return l ? l->conn : NULL;
}

void listening_due(struct listening *l)
{
	l->due = true;
	l->worker->listening_due = true;
}

/* ---- clients: what came for them ---- */

static void delivered(struct client *c, enum listen_delivery delivery)
{
	if (delivery == LISTEN_TOLD)
		worker_dirty(c->worker, &c->stream);
	else if (delivery == LISTEN_OVERRUN)
		client_schedule(c); /* which closes it */
}

/* A ReadyForQuery that was held back may have been written. */
static void went_on(struct client *c, uint32_t events)
{
	if (!events)
		return;
	worker_dirty(c->worker, &c->stream);
	if (c->backend && buf_len(&c->backend->stream.out))
		worker_dirty(c->worker, &c->backend->stream);
	client_events(c, events);
}

static void wake_all(struct listening *l)
{
	struct subscriber *s;

	while ((s = channels_next_waiting(l->channels)))
		client_schedule(client_of(s->owner));
}

/* Those who listen, held apart from the list: what is done about one may end it. */
static struct client **all_clients(struct listening *l, size_t *n)
{
	struct client **all = NULL;
	struct subscriber *s;

	*n = 0;
	TAILQ_FOREACH (s, channels_subscribers(l->channels), in) {
		if (!(*n & (*n - 1))) { /* full, at each power of two */
			all = realloc(all, (*n ? *n * 2 : 1) * sizeof *all);
			if (!all)
				abort();
		}
		all[(*n)++] = client_of(s->owner);
	}
	return all;
}

static void tell_lost(struct listening *l)
{
	size_t n;
	struct client **all = all_clients(l, &n);

	l->lost = false;
	for (size_t i = 0; i < n; i++) {
		uint32_t events = 0;

		if (all[i]->state == CLIENT_DEAD)
			continue;
		if (session_listen_lost(&all[i]->session, &events))
			went_on(all[i], events);
		else
			client_fail(all[i], "08006", "connection lost while LISTEN or UNLISTEN was under way",
				    "The server connection on which pgporter listens is gone; whether this session listens is not known.", NULL);
	}
	free(all);
}

static void tell_gap(struct listening *l)
{
	struct subscriber *s;
	int n = 0;

	l->gap = false;
	TAILQ_FOREACH (s, channels_subscribers(l->channels), in) {
		struct client *c = client_of(s->owner);

		if (!s->gap)
			continue;
		s->gap = false;
		delivered(c, session_listen_gap(&c->session));
		n++;
	}
	conn_log(l->conn, LOG_LEVEL_WARNING, "listens again after %lld ms; %d client%s told that notifications may have been missed",
		 (long long)((l->worker->now_us - l->down_us) / 1000), n, n == 1 ? " was" : "s were");
}

/* ---- opening ---- */

static void choose_user(struct listening *l)
{
	struct database *d = l->database;
	const struct subscriber *first = TAILQ_FIRST(channels_subscribers(l->channels));
	struct db_pool *like = pools_pool(l->worker, d, client_of(first->owner)->pool->user);

	l->pool.user = like->user;
	l->pool.pool.user = &like->user->backends;
	l->pool.learned = like->learned;
	l->pool.pool.retry_max_us = like->pool.retry_max_us;
}

static void refuse(struct listening *l, const char *why)
{
	if (channels_state(l->channels) != CHANNELS_REFUSED)
		log_line(LOG_LEVEL_WARNING, "database %s: LISTEN can't be shared and pins for now: %s", l->database->name, why);
	channels_refuse(l->channels);
	l->refused_us = l->worker->now_us;
	wake_all(l);
}

static bool may_open(struct listening *l)
{
	struct database *d = l->database;
	const struct worker *w = l->worker;

	return d->conf && !d->disabled && !vacate_holds(w, d) && !d->paused && !w->paused && w->shutdown < SHUTDOWN_WAIT_SERVERS && w->now_us - l->closed_us >= REOPEN_US;
}

static bool leaves_one(const struct pool_limit *limit, int pinned)
{
	return limit->max <= 0 || limit->max - pinned > 1;
}

/* Who wants to listen needs a server connection as well, that nobody keeps. */
static bool leaves_room(const struct listening *l)
{
	const struct backend_conn *b;
	int of_database = 0, of_user = 0;

	TAILQ_FOREACH (b, &l->worker->backends, in) {
		of_database += b->node.pinned && b->pool->database == l->database;
		of_user += b->node.pinned && b->pool->user == l->pool.user;
	}
	return leaves_one(&l->database->backends, of_database) && leaves_one(&l->pool.user->backends, of_user);
}

/* Limits are hard: where another pool's idle connection can't make way, those who want to listen do so by themselves. */
static void open_conn(struct listening *l)
{
	struct pool *p = &l->pool.pool;
	int64_t now_us = l->worker->now_us;

	if (pool_backends(p))
		return; /* on its way, or the last one is not quite gone */
	choose_user(l);
	if (!leaves_room(l)) {
		refuse(l, "nothing would be left beside it but what is pinned (max_db_connections, max_user_connections)");
		return;
	}
	p->min = p->size = 1;
	if (pool_to_open(p, true, now_us)) {
		p->min = 0; /* nobody but us opens it */
		conn_open(&l->pool);
		return;
	}
	p->min = 0;
	if ((!p->failures || now_us >= p->retry_at_us) && !pools_make_room(&l->pool))
		refuse(l, "no server connection may be opened for it (max_db_connections, max_user_connections)");
}

/* ---- asking ---- */

static void ask(struct listening *l)
{
	struct buf sql = { 0 };

	if (l->asking || l->greeting)
		return;
	if (channels_ask(l->channels, &sql)) {
		buf_u8(&sql, 0);
		l->asking = true;
		l->failed = false;
		l->asked_us = l->worker->now_us;
		conn_send_query(l->conn, (const char *)buf_head(&sql));
	} else if (l->gap && !channels_due(l->channels)) {
		tell_gap(l);
	}
	buf_release(&sql);
}

static void serve(struct listening *l)
{
	if (l->lost)
		tell_lost(l);
	if (l->conn)
		ask(l);
	else if (channels_in_use(l->channels) && may_open(l))
		open_conn(l);
}

void listening_run(struct worker *w)
{
	struct database *d;

	w->listening_due = false;
	TAILQ_FOREACH (d, &w->databases, in)
		if (d->listening && d->listening->due) {
			d->listening->due = false;
			serve(d->listening);
		}
}

/* ---- the connection ---- */

void listening_connected(struct listening *l, struct backend_conn *b)
{
	struct buf sql = { 0 };

	l->conn = b;
	l->greeting = true;
	l->failed = l->asking = false;
	l->asked_us = l->used_us = l->worker->now_us;
	conn_all_caught_up(b); /* it hears of nothing that is over by now */
	buf_text(&sql, GREETING "LISTEN ");
	channels_put_name(&sql, channels_marker(l->channels));
	buf_u8(&sql, 0);
	conn_send_query(b, (const char *)buf_head(&sql));
	buf_release(&sql);
}

static void answered(struct listening *l)
{
	if (l->failed) {
		refuse(l, l->why);
		l->closed_us = l->worker->now_us;
		conn_close(l->conn, "LISTEN failed");
		return;
	}
	if (l->greeting) {
		l->greeting = false;
		channels_up(l->channels);
	} else {
		l->asking = false;
		channels_answered(l->channels);
	}
	wake_all(l);
	listening_due(l);
}

/* As its receivers know the sender: a backend of ours goes by the client that it speaks for. */
static uint32_t sender_pid(const struct listening *l, uint32_t pid)
{
	return conn_known_as(l->conn, pid);
}

static void on_marker(struct listening *l, uint32_t pid, const char *payload)
{
	struct subscriber *s = channels_marked(l->channels, payload);
	uint32_t events = 0;
	struct client *c;

	if (channels_own_marker(payload))
		wake_all(l);
	conn_marker_heard(l->conn, pid, marker_serial(payload));
	if (!s)
		return;
	c = client_of(s->owner);
	session_listen_marked(&c->session, &events);
	went_on(c, events);
	if (channels_due(l->channels))
		listening_due(l);
}

static bool speaks_through(const struct client *c, uint32_t pid)
{
	return c->backend && c->backend->pid == pid;
}

static void deliver(struct listening *l, struct client *c, uint32_t pid)
{
	delivered(c, session_notify(&c->session, buf_head(&l->message), buf_len(&l->message), speaks_through(c, pid)));
}

/* To a transaction that has said LISTEN, and may keep it: what it has notified itself, and to who listened before it began, what
 * others did meanwhile. */
static void tell_within(struct listening *l, const struct subscriber *s, uint32_t pid)
{
	struct client *c = client_of(s->owner);

	if (!TAILQ_EMPTY(&s->to) || speaks_through(c, pid))
		deliver(l, c, pid);
}

static void on_notification(struct listening *l, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	uint32_t pid = reader_u32(&r);
	const char *name = reader_str(&r, NULL), *payload = reader_str(&r, NULL);
	const struct subscriptions *listeners;
	struct subscription *sub, *next;
	struct subscriber *within;
	size_t mark;

	if (!payload)
		return;
	if (!strcmp(name, channels_marker(l->channels))) {
		on_marker(l, pid, payload);
		return;
	}
	listeners = channels_listeners(l->channels, name);
	within = channels_within(l->channels, NULL, name);
	if (!within && (!listeners || TAILQ_EMPTY(listeners)))
		return;
	buf_reset(&l->message);
	mark = msg_begin(&l->message, 'A');
	buf_u32(&l->message, sender_pid(l, pid));
	buf_str(&l->message, name);
	buf_str(&l->message, payload);
	msg_end(&l->message, mark);
	for (; within; within = channels_within(l->channels, within, name))
		tell_within(l, within, pid);
	for (sub = listeners ? TAILQ_FIRST(listeners) : NULL; sub; sub = next) {
		struct client *c = client_of(sub->who->owner);

		next = TAILQ_NEXT(sub, in_channel);
		deliver(l, c, pid);
	}
}

void listening_message(struct listening *l, char type, const uint8_t *body, size_t len)
{
	const char *message;

	switch (type) {
	case 'A':
		on_notification(l, body, len);
		return;
	case 'S':
		conn_parameter(l->conn, body, len);
		return;
	case 'E':
		message = report_field(body, len, 'M');
		snprintf(l->why, sizeof l->why, "%s", message ? message : "?");
		l->failed = true;
		if (!l->greeting && !l->asking) /* its goodbye */
			conn_close(l->conn, l->why);
		return;
	case 'Z':
		if (l->greeting || l->asking)
			answered(l);
		return;
	default:
		return;
	}
}

/* Clients are told at the end of the turn: whoever closes a connection is in the middle of something. */
void listening_lost(struct listening *l, struct backend_conn *b, const char *reason)
{
	bool refused = channels_state(l->channels) == CHANNELS_REFUSED;

	if (l->conn != b) { /* login did not come about */
		if (buf_len(&l->pool.last_error))
			refuse(l, l->pool.last_reason);
		return;
	}
	l->conn = NULL;
	l->down_us = l->worker->now_us;
	l->greeting = l->asking = false;
	l->lost = l->gap = true;
	channels_down(l->channels);
	if (refused)
		channels_refuse(l->channels);
	if (channels_in_use(l->channels))
		log_line(LOG_LEVEL_WARNING, "database %s: the server connection that listens for clients is lost: %s", l->database->name, reason);
	listening_due(l);
}

void listening_close(struct database *d)
{
	struct listening *l = d->listening;

	if (!l)
		return;
	l->closed_us = l->worker->now_us;
	if (l->conn)
		conn_close(l->conn, "made way");
}

/* ---- time ---- */

/* Somebody's LISTEN or UNLISTEN would be lost, and that client with it. */
static bool under_way(struct listening *l)
{
	struct subscriber *s;

	TAILQ_FOREACH (s, channels_subscribers(l->channels), in)
		if (client_of(s->owner)->session.listen.marked)
			return true;
	return channels_due(l->channels);
}

static void tick(struct listening *l)
{
	const struct worker *w = l->worker;

	if (channels_in_use(l->channels))
		l->used_us = w->now_us;
	if (l->conn && (l->greeting || l->asking) && w->now_us - l->asked_us > ANSWER_US) {
		l->conn->unheard = true;
		conn_close(l->conn, "no answer to LISTEN");
	} else if (l->conn && w->now_us - l->used_us > UNUSED_US) {
		conn_close(l->conn, "nobody listens");
	} else if (l->conn && l->conn->close_needed_us && !under_way(l)) { /* RECONNECT */
		conn_close(l->conn, "close_needed");
	}
	if (w->now_us - l->swept_us > SWEEP_US) {
		l->swept_us = w->now_us;
		channels_sweep(l->channels);
	}
	if (!l->conn && channels_awaited(l->channels) && may_open(l) && l->pool.failing_since_us &&
	    w->now_us - l->pool.failing_since_us > LOGIN_PATIENCE_US)
		refuse(l, l->pool.last_reason);
	if (channels_state(l->channels) == CHANNELS_REFUSED && w->now_us - l->refused_us > REFUSED_US)
		channels_down(l->channels); /* whoever listens next tries again */
	serve(l);
}

void listening_tick(struct worker *w)
{
	struct database *d;

	TAILQ_FOREACH (d, &w->databases, in)
		if (d->listening)
			tick(d->listening);
}
