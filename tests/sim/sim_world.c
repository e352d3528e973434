/* A play: what happens next, from a seed; what must hold at every instant; the beginning and the end. */
#include "tests/sim/sim_internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "parser/reader.h"
#include "parser/wire.h"
#include "tests/script.h"

static const char *const count_names[COUNTS] = {
	[COUNT_NEXT] = "client's message: next", "client's message: streams", "client's message: links", "client's message: held",
	"client's message: more", "client's message: dropped", "client's message: vacates", "client's message: end", "client's message: refused",
	[COUNT_FORWARD] = "reply: forwarded", "reply: swallowed", "reply: wanted whole", "replies that take no thought",
	[COUNT_TASK] = "task: apply", "task: prepare", "task: observe", "task: login", "task: forget", "task: undo", "task: notify", "task: learn",
	"task: names", "task: begin", "task: sequence", "task: settle", "task: clear", "task: lay",
	[COUNT_PIN_ENDED] = "pins that ended", "waited in line", "backends opened", "openings failed", "backends given back", "backends closed",
	"backends evicted", "backends that died", "clients that vanished", "queries cancelled in line", "BEGINs held back",
	"backends evicted for what they have seen", "our statements that failed",
	"notifications told", "notifications that had to be", "55000 for a number", "notifications of one's own", "markers", "LISTEN not shared for now", "listening servers that died",
	"statements refused by rule", "pins refused by limit", "settings not restored", "clients told that all is lost",
	"answered without a backend", "settings in flight", "messages", "statements run", "messages that take no thought, by the run",
};

uint64_t counts[COUNTS];

static struct world world;
static struct effects_memory *effects;

void world_fail(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->result->failed)
		return;
	w->result->failed = true;
	va_start(ap, fmt);
	vsnprintf(w->result->why, sizeof w->result->why, fmt, ap);
	va_end(ap);
}

size_t client_no(const struct world *w, const struct client *c)
{
	return (size_t)(c - w->clients);
}

size_t conn_no(const struct world *w, const struct conn *b)
{
	return (size_t)(b - w->conns);
}

bool world_chance(struct world *w, uint32_t of)
{
	return !rng_below(&w->rng, of);
}

void world_trace(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->trace)
		return;
	va_start(ap, fmt);
	vfprintf(w->trace, fmt, ap);
	va_end(ap);
}

/* ---- what happens ---- */

/* How many of n bytes arrive now. */
size_t some(struct world *w, size_t n)
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
	if (c->state != CLIENT_ACTIVE || buf_len(&c->script) || !c->vanishes || (!now && !world_chance(w, 4)))
		return false;
	world_trace(w, "client %zu vanishes\n", client_no(w, c));
	counts[COUNT_VANISHED]++;
	c->vanished = true;
	client_gone(w, c);
	return true;
}

static bool client_cancels(struct world *w, struct client *c)
{
	struct client_message m;

	if (!w->p->cancels || c->state != CLIENT_ACTIVE || !c->waiter.pool || c->left || c->n_cancelled == CANCELS || !world_chance(w, 4))
		return false;
	if (!client_message_at(w, c, &m) || m.have < m.len || m.type == 'S' || m.type == 'X')
		return false;
	if (!session_cancel_waiting(&c->s, &m))
		return false;
	world_trace(w, "client %zu is cancelled in line\n", client_no(w, c));
	counts[COUNT_CANCELLED]++;
	pool_unwait(&c->waiter);
	c->cancelled[c->n_cancelled++] = c->n_messages;
	client_taken(c, &m, true);
	c->runnable = true;
	pools_serve(w, pool_of(w, c));
	return true;
}

