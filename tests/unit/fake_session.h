/* tests/unit/fake_session.h — clients with sessions and backends on fake PostgreSQLs (fake_pg.h), moved one message at
 * a time. Scripts are read from text (tests/script.h). What was said comes back as text too. */
#ifndef PGPORTER_TESTS_FAKE_SESSION_H
#define PGPORTER_TESTS_FAKE_SESSION_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "state/session.h"
#include "tests/script.h"
#include "tests/unit/fake_pg.h"

/* ---- messages as text ---- */

static void show_report(struct buf *out, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	const char *code = "", *text = "", *at = "", *value;
	char field;

	while ((field = (char)reader_u8(&r)) && (value = reader_str(&r, NULL))) {
		code = field == 'C' ? value : code;
		text = field == 'M' ? value : text;
		at = field == 'P' ? value : at;
	}
	buf_printf(out, "(%s %s%s%s)", code, text, *at ? " @" : "", at);
}

/* What a server said. */
static char *show_replies(const struct buf *in)
{
	struct buf out = { 0 };
	size_t at = 0;

	while (at < buf_len(in)) {
		const uint8_t *m = buf_head(in) + at, *body = m + WIRE_HEAD;
		size_t len = be32(m + 1) - 4;

		assert_true(at + WIRE_HEAD + len <= buf_len(in));
		buf_printf(&out, "%s%c", at ? " " : "", m[0]);
		if (m[0] == 'Z')
			buf_printf(&out, "(%c)", body[0]);
		else if (m[0] == 'C')
			buf_printf(&out, "(%s)", (const char *)body);
		else if (m[0] == 'S')
			buf_printf(&out, "(%s=%s)", (const char *)body, (const char *)body + strlen((const char *)body) + 1);
		else if (m[0] == 'E' || m[0] == 'N')
			show_report(&out, body, len);
		else if (m[0] == 'D')
			buf_printf(&out, "(%.*s)", (int)(len - 6), (const char *)body + 6);
		at += WIRE_HEAD + len;
	}
	buf_u8(&out, 0);
	return (char *)out.data;
}

/* What a client said. */
static char *show_requests(const struct buf *in)
{
	struct buf out = { 0 };
	size_t at = 0;

	while (at < buf_len(in)) {
		const uint8_t *m = buf_head(in) + at;
		const char *body = (const char *)m + WIRE_HEAD;
		size_t len = be32(m + 1) - 4;
		struct reader r = reader_of(body, len);
		uint16_t n;

		buf_printf(&out, "%s%c", at ? " " : "", m[0]);
		if (m[0] == 'Q' || m[0] == 'E')
			buf_printf(&out, "(%s)", body);
		else if (m[0] == 'P')
			buf_printf(&out, "(%s,%s)", body, body + strlen(body) + 1);
		else if (m[0] == 'D' || m[0] == 'C')
			buf_printf(&out, "(%s)", body);
		else if (m[0] == 'B') {
			buf_printf(&out, "(%s,%s", body, body + strlen(body) + 1);
			reader_str(&r, NULL);
			reader_str(&r, NULL);
			n = reader_u16(&r);
			reader_bytes(&r, n * 2);
			for (n = reader_u16(&r); n; n--) {
				uint32_t l = reader_u32(&r);

				if (l == UINT32_MAX)
					buf_text(&out, ",NULL");
				else
					buf_printf(&out, ",%.*s", (int)l, (const char *)reader_bytes(&r, l));
			}
			buf_u8(&out, ')');
		}
		at += WIRE_HEAD + len;
	}
	buf_u8(&out, 0);
	return (char *)out.data;
}

/* ---- the world ---- */

enum { CLIENTS = 4, BACKENDS = 3 };

struct server {
	struct backend facts;
	struct buf out, sent; /* on its way; all that was sent since the last look */
	struct pg pg;
	size_t partial; /* of the first reply, so much has been forwarded */
	bool partial_swallowed, opened;
};

struct client {
	struct session s;
	struct buf in, out;
	struct server *on;
	bool held, waiting, ended;
};

struct world {
	struct session_store store;
	struct session_counters counters;
	uint64_t generation;
	size_t n_clients, n_servers;
	struct client clients[CLIENTS];
	struct server servers[BACKENDS];
	uint32_t (*random)(struct world *w); /* NULL: whole messages, first comes first */
	uint64_t seed;
	bool broken;
	bool half_ends; /* as PostgreSQL 18 does (struct pg) */
	bool forgetful; /* sessions look at every message as if nothing were known from those before it */
	size_t prefer; /* server to link to where it is free */
	uint32_t events;
};

static uint32_t world_random(struct world *w)
{
	w->seed ^= w->seed << 13;
	w->seed ^= w->seed >> 7;
	w->seed ^= w->seed << 17;
	return (uint32_t)(w->seed >> 16);
}

static void server_open(struct world *w, struct server *v)
{
	v->opened = true;
	pg_init(&v->pg);
	v->pg.half_ends = w->half_ends;
	backend_init(&v->facts, w->store.settings, &v->out);
	v->facts.prepared_max = 100;
	backend_reported(&v->facts, "TimeZone", "default");
	backend_reported(&v->facts, "application_name", "default");
}

