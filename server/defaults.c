#include "server/defaults.h"

#include <stdlib.h>
#include <string.h>

#include "parser/reader.h"
#include "server/backend_internal.h"
#include "server/client.h"
#include "server/vacate.h"

/* 'r' before the value: it comes from ALTER ROLE or DATABASE. Others change for everybody, when the server's files are
 * read again. Custom settings are in no list: those that are named for this role or database are asked for. */
static const char defaults_sql[] =
	"SELECT pg_catalog.lower(name), (CASE WHEN source OPERATOR(pg_catalog.=) ANY"
	" ('{global,database,user,\"database user\"}'::pg_catalog.text[]) THEN 'r' ELSE 'd' END)"
	" OPERATOR(pg_catalog.||) COALESCE(reset_val, '') FROM pg_catalog.pg_settings"
	" WHERE context OPERATOR(pg_catalog.=) 'user'"
	" OR (context OPERATOR(pg_catalog.=) 'superuser' AND pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on')"
	" UNION ALL SELECT pg_catalog.lower(n), 'r' OPERATOR(pg_catalog.||) COALESCE(pg_catalog.current_setting(n, true), '')"
	" FROM (SELECT pg_catalog.split_part(c, '=', 1) AS n FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c"
	" WHERE (s.setdatabase OPERATOR(pg_catalog.=) 0 OR s.setdatabase OPERATOR(pg_catalog.=)"
	" (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))"
	" AND (s.setrole OPERATOR(pg_catalog.=) 0 OR s.setrole OPERATOR(pg_catalog.=)"
	" (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) SESSION_USER))) AS named"
	" WHERE pg_catalog.strpos(n, '.') OPERATOR(pg_catalog.>) 0 OR n OPERATOR(pg_catalog.=) 'role'";

static bool carries(const struct backend_conn *b)
{
	return b->pool->mode != POOL_SESSION && b->pool->carries;
}

bool defaults_current(const struct backend_conn *b)
{
	return b->defaults_generation == b->pool->defaults_generation;
}

static void begin(struct backend_conn *b, enum conn_state state, const char *sql)
{
	b->learning = settings_empty(b->worker->store.settings);
	conn_enter_state(b, state);
	conn_send_query(b, sql);
}

bool defaults_ask(struct backend_conn *b)
{
	if (!carries(b) || !defaults_current(b) || b->pool->defaults_learned == b->pool->defaults_generation)
		return true;
	begin(b, CONN_LEARN, defaults_sql);
	return false;
}

void defaults_row(struct backend_conn *b, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	char *text[2] = { NULL, NULL };

	if (!b->learning || reader_u16(&r) != 2)
		return;
	for (int i = 0; i < 2; i++) {
		uint32_t n = reader_u32(&r);
		const uint8_t *p = n == UINT32_MAX ? NULL : reader_bytes(&r, n);

		if (p && !(text[i] = strndup((const char *)p, n)))
			abort();
	}
	if (text[0] && text[1])
		settings_set(&b->learning, text[0], text[1]);
	free(text[0]);
	free(text[1]);
}

/* ---- another generation ---- */

struct keeping {
	const struct settings *kept;
};

static void keep_changed(void *arg, const char *name, const char *was, const char *now)
{
	struct keeping *k = arg;

	if (!((was && *was == 'r') || (now && *now == 'r')) || !strcmp(name, "session_authorization") ||
	    !strcmp(name, "idle_session_timeout"))
		return;
	if (was && now && !strcmp(was + 1, now + 1))
		return;
	settings_set(&k->kept, name, was ? was + 1 : !strcmp(name, "role") ? "none" : "");
}

/* Logged in, or about to be told that it is, under other defaults than the pool's new ones. */
static bool is_older(const struct client *c, const struct db_pool *p)
{
	if (c->pool != p || !c->have_session)
		return false;
	if (c->state == CLIENT_ACTIVE)
		return c->defaults_generation != p->defaults_generation;
	return c->state == CLIENT_WELCOME && c->backend && !defaults_current(c->backend);
}

