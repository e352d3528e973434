/* Real sessions, backends and pools (state/) between clients that follow a program and models of PostgreSQL. What server/
 * does with sockets and timers is done here with bytes and a clock of its own: active_pump() of server/client.c,
 * linked_pump() of server/backend_conn.c, pools_serve() of server/pools.c are followed step by step. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "parser/reader.h"
#include "parser/report.h"
#include "parser/wire.h"
#include "state/pool.h"
#include "state/session.h"
#include "tests/script.h"
#include "tests/sim/model_backend.h"

enum { BACKENDS = 12, POOLS = 2, STEPS_MAX = 40000, CANCELS = 8 };

enum client_state { CLIENT_LOGIN, CLIENT_ACTIVE, CLIENT_GONE };
enum conn_state { CONN_FREE, CONN_OPENING, CONN_READY, CONN_PARTING };

/* Whatever was begun is brought to an end, so that its answers are there to be compared. */
#define ENDING "c|S|Q:ROLLBACK|Q:SELECT 'end'"

struct conn;

struct client {
	struct pool_waiter waiter; /* first: a waiter is its client */
	struct session s;
	struct buf script, in, out; /* all it will say; what has arrived; what it was told */
	size_t n_messages;	    /* taken */
	bool vanishes;		    /* goes without a word when all is said */
	struct conn *conn;
	size_t left;		    /* of a message under way */
	bool drop, have_session, runnable, compare, fatal, vanished;
	enum client_state state;
	size_t cancelled[CANCELS], n_cancelled; /* messages by number */
	struct model alone;
	struct model_cluster own; /* its PostgreSQL alone */
};

struct conn {
	struct pool_backend node; /* first */
	struct backend facts;
	struct buf out, in; /* to PostgreSQL; arrived from it */
	struct model m;
	struct client *client;
	size_t left;
	bool drop, dying, told_fatal, close_needed;
	enum conn_state state;
};

struct pooled {
	struct pool pool; /* first */
	struct session_counters counters;
	uint64_t generation;
	struct pool_limit user;
	size_t n_clients;
};

/* What is counted over all plays. */
enum count {
	COUNT_NEXT, COUNT_STREAM, COUNT_LINK, COUNT_HOLD, COUNT_MORE, COUNT_DROP, COUNT_VACATE, COUNT_END, COUNT_REFUSE,
	COUNT_FORWARD, COUNT_SWALLOW, COUNT_WHOLE,
	COUNT_APPLY, COUNT_PREPARE, COUNT_OBSERVE, COUNT_LOGIN, COUNT_FORGET, COUNT_UNDO, COUNT_NOTIFY, COUNT_LEARN,
	COUNT_OTHER_TASK,
	COUNT_PIN, COUNT_PIN_LAST = COUNT_PIN + PIN_REASONS - 1,
	COUNT_PIN_ENDED, COUNT_WAITED, COUNT_OPENED, COUNT_OPEN_FAILED, COUNT_GIVEN_BACK, COUNT_CLOSED, COUNT_EVICTED, COUNT_DIED, COUNT_VANISHED,
	COUNT_CANCELLED, COUNT_NOT_RESTORED, COUNT_LOCAL_ANSWER, COUNT_FLIGHT, COUNT_MESSAGES, COUNT_STATEMENTS,
	COUNTS,
};

static const char *const count_names[COUNTS] = {
	[COUNT_NEXT] = "client's message: next", "client's message: streams", "client's message: links", "client's message: held",
	"client's message: more", "client's message: dropped", "client's message: vacates", "client's message: end", "client's message: refused",
	[COUNT_FORWARD] = "reply: forwarded", "reply: swallowed", "reply: wanted whole",
	[COUNT_APPLY] = "task: apply", "task: prepare", "task: observe", "task: login", "task: forget", "task: undo", "task: notify", "task: learn",
	"task: other",
	[COUNT_PIN_ENDED] = "pins that ended", "waited in line", "backends opened", "openings failed", "backends given back", "backends closed",
	"backends evicted", "backends that died", "clients that vanished", "queries cancelled in line", "settings not restored",
	"answered without a backend", "settings in flight", "messages", "statements run",
};

static uint64_t counts[COUNTS];

struct world {
	const struct sim_program *p;
	struct sim_result *result;
	FILE *trace;
	struct rng rng;
	struct session_store store;
	struct model_cluster cluster;
	struct pool_limit database;
	struct pooled pools[POOLS];
	struct client clients[SIM_CLIENTS];
	struct conn conns[BACKENDS];
	int64_t now_us;
	uint64_t steps;
};

static struct world world;
static struct effects_memory *effects;

static void fail(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->result->failed)
		return;
	w->result->failed = true;
	va_start(ap, fmt);
	vsnprintf(w->result->why, sizeof w->result->why, fmt, ap);
	va_end(ap);
}

static size_t client_no(const struct world *w, const struct client *c)
{
	return (size_t)(c - w->clients);
}

static size_t conn_no(const struct world *w, const struct conn *b)
{
	return (size_t)(b - w->conns);
}

static bool chance(struct world *w, uint32_t of)
{
	return !rng_below(&w->rng, of);
}

