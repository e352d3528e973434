/* auth_query: the secret of a user who is not in auth_file, asked of PostgreSQL as auth_user. The backend it runs on
 * carries nothing of any client's: whatever was applied to it is discarded first. */
#include <stdlib.h>
#include <string.h>

#include "parser/reader.h"
#include "parser/report.h"
#include "server/backend_conn.h"
#include "server/client.h"
#include "server/log.h"

enum { LOSSES_MAX = 2 };
enum lookup_state { LOOKUP_WAITING, LOOKUP_CLEANING, LOOKUP_ASKING };

struct lookup {
	TAILQ_ENTRY(lookup) in;
	struct worker *worker;
	struct client *client; /* NULL: gone meanwhile */
	struct backend_conn *conn;
	struct db_pool *pool;
	struct line_place line;
	enum lookup_state state;
	char *query, *user;
	struct secret found;
	bool failed, row;
	int lost; /* backends that went before they had answered */
	int64_t since_us;
};

static const struct settings *nothing(struct worker *w)
{
	const struct settings *s = settings_empty(w->store.settings);

	settings_release(s); /* the store keeps it */
	return s;
}

static void lookup_end(struct lookup *l)
{
	struct worker *w = l->worker;
	struct client *c = l->client;
	struct secret found = l->found;
	bool known = !l->failed && l->row;

	TAILQ_REMOVE(&w->lookups, l, in);
	pool_unwait(&l->line.waiter);
	l->pool->n_clients--;
	secret_wipe(&l->found);
	free(l->query);
	free(l->user);
	if (c && l->failed)
		client_fail(c, "08006", "could not look up the user's password", "auth_query failed; the pooler's log has the reason.", NULL);
	else if (c)
		client_looked_up(c, known ? &found : NULL);
	secret_wipe(&found);
	free(l);
}

void lookup_begin(struct client *c, struct database *db, const char *auth_user, const char *query)
{
	struct worker *w = c->worker;
	struct lookup *l = calloc(1, sizeof *l);
	struct pool_backend *node;

	if (!l || !(l->query = strdup(query)) || !(l->user = strdup(c->user_name)))
		abort();
	l->worker = w;
	l->client = c;
	l->line.lookup = l;
	l->since_us = w->now_us;
	l->pool = pools_pool(w, db, pools_user(w, auth_user));
	l->pool->n_clients++;
	TAILQ_INSERT_TAIL(&w->lookups, l, in);
	node = pool_take(&l->pool->pool, nothing(w), NULL, w->now_us);
	if (node) {
		lookup_linked(l, conn_of(node));
		return;
	}
	pool_wait(&l->pool->pool, &l->line.waiter, nothing(w), NULL, w->now_us);
	pools_serve(l->pool);
}

void lookup_abandon(struct client *c)
{
	struct lookup *l, *next;

	for (l = TAILQ_FIRST(&c->worker->lookups); l; l = next) {
		next = TAILQ_NEXT(l, in);
		if (l->client != c)
			continue;
		l->client = NULL;
		if (!l->conn)
			lookup_end(l);
	}
}

static void ask(struct lookup *l)
{
	struct buf *out = stream_out(&l->conn->stream);
	size_t mark;

	l->state = LOOKUP_ASKING;
	mark = msg_begin(out, 'P');
	buf_str(out, "");
	buf_str(out, l->query);
	buf_u16(out, 0);
	msg_end(out, mark);
	mark = msg_begin(out, 'B');
	buf_str(out, "");
	buf_str(out, "");
	buf_u16(out, 0);
	buf_u16(out, 1);
	buf_u32(out, (uint32_t)strlen(l->user));
	buf_text(out, l->user);
	buf_u16(out, 0);
	msg_end(out, mark);
	mark = msg_begin(out, 'E');
	buf_str(out, "");
	buf_u32(out, 0);
	msg_end(out, mark);
	msg_add(out, 'S', NULL, 0);
	worker_dirty(l->worker, &l->conn->stream);
}