static void keep_for_clients(struct db_pool *p, const struct settings *was, const struct settings *now)
{
	struct keeping k = { .kept = settings_empty(p->worker->store.settings) };
	struct client *c;

	settings_diff(was, now, keep_changed, &k);
	TAILQ_FOREACH (c, &p->worker->clients, in) {
		if (!is_older(c, p))
			continue;
		session_base_kept(&c->session, k.kept);
		c->defaults_generation = p->defaults_generation;
		if (c->line.waiter.pool)
			c->line.waiter.want = c->session.want;
	}
	settings_release(k.kept);
}

void defaults_learned(struct backend_conn *b)
{
	struct db_pool *p = b->pool;
	const struct settings *now = b->learning;

	b->learning = NULL;
	if (!now)
		return;
	if (!defaults_current(b) || p->defaults_learned == p->defaults_generation || !settings_size(now)) {
		settings_release(now);
		return;
	}
	p->database->generation++;
	if (p->defaults)
		keep_for_clients(p, p->defaults, now);
	settings_release(p->defaults);
	p->defaults = now;
	p->defaults_learned = p->defaults_generation;
}

void defaults_outdated(struct db_pool *p)
{
	p->defaults_generation++;
	settings_release(p->greeting);
	p->greeting = NULL;
}

void defaults_release(struct db_pool *p)
{
	settings_release(p->defaults);
	settings_release(p->greeting);
}

void defaults_changed(struct client *c)
{
	struct database *d;

	TAILQ_FOREACH (d, &c->worker->databases, in)
		if (vacate_same_server(c->worker, c, d))
			worker_renew(c->worker, d);
}

/* ---- connect_query ---- */

static void put_name(struct buf *q, const char *name)
{
	buf_text(q, " UNION ALL SELECT E'");
	for (int pass = 0; pass < 2; pass++) {
		for (const char *at = name; *at; at++) {
			if (*at == '\'' || *at == '\\')
				buf_u8(q, (uint8_t)*at);
			buf_u8(q, (uint8_t)*at);
		}
		buf_text(q, pass ? "', true)" : "', pg_catalog.current_setting(E'");
	}
}

/* Those that no list shows are asked for by the names that the text says. */
static void put_names(struct backend_conn *b, struct buf *q, const char *text)
{
	const struct effects *e = effects_of(b->worker->store.effects, text, strlen(text), LEX_PLAIN);

	for (size_t i = 0; i < e->n; i++) {
		const struct stmt_effects *row = &e->stmts[i];

		if (row->kind == STMT_SET && row->name)
			put_name(q, row->name);
		for (size_t j = 0; j < row->n_touched; j++)
			if (row->touched[j].name && !row->touched[j].local)
				put_name(q, row->touched[j].name);
	}
	effects_release(e);
}

bool defaults_ask_greeting(struct backend_conn *b)
{
	struct buf q = { 0 };

	if (!carries(b))
		return true;
	buf_text(&q, "SELECT pg_catalog.lower(name), pg_catalog.current_setting(name) FROM pg_catalog.pg_settings"
		     " WHERE source OPERATOR(pg_catalog.=) 'session'"
		     " AND NOT pg_catalog.starts_with(name, 'transaction_')");
	put_names(b, &q, b->pool->database->conf->connect_query);
	buf_u8(&q, 0);
	begin(b, CONN_GREETED, (const char *)buf_head(&q));
	buf_release(&q);
	return false;
}

void defaults_greeting_learned(struct backend_conn *b)
{
	if (!b->learning)
		return;
	settings_assign(&b->facts.applied, b->learning);
	settings_assign(&b->facts.have, b->learning);
	settings_release(b->greeting);
	b->greeting = b->learning;
	b->learning = NULL;
	if (!defaults_current(b))
		return;
	settings_release(b->pool->greeting);
	b->pool->greeting = settings_retain(b->greeting);
}
