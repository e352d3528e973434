#include "server/own.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "parser/reader.h"
#include "server/backend_conn.h"
#include "server/client.h"

/* PostgreSQL's parse_bool(): any beginning that is not another word's too. */
static bool says_no(const char *value)
{
	size_t n = strlen(value);

	return n && (!strcmp(value, "0") || !strncasecmp("false", value, n) || !strncasecmp("no", value, n) ||
		     (n > 1 && !strncasecmp("off", value, n)));
}

enum replication own_replication(const char *value)
{
	if (!value || says_no(value))
		return REPLICATION_NONE;
	return strcmp(value, "database") ? REPLICATION_PHYSICAL : REPLICATION_LOGICAL;
}

const char *own_replication_name(enum replication r)
{
	return r == REPLICATION_LOGICAL ? "logical" : r == REPLICATION_PHYSICAL ? "physical" : "none";
}

/* These can be SET, but what they name is loaded when a session starts. Those that can't be set are found by trying. */
bool own_needed_for(const char *name)
{
	return !strcasecmp(name, "local_preload_libraries") || !strcasecmp(name, "session_preload_libraries");
}

void own_request(struct client *c)
{
	if (c->own || c->own_waiting || c->backend)
		return;
	c->own_waiting = true;
	TAILQ_INSERT_TAIL(&c->pool->own_line, c, own_in);
	pools_serve(c->pool);
}

static void leave_line(struct client *c)
{
	if (!c->own_waiting)
		return;
	c->own_waiting = false;
	TAILQ_REMOVE(&c->pool->own_line, c, own_in);
}

void own_abandon(struct client *c)
{
	struct backend_conn *b = c->own;

	if (c->pool)
		leave_line(c);
	c->own = NULL;
	if (!b)
		return;
	b->own = NULL;
	conn_close(b, "its client is gone");
}

/* One that nobody uses makes room, of this pool or of another that shares the limit. */
void own_serve(struct db_pool *p)
{
	struct client *c;

	while ((c = TAILQ_FIRST(&p->own_line)) && !p->pool.paused) {
		struct pool_backend *idle = TAILQ_FIRST(&p->pool.idle);

		if (pool_has_room(&p->pool, p->worker->now_us)) {
			leave_line(c);
			conn_open_own(c);
		} else if (idle) {
			conn_close(conn_of(idle), "makes room for a client's own connection");
			if (!pool_has_room(&p->pool, p->worker->now_us)) /* PostgreSQL still has to end it */
				return;
		} else {
			pools_make_room(p);
			return;
		}
	}
}

static bool is_given(const struct client *c, const char *name)
{
	struct reader r = reader_of(buf_head(&c->params), buf_len(&c->params));

	while (!r.bad && reader_left(&r)) {
		const char *key = reader_str(&r, NULL);

		if (reader_str(&r, NULL) && !strcasecmp(key, name))
			return true;
	}
	return false;
}

static void put_line_defaults(const struct client *c, const struct config_database *d, struct buf *out)
{
	const char *const extra[][2] = { { "client_encoding", d->client_encoding }, { "datestyle", d->datestyle },
					 { "timezone", d->timezone }, { "application_name", d->application_name } };

	for (size_t i = 0; i < sizeof extra / sizeof *extra; i++)
		if (extra[i][1] && !is_given(c, extra[i][0])) {
			buf_str(out, extra[i][0]);
			buf_str(out, extra[i][1]);
		}
}

void own_startup(struct backend_conn *b, struct buf *out)
{
	const struct client *c = b->own;
	struct reader r = reader_of(buf_head(&c->params), buf_len(&c->params));

	put_line_defaults(c, b->pool->database->conf, out);
	while (!r.bad && reader_left(&r)) {
		const char *name = reader_str(&r, NULL), *value = reader_str(&r, NULL);

		if (!value || !strcmp(name, "user") || !strcmp(name, "database") || !strncmp(name, "_pq_.", 5))
			continue;
		buf_str(out, name);
		buf_str(out, value);
	}
}

void own_opened(struct backend_conn *b)
{
	struct client *c = b->own;

	b->own = NULL;
	c->own = NULL;
	client_linked(c, b);
}

void own_failed(struct backend_conn *b, const char *reason, const uint8_t *error, size_t len)
{
	struct client *c = b->own;
	char text[300];

	b->own = NULL;
	c->own = NULL;
	if (len) /* PostgreSQL before 15 may refuse after it has reported */
		client_tell_reports(c, b->facts.reported);
	conn_close(b, reason);
	if (len) {
		msg_add(stream_out(&c->stream), 'E', error, len);
		client_close(c, reason);
		return;
	}
	snprintf(text, sizeof text, "server login failed: %.200s", reason);
	client_fail(c, "08006", text, NULL, NULL);
}