/* What pgporter does on its own there fails, once in a while. */
static void faults(struct world *w, struct conn *b)
{
	if (!w->p->faults || !b->client || b->client->n_failures + 2 > FAILURES || !model_next_is_ours(&b->m) || !world_chance(w, 8))
		return;
	world_trace(w, "server %zu is out of memory\n", conn_no(w, b));
	counts[COUNT_FAULT]++;
	b->m.faulty = b->faulty = true;
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
	while (faults(w, b), model_turn(&b->m)) {
		any = true;
		if (world_chance(w, 2))
			break;
	}
	if (*b->m.complaint)
		world_fail(w, "server %zu: %s", conn_no(w, b), b->m.complaint);
	while (w->n_senders < w->cluster.n_log)
		w->sender[w->n_senders++] = b->client ? client_no(w, b->client) : SIM_CLIENTS;
	return (b->client && model_hears(&b->m)) || any;
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
	world_trace(w, "server %zu dies\n", conn_no(w, b));
	counts[COUNT_DIED]++;
	b->dying = true;
	buf_reset(&b->m.in);
	if (world_chance(w, 2))
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

/* When somebody may lose patience with backends that have seen what it does not know, or a fresh one may be opened. */
static int64_t patient_until(const struct world *w, const struct pool *p)
{
	int64_t next = w->now_us < p->fresh_at_us ? w->now_us + p->fresh_every_us : INT64_MAX;
	const struct pool_waiter *waiter;

	TAILQ_FOREACH (waiter, &p->waiting, in)
		if (waiter->since_us + PATIENCE_US > w->now_us && waiter->since_us + PATIENCE_US < next)
			next = waiter->since_us + PATIENCE_US;
	return next;
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
		if (first && patient_until(w, p) < next)
			next = patient_until(w, p);
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
	if (world_chance(w, 4) && listening_moves(w))
		return true;
	if (w->p->deaths && world_chance(w, 40))
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
	return listening_moves(w) || serve_all(w) || clock_helps(w);
}

/* ---- what must hold at every instant ---- */

/* Somebody waits though an idle backend would do, but for one that is better left to others. */
static bool waits_for_nothing(const struct world *w, const struct pool *p)
{
	const struct pool_waiter *waiter;
	const struct pool_backend *b;

	TAILQ_FOREACH (waiter, &p->waiting, in)
		TAILQ_FOREACH (b, &p->idle, in)
			if (!waiter->knows || (settings_within(b->facts->seen, waiter->knows) &&
					       (settings_within(waiter->knows, b->facts->seen) || w->now_us - waiter->since_us >= PATIENCE_US)))
				return true;
	return false;
}

static int pins_counted(struct world *w, const struct pooled *p)
{
	int n = 0;

	for (size_t i = 0; i < w->p->n_clients; i++)
		n += pool_of(w, &w->clients[i]) == p && w->clients[i].s.pin_counted;
	return n;
}

static void pool_holds(struct world *w, struct pooled *p)
{
	const struct pool *q = &p->pool;
	int counted[5] = { 0 };

	for (struct conn *b = w->conns; b < w->conns + BACKENDS; b++)
		if (b->state != CONN_FREE && b->node.pool == q)
			counted[b->node.place]++;
	if (counted[PLACE_OPENING] != q->n_opening || counted[PLACE_IDLE] != q->n_idle || counted[PLACE_ACTIVE] != q->n_active ||
	    counted[PLACE_CLOSING] != q->n_closing)
		world_fail(w, "a pool's counts are not what it has");
	if (pool_backends(q) > q->size + q->reserve)
		world_fail(w, "a pool has %d backends, allowed are %d", pool_backends(q), q->size + q->reserve);
	if (p->pins.count != pins_counted(w, p) || (p->pins.max && p->pins.count > p->pins.max))
		world_fail(w, "a pool counts %d pins, has %d, allowed are %d", p->pins.count, pins_counted(w, p), p->pins.max);
	if (waits_for_nothing(w, q))
		world_fail(w, "a client waits and a backend is idle");
}

static void client_holds(struct world *w, struct client *c)
{
	if (c->state != CLIENT_ACTIVE)
		return;
	if (c->conn && session_releasable(&c->s) && !c->runnable && !c->left && !c->conn->left && !buf_len(&c->in))
		world_fail(w, "client %zu keeps a backend for nothing", client_no(w, c));
	if (c->conn && c->conn->client != c)
		world_fail(w, "client %zu and its backend don't agree", client_no(w, c));
	if (c->s.pins && !c->conn)
		world_fail(w, "client %zu is pinned to nothing", client_no(w, c));
	for (int i = 0; i < PIN_REASONS; i++)
		if (c->s.pins >> i & 1 && rules_kind_of_pin(1u << i) >= 0 && w->rules.refuse >> rules_kind_of_pin(1u << i) & 1)
			world_fail(w, "client %zu is pinned by what a rule refuses: %s", client_no(w, c), pin_reason_name(1u << i));
}

static void world_holds(struct world *w)
{
	int all = 0;

	for (size_t i = 0; i < w->p->n_pools; i++) {
		pool_holds(w, &w->pools[i]);
		all += pool_backends(&w->pools[i].pool);
	}
	if (all != w->database.count || (w->database.max > 0 && all > w->database.max))
		world_fail(w, "%d backends, counted %d, allowed %d", all, w->database.count, w->database.max);
	for (size_t i = 0; i < w->p->n_clients; i++)
		client_holds(w, &w->clients[i]);
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

	model_cluster_init(&c->own, w->p->at_once);
	model_init(&c->alone, &c->own);
	c->alone.pid = 1000 + (uint32_t)client_no(w, c);
	c->looked = c->n_turns = 0;
	c->turns[0] = (struct turn){ .said = SIZE_MAX, .answered = SIZE_MAX };
	c->gone_at = 0;
	c->listened_itself = false;
	buf_reset(&c->script);
	buf_reset(&c->in);
	buf_reset(&c->out);
	session_init(&c->s, &w->store, &p->counters, &c->out);
	c->s.generation = &p->generation;
	c->s.carry = true;
	c->s.channels = w->listening.channels;
	session_rules_set(&c->s, &w->rules, &p->pins, true);
	start_with(c, program->start);
	model_greet(&c->alone);
	buf_reset(&c->alone.out);
	c->state = CLIENT_LOGIN;
	c->conn = NULL;
	c->left = c->n_messages = c->n_cancelled = c->n_failures = 0;
	buf_reset(&c->failed);
	c->drop = c->refusing = c->runnable = c->fatal = c->vanished = false;
	memset(&c->waiter, 0, sizeof c->waiter);
	for (size_t u = 0; u < program->n_units && (int)u != program->vanishes; u++)
		script_put(&c->script, program->units[u]);
	c->vanishes = program->vanishes >= 0;
	if (!c->vanishes)
		script_put(&c->script, ENDING);
	p->n_clients++;
}

static void rules_begin(struct world *w)
{
	w->rules = *rules_normal();
	w->rules.database = "d";
	w->rules.user = "u";
	for (int i = 0; i < RULE_KINDS; i++)
		if (w->p->refuse >> i & 1)
			w->rules.action[i] = RULE_REFUSE;
		else if (w->p->pin >> i & 1)
			w->rules.action[i] = RULE_PIN;
	rules_complete(&w->rules);
}

static void world_begins(struct world *w, const struct sim_program *p)
{
	if (!effects)
		effects = effects_memory_new(4 << 20);
	w->store = (struct session_store){ .settings = settings_store_new(), .stmts = stmt_store_new(), .effects = effects };
	w->rng = (struct rng){ p->schedule };
	w->now_us = 1000000;
	w->steps = 0;
	model_cluster_init(&w->cluster, p->at_once);
	w->database = (struct pool_limit){ .max = p->limit };
	w->n_senders = 0;
	w->last_pid = 1;
	listening_begins(w);
	rules_begin(w);
	for (size_t i = 0; i < p->n_pools; i++) {
		memset(&w->pools[i], 0, sizeof w->pools[i]);
		pool_init(&w->pools[i].pool, &w->database, &w->pools[i].user);
		w->pools[i].pool.size = p->size;
		w->pools[i].pins.max = p->max_pins;
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
		session_listen_end(&c->s);
		session_release(&c->s);
	}
	listening_ends(w);
	for (struct conn *b = w->conns; b < w->conns + BACKENDS; b++)
		if (b->state != CONN_FREE)
			conn_free(b);
	for (size_t i = 0; i < w->p->n_pools; i++)
		counts[COUNT_LOCAL_ANSWER] += w->pools[i].counters.local_answers, counts[COUNT_FLIGHT] += w->pools[i].counters.flights;
	if (w->database.count)
		world_fail(w, "%d backends are counted that are not there", w->database.count);
	if (stmt_store_count(w->store.stmts))
		world_fail(w, "%zu statements are kept that nobody has", stmt_store_count(w->store.stmts));
	if (settings_store_count(w->store.settings) != 1)
		world_fail(w, "%zu settings are kept that nobody has", settings_store_count(w->store.settings) - 1);
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
			world_fail(w, "client %zu waits for ever%s%s", i, c->waiter.pool ? " in line" : "", c->conn ? " with a backend" : "");
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
		for (size_t i = 0; i < p->n_clients; i++)
			listening_look(w, &w->clients[i]);
		world_holds(w);
	}
	if (w->steps >= STEPS_MAX)
		world_fail(w, "no end in sight");
	if (!result->failed)
		must_be_over(w);
	for (size_t i = 0; i < p->n_clients; i++) {
		compare_play_alone(w, &w->clients[i], &p->clients[i]);
		if (!result->failed)
			compare_client(w, &w->clients[i]);
		if (!result->failed)
			listening_compare(w, &w->clients[i]);
	}
	world_ends(w);
}

void world_transcripts(const struct sim_program *p, FILE *f)
{
	for (size_t i = 0; i < p->n_clients; i++) {
		fprintf(f, "client %zu read:\n", i);
		words_all(f, &world.clients[i].out, words_told, "\t");
		fprintf(f, "client %zu alone would have read:\n", i);
		words_all(f, &world.clients[i].alone.out, words_told, "\t");
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
		buf_release(&world.clients[i].failed);
		model_release(&world.clients[i].alone);
	}
	for (size_t i = 0; i < BACKENDS; i++) {
		buf_release(&world.conns[i].in);
		buf_release(&world.conns[i].out);
		model_release(&world.conns[i].m);
	}
	buf_release(&world.listening.in);
	model_release(&world.listening.m);
	effects_memory_free(effects);
	effects = NULL;
	model_forget_texts();
}