/* ---- words for people ---- */

static void print_field(FILE *f, const uint8_t *at, uint32_t len)
{
	if (len == UINT32_MAX)
		fputs("NULL", f);
	else
		fprintf(f, "%.*s", (int)len, (const char *)at);
}

static void print_values(FILE *f, struct reader *r)
{
	for (uint16_t n = reader_u16(r); n && !r->bad; n--) {
		uint32_t len = reader_u32(r);
		const uint8_t *at = len == UINT32_MAX ? NULL : reader_bytes(r, len);

		fputc(' ', f);
		print_field(f, at, len);
	}
}

static void print_told(FILE *f, char type, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	const char *name;

	fprintf(f, "%c", type);
	if (type == 'Z')
		fprintf(f, " %c", body[0]);
	else if (type == 'C')
		fprintf(f, " %s", (const char *)body);
	else if (type == 'S' && (name = reader_str(&r, NULL)))
		fprintf(f, " %s=%s", name, reader_str(&r, NULL));
	else if (type == 'E' || type == 'N')
		fprintf(f, " %s %s", report_field(body, len, 'C'), report_field(body, len, 'M'));
	else if (type == 'D')
		print_values(f, &r);
	fputc('\n', f);
}

static void print_said(FILE *f, char type, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	const char *a;

	fprintf(f, "%c", type);
	if (type == 'Q') {
		fprintf(f, " %s", (const char *)body);
	} else if (type == 'P' || type == 'B') {
		a = reader_str(&r, NULL);
		fprintf(f, " %s: %s", a, reader_str(&r, NULL));
		if (type == 'B') {
			reader_bytes(&r, 2 * (size_t)reader_u16(&r));
			print_values(f, &r);
		}
	} else if (type == 'E') {
		fprintf(f, " %s", (const char *)body);
	} else if (type == 'D' || type == 'C') {
		fprintf(f, " %c %s", body[0], (const char *)body + 1);
	}
	fputc('\n', f);
}

static void print_all(FILE *f, const struct buf *b, void (*print)(FILE *, char, const uint8_t *, size_t), const char *before)
{
	for (size_t at = 0; at + WIRE_HEAD <= buf_len(b);) {
		const uint8_t *m = buf_head(b) + at;
		size_t len = be32(m + 1) - 4;

		fputs(before, f);
		if (at + WIRE_HEAD + len > buf_len(b)) {
			fputs("(in the middle of a message)\n", f);
			return;
		}
		print(f, (char)m[0], m + WIRE_HEAD, len);
		at += WIRE_HEAD + len;
	}
}

static void trace(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->trace)
		return;
	va_start(ap, fmt);
	vfprintf(w->trace, fmt, ap);
	va_end(ap);
}

/* ---- pools ---- */

static void pools_serve(struct world *w, struct pooled *p);
static void client_linked(struct world *w, struct client *c, struct conn *b);

static void conn_free(struct conn *b)
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
		fail(w, "more backends than any limit allows");
		return false;
	}
	b->state = CONN_OPENING;
	b->dying = b->told_fatal = b->drop = b->close_needed = false;
	b->left = 0;
	b->client = NULL;
	buf_reset(&b->out);
	buf_reset(&b->in);
	backend_init(&b->facts, w->store.settings, &b->out);
	b->facts.prepared_max = w->p->prepared_max;
	model_init(&b->m, &w->cluster);
	b->node.facts = &b->facts;
	pool_opening(&p->pool, &b->node, w->now_us);
	trace(w, "server %zu opens\n", conn_no(w, b));
	return true;
}