static void server_close(struct server *v)
{
	backend_release(&v->facts);
	buf_release(&v->out);
	buf_release(&v->sent);
	pg_release(&v->pg);
	memset(v, 0, sizeof *v);
}

static void world_welcome(struct client *c, struct world *w)
{
	const struct settings *told = settings_empty(w->store.settings);
	const char *tz = settings_get(c->s.base, "timezone"), *app = settings_get(c->s.base, "application_name");

	settings_set(&told, "TimeZone", tz ? tz : "default");
	settings_set(&told, "application_name", app ? app : "default");
	session_welcome(&c->s, told);
	settings_release(told);
}

static void world_init(struct world *w, size_t clients, size_t servers)
{
	memset(w, 0, sizeof *w);
	w->store.settings = settings_store_new();
	w->store.stmts = stmt_store_new();
	w->store.effects = effects_memory_new(1 << 20);
	w->n_clients = clients;
	w->n_servers = servers;
	for (size_t i = 0; i < clients; i++) {
		session_init(&w->clients[i].s, &w->store, &w->counters, &w->clients[i].out);
		w->clients[i].s.generation = &w->generation;
		w->clients[i].s.carry = true;
		world_welcome(&w->clients[i], w);
	}
	for (size_t i = 0; i < servers; i++)
		server_open(w, &w->servers[i]);
}

/* Its servers are PostgreSQL 18. */
static __attribute__((unused)) void world_half_ends(struct world *w)
{
	w->half_ends = true;
	for (size_t i = 0; i < w->n_servers; i++)
		w->servers[i].pg.half_ends = true;
}

static void client_start_with(struct world *w, size_t i, const char *name, const char *value)
{
	session_start_with(&w->clients[i].s, name, value);
	world_welcome(&w->clients[i], w);
}

/* Also proves that nothing is kept: the stores must be empty but for the empty settings. */
static void world_release(struct world *w)
{
	for (size_t i = 0; i < w->n_clients; i++) {
		session_unlink(&w->clients[i].s);
		session_release(&w->clients[i].s);
		buf_release(&w->clients[i].in);
		buf_release(&w->clients[i].out);
	}
	for (size_t i = 0; i < w->n_servers; i++)
		if (w->servers[i].opened)
			server_close(&w->servers[i]);
	assert_int_equal(stmt_store_count(w->store.stmts), 0);
	assert_int_equal(settings_store_count(w->store.settings), 1);
	stmt_store_free(w->store.stmts);
	settings_store_free(w->store.settings);
	effects_memory_free(w->store.effects);
}

static void client_parts(struct world *w, struct client *c)
{
	struct server *v = c->on;
	bool clean = session_unlink(&c->s);

	c->on = NULL;
	if (!clean || v->facts.spoilt) {
		server_close(v);
		server_open(w, v);
	}
	for (size_t i = 0; i < w->n_clients; i++)
		w->clients[i].waiting = false;
}

static void client_release_if(struct world *w, struct client *c)
{
	if (c->on && !c->on->partial && session_releasable(&c->s))
		client_parts(w, c);
}

static bool client_link(struct world *w, struct client *c)
{
	size_t from = w->random ? w->random(w) : w->prefer;

	for (size_t i = 0; i < w->n_servers; i++) {
		struct server *v = &w->servers[(from + i) % w->n_servers];

		if (v->facts.session)
			continue;
		c->on = v;
		session_link(&c->s, &v->facts);
		return true;
	}
	return false;
}

static void server_flush(struct server *v)
{
	buf_add(&v->sent, buf_head(&v->out), buf_len(&v->out));
	buf_add(&v->pg.in, buf_head(&v->out), buf_len(&v->out));
	buf_reset(&v->out);
}

/* What only spares work: each message is looked at, each text judged. */
static void session_forgets(struct session *s)
{
	s->ready = false;
	s->unnamed.lex_mode = ~0u;
}

/* Hands the first message to the session. Returns false where there is none or it has to wait. */
static bool client_turn(struct world *w, struct client *c)
{
	struct wire_head head;
	struct client_message m;
	size_t whole;

	if (c->held || c->waiting || c->ended || wire_head(buf_head(&c->in), buf_len(&c->in), 1u << 30, &head) != WIRE_OK)
		return false;
	whole = WIRE_HEAD + head.body_len;
	m = (struct client_message){ .type = head.type, .body = buf_head(&c->in) + WIRE_HEAD, .have = head.body_len, .len = head.body_len };
	if (w->random && head.body_len && w->random(w) % 4 == 0)
		m.have = w->random(w) % head.body_len;
	for (;;) {
		if (w->forgetful)
			session_forgets(&c->s);
		switch (session_from_client(&c->s, &m)) {
		case SESSION_MORE:
			assert_true(m.have < m.len);
			m.have = m.len;
			continue;
		case SESSION_LINK:
			if (client_link(w, c))
				continue;
			c->waiting = true;
			return true;
		case SESSION_VACATE:
			session_vacated(&c->s);
			continue;
		case SESSION_HOLD:
			c->held = true;
			return true;
		case SESSION_STREAM:
			assert_non_null(c->on);
			buf_add(&c->on->out, m.body + m.have, m.len - m.have);
			break;
		case SESSION_NEXT:
		case SESSION_DROP:
			break;
		case SESSION_END:
		case SESSION_REFUSE:
			c->ended = true;
			return true;
		}
		break;
	}
	buf_consume(&c->in, whole);
	if (c->on)
		server_flush(c->on);
	client_release_if(w, c);
	return true;
}