void lookup_linked(struct lookup *l, struct backend_conn *b)
{
	struct buf *out;
	size_t mark;

	l->conn = b;
	b->lookup = l;
	b->state = CONN_LOOKUP;
	b->request_us = l->worker->now_us;
	if ((b->facts.applied == nothing(l->worker) || b->facts.applied == b->greeting) && !b->facts.prepared.count &&
	    !b->facts.left) {
		ask(l);
		return;
	}
	l->state = LOOKUP_CLEANING;
	out = stream_out(&b->stream);
	mark = msg_begin(out, 'Q');
	buf_str(out, "DISCARD ALL");
	msg_end(out, mark);
	backend_wiped(&b->facts);
	worker_dirty(l->worker, &b->stream);
}

static void on_row(struct lookup *l, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	char text[SECRET_TEXT_MAX];
	uint32_t n;
	const uint8_t *p;

	if (reader_u16(&r) < 2)
		return;
	n = reader_u32(&r);
	if (n != UINT32_MAX)
		reader_bytes(&r, n);
	n = reader_u32(&r);
	p = n == UINT32_MAX ? NULL : reader_bytes(&r, n);
	if (!p || n >= sizeof text) /* NULL: no password, or expired */
		return;
	memcpy(text, p, n);
	text[n] = 0;
	l->row = !secret_parse(text, &l->found);
	explicit_bzero(text, sizeof text);
}

static void on_finished(struct lookup *l)
{
	struct backend_conn *b = l->conn;

	b->lookup = NULL;
	b->state = CONN_READY;
	b->facts.unnamed = 0;
	l->conn = NULL;
	conn_release(b, true);
	lookup_end(l);
}

void lookup_message(struct lookup *l, char type, const uint8_t *body, size_t len)
{
	const char *message;

	switch (type) {
	case 'S':
		conn_parameter(l->conn, body, len);
		return;
	case 'D':
		if (l->state == LOOKUP_ASKING)
			on_row(l, body, len);
		return;
	case 'E':
		l->failed = true;
		message = report_field(body, len, 'M');
		conn_log(l->conn, LOG_LEVEL_WARNING, "auth_query failed: %s", message ? message : "?");
		return;
	case 'Z':
		if (l->state == LOOKUP_CLEANING && !l->failed)
			ask(l);
		else
			on_finished(l);
		return;
	default:
		return;
	}
}

/* Asking again harms nobody: a backend that had died unnoticed is no reason to refuse a client. */
void lookup_lost(struct lookup *l)
{
	l->conn = NULL;
	if (l->client && ++l->lost <= LOSSES_MAX) {
		l->failed = l->row = false;
		secret_wipe(&l->found);
		l->state = LOOKUP_WAITING;
		pool_wait(&l->pool->pool, &l->line.waiter, nothing(l->worker), NULL, l->worker->now_us);
		return;
	}
	l->failed = true;
	lookup_end(l);
}

void lookup_free_all(struct worker *w)
{
	struct lookup *l;

	while ((l = TAILQ_FIRST(&w->lookups))) {
		l->client = NULL;
		lookup_end(l);
	}
}

/* As for clients: PostgreSQL's own refusal counts at once, a server out of reach is given some time. */
static bool hopeless(const struct lookup *l)
{
	const struct db_pool *p = l->pool;
	int64_t now_us = l->worker->now_us, limit_us = l->worker->config->query_wait_timeout_us;

	if (p->failing_since_us && (buf_len(&p->last_error) || now_us - p->failing_since_us >= LOGIN_PATIENCE_US))
		return true;
	return limit_us && now_us - l->since_us >= limit_us;
}

void lookup_expire(struct worker *w)
{
	struct lookup *l, *next;

	for (l = TAILQ_FIRST(&w->lookups); l; l = next) {
		next = TAILQ_NEXT(l, in);
		if (l->conn || !hopeless(l))
			continue;
		if (l->pool->failing_since_us)
			log_line(LOG_LEVEL_WARNING, "auth_query: login of %s failed: %s", l->pool->user->name, l->pool->last_reason);
		l->failed = true;
		lookup_end(l);
	}
}