static void conn_opened(struct world *w, struct conn *b)
{
	const uint8_t *at;
	struct pooled *p = (struct pooled *)b->node.pool;

	if (w->p->failing && chance(w, 3)) {
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
static void conn_close(struct world *w, struct conn *b, const char *why)
{
	struct client *c = b->client;

	if (b->state == CONN_PARTING || b->state == CONN_FREE)
		return;
	trace(w, "server %zu closes: %s\n", conn_no(w, b), why);
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

static void pools_serve(struct world *w, struct pooled *p)
{
	struct pool_backend *node;
	struct pool_waiter *waiter;

	while ((waiter = pool_match(&p->pool, &node, w->now_us)))
		client_linked(w, (struct client *)waiter, (struct conn *)node);
	open_wanted(w, p);
	if (pool_blocked_by_others(&p->pool, w->now_us)) {
		evict_for(w, p);
		open_wanted(w, p);
	}
}

static struct pooled *pool_of(struct world *w, const struct client *c)
{
	return &w->pools[client_no(w, c) % w->p->n_pools];
}

/* What an idle backend carries is what it is thought to carry, and nothing a client has left. */
static void must_be_clean(struct world *w, struct conn *b)
{
	const char *leftover = model_leftover(&b->m);
	const struct settings *applied = b->facts.applied;

	if (leftover)
		fail(w, "server %zu is idle and holds %s", conn_no(w, b), leftover);
	if (b->facts.have != applied)
		fail(w, "server %zu is idle and not settled", conn_no(w, b));
	buf_add(&b->m.in, buf_head(&b->out), buf_len(&b->out));
	buf_reset(&b->out);
	while (model_turn(&b->m)) /* a Flush, maybe */
		;
	if (!b->dying && (buf_len(&b->m.in) || buf_len(&b->m.out) || buf_len(&b->in)))
		fail(w, "server %zu is idle and not silent", conn_no(w, b));
	for (int v = 0; v < VARS; v++) {
		const char *name = model_setting((enum model_var)v), *value = settings_get(applied, name);

		if (!model_carries(&b->m, name, value))
			fail(w, "server %zu is idle: %s is not %s", conn_no(w, b), name, value ? value : "what it was at its start");
	}
}

static void conn_release(struct world *w, struct conn *b, bool clean)
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

/* ---- clients ---- */

static void give_up_backend(struct world *w, struct client *c)
{
	struct conn *b = c->conn;
	bool clean;

	if (!b)
		return;
	trace(w, "client %zu gives back server %zu\n", client_no(w, c), conn_no(w, b));
	c->conn = NULL;
	clean = session_unlink(&c->s);
	conn_release(w, b, clean && !c->left);
}

static void client_gone(struct world *w, struct client *c)
{
	if (c->state == CLIENT_GONE)
		return;
	c->state = CLIENT_GONE;
	pool_unwait(&c->waiter);
	give_up_backend(w, c);
	pool_of(w, c)->n_clients--;
	pools_serve(w, pool_of(w, c));
}

/* Told what it would have been told alone with the same startup packet. */
static void client_welcome(struct world *w, struct client *c, const struct settings *told)
{
	session_welcome(&c->s, told);
	for (size_t i = 0; i < settings_size(told); i++) {
		const char *name = settings_name_at(told, i), *alone = model_reported(&c->alone, name);

		if (!alone || strcmp(alone, settings_value_at(told, i)))
			fail(w, "client %zu is welcomed with %s = %s, alone %s", client_no(w, c), name, settings_value_at(told, i), alone ? alone : "not at all");
	}
	c->state = CLIENT_ACTIVE;
	c->runnable = true;
}

static void count_task(const struct session *s)
{
	static const enum count by_kind[] = { [TASK_APPLY] = COUNT_APPLY, [TASK_PREPARE] = COUNT_PREPARE, [TASK_OBSERVE] = COUNT_OBSERVE,
					      [TASK_LOGIN] = COUNT_LOGIN, [TASK_FORGET] = COUNT_FORGET, [TASK_UNDO] = COUNT_UNDO, [TASK_NOTIFY] = COUNT_NOTIFY, [TASK_LEARN] = COUNT_LEARN };

	if (s->task)
		counts[(size_t)s->task < sizeof by_kind / sizeof *by_kind ? by_kind[s->task] : COUNT_OTHER_TASK]++;
}

static void client_linked(struct world *w, struct client *c, struct conn *b)
{
	trace(w, "client %zu gets server %zu\n", client_no(w, c), conn_no(w, b));
	c->conn = b;
	b->client = c;
	session_link(&c->s, &b->facts);
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
	struct pool_backend *node;

	if (c->waiter.pool || c->conn)
		return false;
	node = pool_take(&p->pool, c->s.want, NULL, w->now_us);
	if (node) {
		client_linked(w, c, (struct conn *)node);
		return true;
	}
	counts[COUNT_WAITED]++;
	pool_wait(&p->pool, &c->waiter, c->s.want, NULL, w->now_us);
	pools_serve(w, p);
	return false;
}

static bool message_at(struct world *w, struct client *c, struct client_message *m)
{
	struct wire_head head;

	if (wire_head(buf_head(&c->in), buf_len(&c->in), 1u << 30, &head) != WIRE_OK)
		return false;
	*m = (struct client_message){ .type = head.type, .body = buf_head(&c->in) + WIRE_HEAD, .len = head.body_len };
	m->have = buf_len(&c->in) - WIRE_HEAD < m->len ? buf_len(&c->in) - WIRE_HEAD : m->len;
	return true;
}

static void taken(struct client *c, const struct client_message *m, bool drop)
{
	c->left = m->len - m->have;
	c->drop = drop;
	c->n_messages++;
	buf_consume(&c->in, WIRE_HEAD + m->have);
}

/* False when the pump has to stop. */
static bool one_message(struct world *w, struct client *c, const struct client_message *m, bool *partial)
{
	enum task_kind task = c->s.task;
	enum session_verdict verdict = session_from_client(&c->s, m);

	counts[COUNT_NEXT + verdict]++;
	if (c->s.task != task)
		count_task(&c->s);
	if (verdict != SESSION_MORE && w->trace) {
		static const char *const words[] = { "goes on", "streams", "needs a server", "is held", "", "is dropped", "waits for databases", "is the end", "is refused" };

		trace(w, "client %zu, message %s: ", client_no(w, c), words[verdict]);
		if (m->have == m->len)
			print_said(w->trace, m->type, m->body, m->len);
		else
			trace(w, "%c…\n", m->type);
	}
	switch (verdict) {
	case SESSION_NEXT:
		if (m->have < m->len)
			fail(w, "client %zu: a message that is there in part was taken as whole", client_no(w, c));
		taken(c, m, false);
		return true;
	case SESSION_STREAM:
		taken(c, m, false);
		return true;
	case SESSION_DROP:
		taken(c, m, true);
		return true;
	case SESSION_LINK:
		return request_backend(w, c);
	case SESSION_VACATE:
		session_vacated(&c->s);
		return true;
	case SESSION_MORE:
		if (m->have == m->len)
			fail(w, "client %zu: more of a whole message was asked for", client_no(w, c));
		*partial = true;
		return false;
	case SESSION_HOLD:
		if (!c->conn)
			fail(w, "client %zu: held without a backend that could end it", client_no(w, c));
		return false;
	case SESSION_END:
		client_gone(w, c);
		return false;
	case SESSION_REFUSE:
		fail(w, "client %zu was refused: %s", client_no(w, c), c->s.refusal);
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

static void client_pump(struct world *w, struct client *c)
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
		if (!message_at(w, c, &m) || !one_message(w, c, &m, &partial))
			break;
	}
	if (c->state == CLIENT_ACTIVE && !partial && session_releasable(&c->s))
		give_up_backend(w, c);
}

/* ---- replies ---- */

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

static void client_events(struct world *w, struct client *c, uint32_t events)
{
	struct conn *b = c->conn;

	if (events & EVENT_BROKEN) {
		if (b && !b->dying)
			fail(w, "client %zu: %s", client_no(w, c), c->s.refusal);
		return;
	}
	if (events & EVENT_ROLES)
		roles_gone(w, c);
	if (events & EVENT_LOGIN_FAILED)
		fail(w, "client %zu could not log in", client_no(w, c));
	if (events & EVENT_LOGIN_DONE)
		client_welcome(w, c, b->facts.reported);
	if (session_releasable(&c->s) && c->state == CLIENT_ACTIVE &&
	    !(events & EVENT_PROGRESS && !(events & EVENT_READY) && buf_len(&c->in)))
		give_up_backend(w, c);
	if (buf_len(&c->in) && events & (EVENT_PROGRESS | EVENT_READY | EVENT_LOGIN_DONE))
		c->runnable = true;
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
	enum reply_verdict verdict = session_from_backend(&c->s, m, events);

	if (verdict != REPLY_BROKEN)
		counts[COUNT_FORWARD + verdict]++;
	count_pins(pins, c->s.pins);
	if (c->s.task != task)
		count_task(&c->s);
	if (plain && verdict != REPLY_FORWARD)
		fail(w, "a plain row was not forwarded");
	if (verdict != REPLY_WHOLE && w->trace) {
		trace(w, "server %zu %s client %zu: ", conn_no(w, b), verdict == REPLY_FORWARD ? "to" : "not to", client_no(w, c));
		if (m->have == m->len)
			print_told(w->trace, m->type, m->body, m->len);
		else
			trace(w, "%c…\n", m->type);
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
			fail(w, "more of a whole reply was asked for");
		return false;
	case REPLY_BROKEN:
		fail(w, "client %zu: a reply %c of server %zu was not expected", client_no(w, c), m->type, conn_no(w, b));
		return false;
	case REPLY_FORWARD:
		buf_add(&c->out, buf_head(&b->in), WIRE_HEAD + m->have);
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
		if (wire_head(buf_head(&b->in), buf_len(&b->in), 1u << 30, &head) != WIRE_OK)
			break;
		m = (struct client_message){ .type = head.type, .body = buf_head(&b->in) + WIRE_HEAD, .len = head.body_len };
		m.have = buf_len(&b->in) - WIRE_HEAD < m.len ? buf_len(&b->in) - WIRE_HEAD : m.len;
		if (!reply(w, b, &m, &events))
			break;
		if (!b->left && b->facts.owed.count && ledger_head(&b->facts.owed)->kind == OWED_INVENTED)
			session_reply_done(&c->s);
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

static void conn_pump(struct world *w, struct conn *b)
{
	while (b->state == CONN_READY && buf_len(&b->in) && !w->result->failed) {
		size_t had = buf_len(&b->in);

		if (!b->client) {
			if (!b->dying && buf_head(&b->in)[0] != 'S')
				fail(w, "server %zu says %c to nobody", conn_no(w, b), buf_head(&b->in)[0]);
			conn_close(w, b, "said something while idle");
			pools_serve(w, (struct pooled *)b->node.pool);
			return;
		}
		linked_pump(w, b);
		if (buf_len(&b->in) == had)
			return;
	}
}

/* ---- what happens ---- */

/* How many of n bytes arrive now. */
static size_t some(struct world *w, size_t n)
{
	if (!w->p->chunks || n < 2)
		return n;
	switch (rng_below(&w->rng, 4)) {
	case 0:
		return 1 + rng_below(&w->rng, n < 9 ? (uint32_t)n : 9);
	case 1:
		return 1 + rng_below(&w->rng, (uint32_t)n);
	default:
		return n;
	}
}

/* Bytes of the client arrive: whole messages, or as they are cut. */
static bool client_sends(struct world *w, struct client *c)
{
	size_t n = buf_len(&c->script), first;

	if (c->state == CLIENT_LOGIN && !c->runnable && !c->waiter.pool && !c->conn) {
		client_pump(w, c);
		return true;
	}
	if (!n && c->state == CLIENT_ACTIVE && !buf_len(&c->in) && !c->left && !c->vanishes && session_idle(&c->s)) {
		script_put(&c->in, "X"); /* it has read all there is to read */
		client_pump(w, c);
		return true;
	}
	if (!n || c->state != CLIENT_ACTIVE)
		return false;
	first = WIRE_HEAD + be32(buf_head(&c->script) + 1) - 4; /* where the script is cut within a message this means nothing, and does no harm */
	if (w->p->chunks)
		n = some(w, n < 200 ? n : 200);
	else if (first < n && rng_below(&w->rng, 4))
		n = first;
	buf_add(&c->in, buf_head(&c->script), n);
	buf_consume(&c->script, n);
	client_pump(w, c);
	return true;
}

/* At the end of a turn of the loop, before anything else can arrive. */
static void runnable_clients(struct world *w)
{
	bool any = true;

	while (any && !w->result->failed) {
		any = false;
		for (struct client *c = w->clients; c < w->clients + w->p->n_clients; c++)
			if (c->runnable) {
				c->runnable = false;
				if (c->state == CLIENT_ACTIVE)
					client_pump(w, c), any = true;
			}
	}
}

static bool client_vanishes(struct world *w, struct client *c, bool now)
{
	if (c->state != CLIENT_ACTIVE || buf_len(&c->script) || !c->vanishes || (!now && !chance(w, 4)))
		return false;
	trace(w, "client %zu vanishes\n", client_no(w, c));
	counts[COUNT_VANISHED]++;
	c->vanished = true;
	client_gone(w, c);
	return true;
}

static bool client_cancels(struct world *w, struct client *c)
{
	struct client_message m;

	if (!w->p->cancels || c->state != CLIENT_ACTIVE || !c->waiter.pool || c->left || c->n_cancelled == CANCELS || !chance(w, 4))
		return false;
	if (!message_at(w, c, &m) || m.have < m.len || m.type == 'S' || m.type == 'X')
		return false;
	if (!session_cancel_waiting(&c->s, &m))
		return false;
	trace(w, "client %zu is cancelled in line\n", client_no(w, c));
	counts[COUNT_CANCELLED]++;
	pool_unwait(&c->waiter);
	c->cancelled[c->n_cancelled++] = c->n_messages;
	taken(c, &m, true);
	c->runnable = true;
	pools_serve(w, pool_of(w, c));
	return true;
}

static bool conn_works(struct world *w, struct conn *b)
{
	size_t n = buf_len(&b->out);
	bool any = n;

	if (b->state != CONN_READY || b->dying)
		return false;
	if (n) {
		n = some(w, n);
		buf_add(&b->m.in, buf_head(&b->out), n);
		buf_consume(&b->out, n);
	}
	while (model_turn(&b->m)) {
		any = true;
		if (chance(w, 2))
			break;
	}
	if (*b->m.complaint)
		fail(w, "server %zu: %s", conn_no(w, b), b->m.complaint);
	return any;
}

static bool conn_answers(struct world *w, struct conn *b)
{
	size_t n = buf_len(&b->m.out);

	if (b->state != CONN_READY || !n)
		return false;
	n = some(w, n);
	buf_add(&b->in, buf_head(&b->m.out), n);
	buf_consume(&b->m.out, n);
	conn_pump(w, b);
	return true;
}

static bool conn_moves(struct world *w, struct conn *b)
{
	struct pooled *p = (struct pooled *)b->node.pool;

	switch (b->state) {
	case CONN_OPENING:
		conn_opened(w, b);
		return true;
	case CONN_PARTING:
		conn_free(b);
		pools_serve(w, p);
		return true;
	case CONN_READY:
		if (!b->dying || buf_len(&b->m.out) || buf_len(&b->in))
			return false;
		conn_close(w, b, "died");
		pools_serve(w, p);
		return true;
	case CONN_FREE:
		break;
	}
	return false;
}

/* The process ends; with or without a word. What it has said so far still arrives. */
static void conn_dies(struct world *w, struct conn *b)
{
	if (b->state != CONN_READY || b->dying)
		return;
	trace(w, "server %zu dies\n", conn_no(w, b));
	counts[COUNT_DIED]++;
	b->dying = true;
	buf_reset(&b->m.in);
	if (chance(w, 2))
		model_die(&b->m);
}

/* The janitor's round. */
static bool serve_all(struct world *w)
{
	int had = w->database.count, closing = 0;

	for (size_t i = 0; i < w->p->n_pools; i++)
		closing -= w->pools[i].pool.n_closing;
	for (size_t i = 0; i < w->p->n_pools; i++)
		pools_serve(w, &w->pools[i]);
	for (size_t i = 0; i < w->p->n_pools; i++)
		closing += w->pools[i].pool.n_closing;
	return closing || w->database.count != had;
}

/* Time goes on where nothing else does: a retry is due, a reserve may be used. */
static bool clock_helps(struct world *w)
{
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < w->p->n_pools; i++) {
		struct pool *p = &w->pools[i].pool;
		const struct pool_waiter *first = TAILQ_FIRST(&p->waiting);

		if (p->n_waiting && p->failures && p->retry_at_us > w->now_us && p->retry_at_us < next)
			next = p->retry_at_us;
		if (first && p->reserve && first->since_us + p->reserve_after_us > w->now_us && first->since_us + p->reserve_after_us < next)
			next = first->since_us + p->reserve_after_us;
	}
	if (next == INT64_MAX)
		return false;
	w->now_us = next;
	serve_all(w);
	return true;
}

static bool something(struct world *w)
{
	size_t places = 3 * w->p->n_clients + 3 * BACKENDS, from = rng_below(&w->rng, (uint32_t)places);

	w->now_us += rng_below(&w->rng, 2000);
	if (w->p->deaths && chance(w, 40))
		conn_dies(w, &w->conns[rng_below(&w->rng, 4)]);
	for (size_t i = 0; i < places; i++) {
		size_t at = (from + i * 11) % places; /* 11 divides no number of places there is */
		struct client *c = at < 3 * w->p->n_clients ? &w->clients[at / 3] : NULL;
		struct conn *b = c ? NULL : &w->conns[at / 3 - w->p->n_clients];

		if (b && b->state == CONN_FREE)
			continue;
		if (b ? (at % 3 == 0 ? conn_works(w, b) : at % 3 == 1 ? conn_answers(w, b) : conn_moves(w, b)) :
			(at % 3 == 0 ? client_sends(w, c) : at % 3 == 1 ? client_vanishes(w, c, false) : client_cancels(w, c)))
			return true;
	}
	for (size_t i = 0; i < w->p->n_clients; i++)
		if (client_vanishes(w, &w->clients[i], true))
			return true;
	return serve_all(w) || clock_helps(w);
}

/* ---- what must hold at every instant ---- */

static void pool_holds(struct world *w, struct pooled *p)
{
	const struct pool *q = &p->pool;
	int counted[5] = { 0 };

	for (struct conn *b = w->conns; b < w->conns + BACKENDS; b++)
		if (b->state != CONN_FREE && b->node.pool == q)
			counted[b->node.place]++;
	if (counted[PLACE_OPENING] != q->n_opening || counted[PLACE_IDLE] != q->n_idle || counted[PLACE_ACTIVE] != q->n_active ||
	    counted[PLACE_CLOSING] != q->n_closing)
		fail(w, "a pool's counts are not what it has");
	if (pool_backends(q) > q->size + q->reserve)
		fail(w, "a pool has %d backends, allowed are %d", pool_backends(q), q->size + q->reserve);
	if (q->n_waiting && q->n_idle)
		fail(w, "a client waits and a backend is idle");
}

static void client_holds(struct world *w, struct client *c)
{
	if (c->state != CLIENT_ACTIVE)
		return;
	if (c->conn && session_releasable(&c->s) && !c->runnable && !c->left && !c->conn->left && !buf_len(&c->in))
		fail(w, "client %zu keeps a backend for nothing", client_no(w, c));
	if (c->conn && c->conn->client != c)
		fail(w, "client %zu and its backend don't agree", client_no(w, c));
	if (c->s.pins && !c->conn)
		fail(w, "client %zu is pinned to nothing", client_no(w, c));
}

static void invariants(struct world *w)
{
	int all = 0;

	for (size_t i = 0; i < w->p->n_pools; i++) {
		pool_holds(w, &w->pools[i]);
		all += pool_backends(&w->pools[i].pool);
	}
	if (all != w->database.count || (w->database.max > 0 && all > w->database.max))
		fail(w, "%d backends, counted %d, allowed %d", all, w->database.count, w->database.max);
	for (size_t i = 0; i < w->p->n_clients; i++)
		client_holds(w, &w->clients[i]);
}

/* ---- beside what it would have been alone ---- */

static void alone(struct world *w, struct client *c, const struct sim_client *program)
{
	struct buf all = { 0 };
	size_t message = 0;

	for (size_t u = 0; u < program->n_units; u++)
		script_put(&all, program->units[u]);
	script_put(&all, ENDING);
	for (size_t at = 0; at < buf_len(&all); message++) {
		size_t len = 1 + be32(buf_head(&all) + at + 1);

		for (size_t i = 0; i < c->n_cancelled; i++)
			if (c->cancelled[i] == message)
				c->alone.cancelled = true;
		buf_add(&c->alone.in, buf_head(&all) + at, len);
		model_turn(&c->alone);
		at += len;
	}
	buf_release(&all);
	counts[COUNT_STATEMENTS] += c->alone.statements;
	counts[COUNT_MESSAGES] += message;
	if (*c->alone.complaint)
		fail(w, "client %zu alone: %s", client_no(w, c), c->alone.complaint);
}

/* The messages of a transcript, ParameterStatus put before the ReadyForQuery they come before, the last of each name, by
 * name: in which order they are told is nobody's to rely on. As PostgreSQL 13 tells them (at_once), one that says what is
 * known is left out: there a value goes to and fro within a statement. */
struct message {
	const uint8_t *at;
	size_t len;
};

enum { MESSAGES = 4096 };

struct transcript {
	size_t n;
	struct message m[MESSAGES];
};

static int by_name(const void *a, const void *b)
{
	return strcmp((const char *)((const struct message *)a)->at + WIRE_HEAD, (const char *)((const struct message *)b)->at + WIRE_HEAD);
}

static bool known(const struct settings *told, const struct message *m)
{
	const char *name = (const char *)m->at + WIRE_HEAD, *value = settings_get(told, name);

	return value && !strcmp(value, name + strlen(name) + 1);
}

static void transcript_of(struct transcript *t, const struct buf *b, const struct settings *greeted, bool at_once)
{
	const struct settings *told = settings_retain(greeted);
	struct message statuses[64];
	size_t n_statuses = 0;

	t->n = 0;
	for (size_t at = 0; at + WIRE_HEAD <= buf_len(b) && t->n + 64 < MESSAGES;) {
		const uint8_t *m = buf_head(b) + at;
		size_t len = 1 + be32(m + 1);

		if (at + len > buf_len(b))
			break;
		at += len;
		if (*m == 'S') {
			size_t i = 0;

			while (i < n_statuses && strcmp((const char *)statuses[i].at + WIRE_HEAD, (const char *)m + WIRE_HEAD))
				i++;
			if (i < n_statuses || n_statuses < 64)
				statuses[i] = (struct message){ m, len };
			n_statuses += i == n_statuses && i < 64;
			continue;
		}
		if (*m == 'Z') {
			qsort(statuses, n_statuses, sizeof *statuses, by_name);
			for (size_t i = 0; i < n_statuses; i++) {
				const char *name = (const char *)statuses[i].at + WIRE_HEAD;

				if (at_once && known(told, &statuses[i]))
					continue;
				settings_set(&told, name, name + strlen(name) + 1);
				t->m[t->n++] = statuses[i];
			}
			n_statuses = 0;
		}
		t->m[t->n++] = (struct message){ m, len };
	}
	settings_release(told);
}

static bool same(const struct message *a, const struct message *b)
{
	return a->len == b->len && !memcmp(a->at, b->at, a->len);
}

/* The one error that a direct connection does not give: the role to be restored is no more. */
static bool not_restored(const struct world *w, const struct message *m)
{
	const char *text = *m->at == 'E' ? report_field(m->at + WIRE_HEAD, m->len - WIRE_HEAD, 'M') : NULL;

	return text && w->cluster.roles_gone && !strncmp(text, "could not restore", 17);
}

static void compare(struct world *w, struct client *c)
{
	static struct transcript got, want;
	bool whole = !c->vanished && !c->fatal;

	if (whole && buf_len(&c->out) == buf_len(&c->alone.out) && !memcmp(buf_head(&c->out), buf_head(&c->alone.out), buf_len(&c->out)))
		return;
	transcript_of(&got, &c->out, c->s.base_reported, w->p->at_once);
	transcript_of(&want, &c->alone.out, c->s.base_reported, w->p->at_once);
	for (size_t i = 0; i < got.n; i++) {
		if (not_restored(w, &got.m[i])) {
			counts[COUNT_NOT_RESTORED]++;
			return;
		}
		if (c->fatal && i + 1 == got.n && *got.m[i].at == 'E' && !strcmp(report_field(got.m[i].at + WIRE_HEAD, got.m[i].len - WIRE_HEAD, 'V'), "FATAL"))
			return;
		if (i >= want.n || !same(&got.m[i], &want.m[i])) {
			fail(w, "client %zu reads something else than alone, at its message %zu", client_no(w, c), i);
			return;
		}
	}
	if (whole && got.n != want.n)
		fail(w, "client %zu reads %zu messages, alone %zu", client_no(w, c), got.n, want.n);
}

/* ---- a play ---- */

static void start_with(struct client *c, const char *start)
{
	char copy[SIM_START_TEXT], *at = copy, *one;

	snprintf(copy, sizeof copy, "%s", start);
	while ((one = strsep(&at, ","))) {
		char *value = strchr(one, '=');

		if (!value)
			continue;
		*value++ = 0;
		session_start_with(&c->s, one, value);
		model_start_with(&c->alone, one, value);
	}
}

static void client_begins(struct world *w, struct client *c, const struct sim_client *program)
{
	struct pooled *p = pool_of(w, c);

	memset(&c->own, 0, sizeof c->own);
	c->own.reports_at_once = w->p->at_once;
	model_init(&c->alone, &c->own);
	buf_reset(&c->script);
	buf_reset(&c->in);
	buf_reset(&c->out);
	session_init(&c->s, &w->store, &p->counters, &c->out);
	c->s.generation = &p->generation;
	c->s.carry = true;
	start_with(c, program->start);
	model_greet(&c->alone);
	buf_reset(&c->alone.out);
	c->state = CLIENT_LOGIN;
	c->conn = NULL;
	c->left = c->n_messages = c->n_cancelled = 0;
	c->drop = c->runnable = c->fatal = c->vanished = false;
	memset(&c->waiter, 0, sizeof c->waiter);
	for (size_t u = 0; u < program->n_units && (int)u != program->vanishes; u++)
		script_put(&c->script, program->units[u]);
	c->vanishes = program->vanishes >= 0;
	if (!c->vanishes)
		script_put(&c->script, ENDING);
	p->n_clients++;
}

static void world_begins(struct world *w, const struct sim_program *p)
{
	if (!effects)
		effects = effects_memory_new(4 << 20);
	w->store = (struct session_store){ .settings = settings_store_new(), .stmts = stmt_store_new(), .effects = effects };
	w->rng = (struct rng){ p->schedule };
	w->now_us = 1000000;
	w->steps = 0;
	w->cluster = (struct model_cluster){ .reports_at_once = p->at_once };
	w->database = (struct pool_limit){ .max = p->limit };
	for (size_t i = 0; i < p->n_pools; i++) {
		memset(&w->pools[i], 0, sizeof w->pools[i]);
		pool_init(&w->pools[i].pool, &w->database, &w->pools[i].user);
		w->pools[i].pool.size = p->size;
		w->pools[i].pool.reserve = p->reserve;
		w->pools[i].pool.reserve_after_us = 100000;
	}
	for (size_t i = 0; i < p->n_clients; i++)
		client_begins(w, &w->clients[i], &p->clients[i]);
}

/* Everything is given back, and nothing is kept: the stores must be empty but for the empty settings. */
static void world_ends(struct world *w)
{
	for (size_t i = 0; i < w->p->n_clients; i++) {
		struct client *c = &w->clients[i];

		if (c->s.backend)
			session_unlink(&c->s);
		pool_unwait(&c->waiter);
		session_release(&c->s);
	}
	for (struct conn *b = w->conns; b < w->conns + BACKENDS; b++)
		if (b->state != CONN_FREE)
			conn_free(b);
	for (size_t i = 0; i < w->p->n_pools; i++)
		counts[COUNT_LOCAL_ANSWER] += w->pools[i].counters.local_answers, counts[COUNT_FLIGHT] += w->pools[i].counters.flights;
	if (w->database.count)
		fail(w, "%d backends are counted that are not there", w->database.count);
	if (stmt_store_count(w->store.stmts))
		fail(w, "%zu statements are kept that nobody has", stmt_store_count(w->store.stmts));
	if (settings_store_count(w->store.settings) != 1)
		fail(w, "%zu settings are kept that nobody has", settings_store_count(w->store.settings) - 1);
	if (!w->result->failed || !stmt_store_count(w->store.stmts))
		stmt_store_free(w->store.stmts);
	if (settings_store_count(w->store.settings) == 1)
		settings_store_free(w->store.settings);
}

static void must_be_over(struct world *w)
{
	for (size_t i = 0; i < w->p->n_clients; i++) {
		struct client *c = &w->clients[i];

		if (c->state != CLIENT_GONE)
			fail(w, "client %zu waits for ever%s%s", i, c->waiter.pool ? " in line" : "", c->conn ? " with a backend" : "");
	}
}

void world_play(const struct sim_program *p, struct sim_result *result, FILE *f)
{
	struct world *w = &world;

	result->failed = false;
	w->p = p;
	w->result = result;
	w->trace = f;
	world_begins(w, p);
	while (!result->failed && w->steps++ < STEPS_MAX && something(w)) {
		runnable_clients(w);
		invariants(w);
	}
	if (w->steps >= STEPS_MAX)
		fail(w, "no end in sight");
	if (!result->failed)
		must_be_over(w);
	for (size_t i = 0; i < p->n_clients; i++) {
		alone(w, &w->clients[i], &p->clients[i]);
		if (!result->failed)
			compare(w, &w->clients[i]);
	}
	world_ends(w);
}

void world_transcripts(const struct sim_program *p, FILE *f)
{
	for (size_t i = 0; i < p->n_clients; i++) {
		fprintf(f, "client %zu read:\n", i);
		print_all(f, &world.clients[i].out, print_told, "\t");
		fprintf(f, "client %zu alone would have read:\n", i);
		print_all(f, &world.clients[i].alone.out, print_told, "\t");
	}
}

void world_print_counts(FILE *f)
{
	for (size_t i = 0; i < COUNTS; i++) {
		bool pin = i >= COUNT_PIN && i <= COUNT_PIN_LAST;

		fprintf(f, "  %s%-*s %12llu\n", pin ? "pin: " : "", pin ? 31 : 36, pin ? pin_reason_name(1u << (i - COUNT_PIN)) : count_names[i],
			(unsigned long long)counts[i]);
	}
}

void world_free(void)
{
	for (size_t i = 0; i < SIM_CLIENTS; i++) {
		buf_release(&world.clients[i].script);
		buf_release(&world.clients[i].in);
		buf_release(&world.clients[i].out);
		model_release(&world.clients[i].alone);
	}
	for (size_t i = 0; i < BACKENDS; i++) {
		buf_release(&world.conns[i].in);
		buf_release(&world.conns[i].out);
		model_release(&world.conns[i].m);
	}
	effects_memory_free(effects);
	effects = NULL;
	model_forget_texts();
}