static bool server_turn(struct server *v)
{
	server_flush(v);
	return pg_turn(&v->pg);
}

static struct client *client_of(struct world *w, struct server *v)
{
	for (size_t i = 0; i < w->n_clients; i++)
		if (w->clients[i].on == v)
			return &w->clients[i];
	return NULL;
}

static void reply_done(struct world *w, struct server *v, struct client *c, uint32_t events)
{
	session_reply_done(&c->s);
	w->events |= events;
	if (events & EVENT_BROKEN)
		w->broken = true;
	if (events & EVENT_PROGRESS)
		c->held = false;
	server_flush(v);
	client_release_if(w, c);
}

/* Hands the first reply to the session, at random in two parts. Returns false where there is none. */
static bool reply_turn(struct world *w, struct server *v)
{
	struct client *c = client_of(w, v);
	struct wire_head head;
	struct client_message m;
	uint32_t events = 0;
	enum reply_verdict verdict;

	if (wire_head(buf_head(&v->pg.out), buf_len(&v->pg.out), 1u << 30, &head) != WIRE_OK)
		return false;
	assert_non_null(c); /* a backend at rest says nothing */
	if (v->partial) {
		if (!v->partial_swallowed)
			buf_add(&c->out, buf_head(&v->pg.out) + v->partial, WIRE_HEAD + head.body_len - v->partial);
		buf_consume(&v->pg.out, WIRE_HEAD + head.body_len);
		v->partial = 0;
		reply_done(w, v, c, 0);
		return true;
	}
	m = (struct client_message){ .type = head.type, .body = buf_head(&v->pg.out) + WIRE_HEAD, .have = head.body_len, .len = head.body_len };
	if (w->random && head.body_len && w->random(w) % 2)
		m.have = w->random(w) % head.body_len;
	if (session_plain_row(&c->s, head.type))
		assert_int_equal(c->s.carry ? session_from_backend(&c->s, &m, &events) : REPLY_FORWARD, REPLY_FORWARD);
	verdict = session_from_backend(&c->s, &m, &events);
	if (verdict == REPLY_WHOLE) {
		assert_true(m.have < m.len);
		m.have = m.len;
		verdict = session_from_backend(&c->s, &m, &events);
		assert_int_not_equal(verdict, REPLY_WHOLE);
	}
	if (verdict == REPLY_BROKEN) {
		w->broken = true;
		return false;
	}
	if (verdict == REPLY_FORWARD)
		buf_add(&c->out, buf_head(&v->pg.out), WIRE_HEAD + m.have);
	if (m.have < m.len) {
		v->partial = WIRE_HEAD + m.have;
		v->partial_swallowed = verdict == REPLY_SWALLOW;
		reply_done(w, v, c, events); /* but for session_reply_done(), as the server does it */
		return true;
	}
	buf_consume(&v->pg.out, WIRE_HEAD + head.body_len);
	reply_done(w, v, c, events);
	return true;
}

static bool world_turn(struct world *w)
{
	bool any = false;

	for (size_t i = 0; i < w->n_clients; i++)
		any |= client_turn(w, &w->clients[i]);
	for (size_t i = 0; i < w->n_servers; i++) {
		any |= server_turn(&w->servers[i]);
		any |= !w->broken && reply_turn(w, &w->servers[i]);
	}
	return any;
}

/* Until nothing moves any more. */
static void world_run(struct world *w)
{
	while (!w->broken && world_turn(w))
		;
	assert_false(w->broken);
}

/* A script is played to its end, and what the client read is looked at: nothing may be left that waits. */
static void client_says(struct world *w, size_t i, const char *script, const char *expected)
{
	struct client *c = &w->clients[i];
	char *got;

	script_put(&c->in, script);
	world_run(w);
	got = show_replies(&c->out);
	assert_string_equal(got, expected);
	free(got);
	buf_reset(&c->out);
	assert_int_equal(buf_len(&c->in), 0);
}

static void server_was_told(struct world *w, size_t i, const char *expected)
{
	char *got = show_requests(&w->servers[i].sent);

	assert_string_equal(got, expected);
	free(got);
	buf_reset(&w->servers[i].sent);
}

static void server_forget(struct world *w, size_t i)
{
	buf_reset(&w->servers[i].sent);
}

/* What the client would have read alone on a PostgreSQL of its own. */
static char *alone(struct pg *g, const char *script)
{
	char *said;

	script_put(&g->in, script);
	while (pg_turn(g))
		;
	said = show_replies(&g->out);
	buf_reset(&g->out);
	return said;
}

#endif
