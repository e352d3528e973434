#include "server/vacate.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "parser/must.h"
#include "server/backend_conn.h"
#include "server/client.h"

struct vacate {
	TAILQ_ENTRY(vacate) in;
	struct client *client;
	char **names; /* on the server */
	size_t n_names;
	bool done; /* the client was let on */
};

static const char *server_dbname(const struct database *d)
{
	return d->conf && d->conf->dbname ? d->conf->dbname : d->name;
}

/* One word of a comma list: a unix socket and the loopback's names are one machine. */
static bool same_host(const char *a, size_t a_len, const char *b, size_t b_len)
{
	static const char *const local[] = { "/", "@", "localhost", "127.", "::1" };
	bool a_local = !a_len, b_local = !b_len;

	for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
		a_local = a_local || !strncasecmp(a, local[i], strlen(local[i]));
		b_local = b_local || !strncasecmp(b, local[i], strlen(local[i]));
	}
	return (a_local && b_local) || (a_len == b_len && !strncasecmp(a, b, a_len));
}

static const char *next_host(const char *at, size_t *len)
{
	at += strspn(at, ", ");
	*len = strcspn(at, ", ");
	return at;
}

static bool hosts_meet(const char *a, const char *b)
{
	size_t a_len, b_len;

	a = next_host(a ? a : "", &a_len);
	do {
		const char *at = next_host(b ? b : "", &b_len);

		do {
			if (same_host(a, a_len, at, b_len))
				return true;
			at = next_host(at + b_len, &b_len);
		} while (b_len);
		a = next_host(a + a_len, &a_len);
	} while (a_len);
	return false;
}

/* By what the lines say, or by where a connection has got to. */
static bool same_server(const struct database *a, const struct database *b)
{
	return a == b || (a->conf && b->conf && a->conf->port == b->conf->port && hosts_meet(a->conf->host, b->conf->host));
}

static bool same_peer(const struct backend_conn *a, const struct backend_conn *b)
{
	return a && a->peer_len && a->peer_len == b->peer_len && !memcmp(&a->peer, &b->peer, a->peer_len);
}

static bool named(const struct vacate *v, const struct database *d)
{
	for (size_t i = 0; i < v->n_names; i++)
		if (!strcmp(v->names[i], server_dbname(d)))
			return true;
	return false;
}

static bool about_conn(const struct vacate *v, const struct backend_conn *b)
{
	return named(v, b->pool->database) &&
	       (same_server(v->client->database, b->pool->database) || same_peer(v->client->backend, b));
}

bool vacate_holds(const struct worker *w, const struct database *d)
{
	const struct vacate *v;
	const struct backend_conn *b;

	TAILQ_FOREACH (v, &w->vacates, in) {
		if (named(v, d) && same_server(v->client->database, d))
			return true;
		TAILQ_FOREACH (b, &w->backends, in)
			if (b->pool->database == d && about_conn(v, b))
				return true;
	}
	return false;
}

bool vacate_same_server(const struct worker *w, const struct client *c, const struct database *d)
{
	const struct backend_conn *b;

	if (same_server(c->database, d))
		return true;
	TAILQ_FOREACH (b, &w->backends, in)
		if (b->pool->database == d && same_peer(c->backend, b))
			return true;
	return false;
}

/* What a client uses is PostgreSQL's to judge. The backend that listens for all of them is ours to close. */
static bool in_use(const struct backend_conn *b)
{
	return b->client || b->own;
}

/* Those on their way in are closed when they get there (conn_give_back(), login_done()): only then can their end be awaited. */
static void close_idle(struct vacate *v)
{
	struct worker *w = v->client->worker;
	struct backend_conn *b, *next;

	for (b = TAILQ_FIRST(&w->backends); b; b = next) {
		next = TAILQ_NEXT(b, in);
		if ((b->node.place == PLACE_IDLE || (b->pool->listening && b->state == CONN_READY)) && about_conn(v, b))
			conn_close(b, "its database is to be dropped, renamed or copied");
	}
}

static bool is_empty(const struct vacate *v)
{
	const struct worker *w = v->client->worker;
	const struct backend_conn *b;

	TAILQ_FOREACH (b, &w->backends, in)
		if (!in_use(b) && about_conn(v, b))
			return false;
	TAILQ_FOREACH (b, &w->parting, in)
		if (about_conn(v, b))
			return false;
	return true;
}

static struct vacate *of_client(const struct client *c)
{
	struct vacate *v;

	TAILQ_FOREACH (v, &c->worker->vacates, in)
		if (v->client == c)
			return v;
	return NULL;
}

static void vacate_free(struct vacate *v)
{
	for (size_t i = 0; i < v->n_names; i++)
		free(v->names[i]);
	free(v->names);
	free(v);
}

static struct vacate *vacate_new(struct client *c)
{
	struct vacate *v = must(calloc(1, sizeof *v));
	const char *name;
	size_t at = 0;

	v->client = c;
	while ((name = session_vacates(&c->session, &at))) {
		v->names = must(realloc(v->names, (v->n_names + 1) * sizeof *v->names));
		v->names[v->n_names++] = must(strdup(name));
	}
	TAILQ_INSERT_TAIL(&c->worker->vacates, v, in);
	return v;
}

static bool let_on(struct vacate *v)
{
	v->done = v->done || is_empty(v);
	if (v->done)
		session_vacated(&v->client->session);
	return v->done;
}

bool vacate_begin(struct client *c)
{
	struct vacate *v = of_client(c);

	if (!v)
		close_idle(v = vacate_new(c));
	return let_on(v);
}

void vacate_tick(struct worker *w)
{
	struct vacate *v;

	TAILQ_FOREACH (v, &w->vacates, in)
		if (!v->done && let_on(v))
			client_schedule(v->client);
}

/* A database may be gone, or have come into being: what was found out about it holds no longer. */
static void ask_anew(struct worker *w)
{
	struct database *d;
	struct pool *at;

	TAILQ_FOREACH (d, &w->databases, in)
		TAILQ_FOREACH (at, &d->pools, in_database) {
			struct db_pool *p = (struct db_pool *)at;

			if (p->failing_since_us)
				pool_succeeded(&p->pool);
			p->failing_since_us = 0;
		}
}

void vacate_end(struct client *c)
{
	struct worker *w = c->worker;
	struct vacate *v;
	struct database *d;
	struct pool *p;

	if (TAILQ_EMPTY(&w->vacates) || !(v = of_client(c)))
		return;
	TAILQ_REMOVE(&w->vacates, v, in);
	TAILQ_FOREACH (d, &w->databases, in)
		if (named(v, d))
			TAILQ_FOREACH (p, &d->pools, in_database)
				pools_welcome_clear((struct db_pool *)p);
	vacate_free(v);
	ask_anew(w);
	if (!w->shutdown)
		pools_serve_all(w);
}
