/* Pools and connections: opened, handed over, given back, closed. server/pools.c and server/backend_conn.c are followed step by step. */
#include "tests/sim/sim_internal.h"

#include <string.h>

#include "parser/reader.h"
#include "parser/wire.h"

void conn_free(struct conn *b)
{
	pool_gone(&b->node);
	backend_release(&b->facts);
	b->state = CONN_FREE;
	b->client = NULL;
}

static bool conn_open(struct world *w, struct pooled *p)
{
	struct conn *b = w->conns;

	while (b < w->conns + BACKENDS && b->state != CONN_FREE)
		b++;
	if (b == w->conns + BACKENDS) {
		world_fail(w, "more backends than any limit allows");
		return false;
	}
	b->state = CONN_OPENING;
	b->dying = b->told_fatal = b->drop = b->close_needed = b->faulty = false;
	b->left = 0;
	b->client = NULL;
	buf_reset(&b->out);
	buf_reset(&b->in);
	backend_init(&b->facts, w->store.settings, &b->out);
	b->facts.prepared_max = w->p->prepared_max;
	model_init(&b->m, &w->cluster);
	b->m.pid = ++w->last_pid;
	memset(&b->speakers, 0, sizeof b->speakers);
	b->node.facts = &b->facts;
	pool_opening(&p->pool, &b->node, w->now_us);
	world_trace(w, "server %zu opens\n", conn_no(w, b));
	return true;
}

void conn_opened(struct world *w, struct conn *b)
{
	const uint8_t *at;
	struct pooled *p = (struct pooled *)b->node.pool;

	if (w->p->failing && world_chance(w, 3)) {
		counts[COUNT_OPEN_FAILED]++;
		pool_failed(&p->pool, w->now_us, rng_next(&w->rng));
		conn_free(b);
		pools_serve(w, p);
		return;
	}
	model_greet(&b->m);
	for (at = buf_head(&b->m.out); at < buf_head(&b->m.out) + buf_len(&b->m.out); at += 1 + be32(at + 1)) {
		struct reader r = reader_of(at + WIRE_HEAD, be32(at + 1) - 4);
		const char *name = reader_str(&r, NULL);

		backend_reported(&b->facts, name, reader_str(&r, NULL));
	}
	buf_reset(&b->m.out);
	b->state = CONN_READY;
	pool_succeeded(&p->pool);
	pool_opened(&b->node, w->now_us);
	counts[COUNT_OPENED]++;
	pools_serve(w, p);
}

/* Told to go: counted until it has. */
void conn_close(struct world *w, struct conn *b, const char *why)
{
	struct client *c = b->client;

	if (b->state == CONN_PARTING || b->state == CONN_FREE)
		return;
	world_trace(w, "server %zu closes: %s\n", conn_no(w, b), why);
	counts[COUNT_CLOSED]++;
	b->client = NULL;
	b->state = CONN_PARTING;
	pool_closing(&b->node, w->now_us);
	if (!c)
		return;
	c->conn = NULL;
	if (c->s.backend)
		session_unlink(&c->s);
	if (c->state == CLIENT_GONE)
		return;
	session_listen_end(&c->s);
	c->fatal = true;
	c->state = CLIENT_GONE;
	((struct pooled *)b->node.pool)->n_clients--;
}

static void evict_for(struct world *w, struct pooled *p)
{
	struct conn *oldest = NULL;
	int missing = p->pool.n_waiting - p->pool.n_opening;

	for (struct conn *b = w->conns; b < w->conns + BACKENDS; b++)
		missing -= b->state == CONN_PARTING;
	if (missing <= 0)
		return;
	for (struct conn *b = w->conns; b < w->conns + BACKENDS; b++)
		if (b->state == CONN_READY && b->node.place == PLACE_IDLE && b->node.pool != &p->pool &&
		    (!oldest || b->node.since_us < oldest->node.since_us))
			oldest = b;
	if (!oldest)
		return;
	counts[COUNT_EVICTED]++;
	conn_close(w, oldest, "makes way");
}

static void open_wanted(struct world *w, struct pooled *p)
{
	for (int n = pool_to_open(&p->pool, p->n_clients > 0, w->now_us); n > 0; n--)
		if (!conn_open(w, p))
			return;
}

void pools_serve(struct world *w, struct pooled *p)
{
	struct pool_backend *node;
	struct pool_waiter *waiter;

	for (;;) {
		if ((node = pool_evict(&p->pool, w->now_us))) {
			counts[COUNT_STRANGE_EVICTED]++;
			conn_close(w, (struct conn *)node, "has seen custom settings of others");
		} else if ((waiter = pool_match(&p->pool, &node, w->now_us))) {
			client_linked(w, (struct client *)waiter, (struct conn *)node);
		} else {
			break;
		}
	}
	open_wanted(w, p);
	if (pool_blocked_by_others(&p->pool, w->now_us)) {
		evict_for(w, p);
		open_wanted(w, p);
	}
}

struct pooled *pool_of(struct world *w, const struct client *c)
{
	return &w->pools[client_no(w, c) % w->p->n_pools];
}

/* What an idle backend carries is what it is thought to carry, and nothing a client has left. */
static void must_be_clean(struct world *w, struct conn *b)
{
	const char *leftover = model_leftover(&b->m);
	const struct settings *applied = b->facts.applied;

	if (leftover)
		world_fail(w, "server %zu is idle and holds %s", conn_no(w, b), leftover);
	if (b->facts.have != applied)
		world_fail(w, "server %zu is idle and not settled", conn_no(w, b));
	buf_add(&b->m.in, buf_head(&b->out), buf_len(&b->out));
	buf_reset(&b->out);
	while (model_turn(&b->m)) /* a Flush, maybe */
		;
	if (!b->dying && (buf_len(&b->m.in) || buf_len(&b->m.out) || buf_len(&b->in)))
		world_fail(w, "server %zu is idle and not silent", conn_no(w, b));
	for (int v = 0; v < VARS; v++) {
		const char *name = model_setting((enum model_var)v), *value = settings_get(applied, name);

		if (model_has_heard_of(&b->m, (enum model_var)v) && !settings_get(b->facts.seen, name))
			world_fail(w, "server %zu has heard of %s, and is not known to", conn_no(w, b), name);

		if (!model_carries(&b->m, name, value))
			world_fail(w, "server %zu is idle: %s is not %s", conn_no(w, b), name, value ? value : "what it was at its start");
	}
}

void conn_release(struct world *w, struct conn *b, bool clean)
{
	struct pooled *p = (struct pooled *)b->node.pool;

	b->client = NULL;
	if (!clean || b->facts.spoilt || b->left || b->close_needed) {
		conn_close(w, b, "unclean");
	} else {
		must_be_clean(w, b);
		counts[COUNT_GIVEN_BACK]++;
		pool_give_back(&b->node, w->now_us);
	}
	pools_serve(w, p);
}
