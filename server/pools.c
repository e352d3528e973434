/* Databases, users and pools: from names and the running configuration to state/pool.h's limits and lines, and back to
 * connections when there is something to open or to hand over. */
#include <stdlib.h>
#include <string.h>

#include "auth/secret.h"
#include "parser/must.h"
#include "server/backend_conn.h"
#include "server/catalogue.h"
#include "server/client.h"
#include "server/console.h"
#include "server/defaults.h"
#include "server/listening.h"
#include "server/log.h"
#include "server/own.h"
#include "server/protocol.h"
#include "server/vacate.h"
#include "server/worker.h"

static void database_configure(struct worker *w, struct database *d)
{
	const struct config *c = w->config;

	d->backends.max = d->conf && d->conf->max_db_connections > 0 ? d->conf->max_db_connections : c->max_db_connections;
	d->clients.max = d->conf && d->conf->max_db_client_connections > 0 ? d->conf->max_db_client_connections :
									     c->max_db_client_connections;
}

struct database *pools_database(struct worker *w, const char *name, bool create)
{
	const struct config_database *conf;
	struct database *d;

	TAILQ_FOREACH (d, &w->databases, in)
		if (!strcmp(d->name, name))
			return d;
	conf = config_find_database(w->config, name);
	if (!conf && (!create || !(conf = config_find_database(w->config, "*"))))
		return NULL;
	d = must(calloc(1, sizeof *d));
	d->name = must(strdup(name));
	d->conf = conf;
	d->automatic = !strcmp(conf->name, "*");
	d->unused_since_us = w->now_us;
	TAILQ_INIT(&d->pools);
	d->catalogue = catalogue_new(w, d);
	database_configure(w, d);
	TAILQ_INSERT_TAIL(&w->databases, d, in);
	return d;
}

static void user_configure(struct worker *w, struct user *u)
{
	const struct config *c = w->config;

	u->conf = config_find_user(c, u->name);
	u->backends.max = u->conf && u->conf->max_user_connections >= 0 ? u->conf->max_user_connections : c->max_user_connections;
	u->clients.max = u->conf && u->conf->max_user_client_connections >= 0 ? u->conf->max_user_client_connections :
										c->max_user_client_connections;
}

struct user *pools_user(struct worker *w, const char *name)
{
	struct user *u;

	TAILQ_FOREACH (u, &w->users, in)
		if (!strcmp(u->name, name))
			return u;
	u = must(calloc(1, sizeof *u));
	u->name = must(strdup(name));
	user_configure(w, u);
	TAILQ_INSERT_TAIL(&w->users, u, in);
	return u;
}

/* user > database > global */
static int first_set(int user, int database, int global)
{
	return user >= 0 ? user : database >= 0 ? database : global;
}

static void pool_configure(struct db_pool *p)
{
	const struct config *c = p->worker->config;
	const struct config_database *d = p->database->conf;
	const struct config_user *u = p->user->conf;
	struct state_rules rules;

	pools_rules(p->worker, p->database, p->user, &rules);
	p->carries = !rules_ignore_all(&rules);
	p->mode = first_set(u ? u->pool_mode : -1, d ? d->pool_mode : -1, c->pool_mode);
	p->pool.size = first_set(u ? u->pool_size : -1, d ? d->pool_size : -1, c->default_pool_size);
	p->pool.reserve = first_set(u ? u->reserve_pool_size : -1, d ? d->reserve_pool_size : -1, c->reserve_pool_size);
	p->pool.min = first_set(-1, d ? d->min_pool_size : -1, c->min_pool_size);
	p->pool.reserve_after_us = c->reserve_pool_timeout_us;
	p->pool.pin_size = first_set(u ? u->rules.pin_pool_size : -1, d ? d->rules.pin_pool_size : -1, c->pin_pool_size);
	p->pins.max = first_set(u ? u->rules.max_pins : -1, d ? d->rules.max_pins : -1, c->max_pins);
	p->pool.fifo = c->server_round_robin;
	p->pool.fresh_every_us = 1000000 / c->fresh_server_rate;
	p->pool.paused = p->worker->paused || p->database->paused;
	p->pool.retry_max_us = c->server_login_retry_us >= 0 ? c->server_login_retry_us : 0;
}

struct db_pool *pools_pool(struct worker *w, struct database *db, struct user *client_user)
{
	struct user *u = db->conf && db->conf->user ? pools_user(w, db->conf->user) : client_user;
	struct db_pool *p;
	struct pool *at;

	TAILQ_FOREACH (at, &db->pools, in_database)
		if (((struct db_pool *)at)->user == u)
			return (struct db_pool *)at;
	p = must(calloc(1, sizeof *p));
	pool_init(&p->pool, &db->backends, &u->backends);
	p->worker = w;
	p->database = db;
	p->user = u;
	pool_configure(p);
	p->defaults_generation = 1;
	TAILQ_INIT(&p->own_line);
	TAILQ_INSERT_TAIL(&db->pools, &p->pool, in_database);
	return p;
}

static void pool_drop(struct db_pool *p)
{
	TAILQ_REMOVE(&p->database->pools, &p->pool, in_database);
	pools_welcome_clear(p);
	for (size_t i = 0; i < p->n_reports; i++)
		free(p->reports[i]);
	free(p->reports);
	defaults_release(p);
	for (int i = 0; i < PIN_REASONS; i++)
		free(p->pin_totals[i]);
	buf_release(&p->last_error);
	secret_wipe(&p->learned);
	free(p);
}

static bool pool_unused(const struct db_pool *p)
{
	return !pool_backends(&p->pool) && !p->n_clients && !p->pool.n_waiting;
}

static void database_drop(struct worker *w, struct database *d)
{
	TAILQ_REMOVE(&w->databases, d, in);
	listening_free(d);
	protocol_free(d);
	catalogue_free(d->catalogue);
	free(d->name);
	free(d);
}

/* Ends what a removed database still holds; what remains goes when its last connection has gone. */
static void database_retire(struct worker *w, struct database *d)
{
	struct client *c, *next_c;
	struct backend_conn *b, *next_b;

	for (c = TAILQ_FIRST(&w->clients); c; c = next_c) {
		next_c = TAILQ_NEXT(c, in);
		if (c->database == d)
			client_fail(c, "57P01", "database removed from the configuration", NULL, NULL);
	}
	for (b = TAILQ_FIRST(&w->backends); b; b = next_b) {
		next_b = TAILQ_NEXT(b, in);
		if (b->pool->database == d)
			conn_close(b, "database removed");
	}
}

static bool str_same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool conf_same_server(const struct config_database *a, const struct config_database *b)
{
	return str_same(a->host, b->host) && a->port == b->port && str_same(a->dbname, b->dbname) && str_same(a->user, b->user) &&
	       str_same(a->password, b->password) && str_same(a->connect_query, b->connect_query) &&
	       str_same(a->client_encoding, b->client_encoding) && str_same(a->datestyle, b->datestyle) &&
	       str_same(a->timezone, b->timezone) && str_same(a->application_name, b->application_name);
}

void pools_configure(struct worker *w)
{
	struct database *d, *next;
	struct user *u;
	struct pool *p;

	TAILQ_FOREACH (u, &w->users, in)
		user_configure(w, u);
	for (d = TAILQ_FIRST(&w->databases); d; d = next) {
		const struct config_database *was = d->conf;

		next = TAILQ_NEXT(d, in);
		d->conf = config_find_database(w->config, d->name);
		d->automatic = !d->conf;
		if (!d->conf)
			d->conf = config_find_database(w->config, "*");
		if (!d->conf) {
			database_retire(w, d);
			continue;
		}
		database_configure(w, d);
		if (was && !conf_same_server(was, d->conf)) {
			worker_reconnect(w, d);
			protocol_forget(d);
		}
		TAILQ_FOREACH (p, &d->pools, in_database)
			pool_configure((struct db_pool *)p);
	}
}

/* Every database of the configuration has its entry, so that the console shows it. */
void pools_load(struct worker *w)
{
	for (const struct config_database *conf = w->config->databases; conf; conf = conf->next)
		if (strcmp(conf->name, "*"))
			pools_database(w, conf->name, false);
}

/* Pools and databases that nobody uses any more. */
void pools_expire(struct worker *w)
{
	struct database *d, *next_d;
	struct pool *p, *next_p;

	for (d = TAILQ_FIRST(&w->databases); d; d = next_d) {
		bool used = false;

		next_d = TAILQ_NEXT(d, in);
		TAILQ_FOREACH (p, &d->pools, in_database)
			used = used || !pool_unused((struct db_pool *)p);
		used = used || listening_used(d) || protocol_used(d);
		if (used || d->clients.count)
			d->unused_since_us = w->now_us;
		if (used || d->clients.count || d->paused ||
		    (d->conf && (!d->automatic || w->now_us - d->unused_since_us < w->config->autodb_idle_timeout_us)))
			continue;
		for (p = TAILQ_FIRST(&d->pools); p; p = next_p) {
			next_p = TAILQ_NEXT(p, in_database);
			pool_drop((struct db_pool *)p);
		}
		database_drop(w, d);
	}
}

void pools_free(struct worker *w)
{
	struct database *d;
	struct user *u;

	while ((d = TAILQ_FIRST(&w->databases))) {
		catalogue_leave_line(d->catalogue);
		while (!TAILQ_EMPTY(&d->pools))
			pool_drop((struct db_pool *)TAILQ_FIRST(&d->pools));
		database_drop(w, d);
	}
	while ((u = TAILQ_FIRST(&w->users))) {
		TAILQ_REMOVE(&w->users, u, in);
		free(u->name);
		free(u);
	}
}

int64_t pools_query_wait_timeout_us(const struct db_pool *p, const struct user *client_user)
{
	if (client_user && client_user->conf && client_user->conf->query_wait_timeout_us >= 0)
		return client_user->conf->query_wait_timeout_us;
	if (p->database->conf && p->database->conf->query_wait_timeout_us >= 0)
		return p->database->conf->query_wait_timeout_us;
	return p->worker->config->query_wait_timeout_us;
}

/* ---- what clients are told at login ---- */

const struct settings *pools_welcome_find(struct db_pool *p, const struct settings *base)
{
	for (unsigned i = 0; i < p->n_welcomes; i++)
		if (p->welcomes[i].base == base)
			return p->welcomes[i].reported;
	return NULL;
}

void pools_welcome_add(struct db_pool *p, const struct settings *base, const struct settings *reported)
{
	struct welcome *at;

	if (pools_welcome_find(p, base))
		return;
	if (p->n_welcomes < WELCOMES) {
		at = &p->welcomes[p->n_welcomes++];
	} else {
		at = &p->welcomes[p->next_welcome++ % WELCOMES];
		settings_release(at->base);
		settings_release(at->reported);
	}
	at->base = settings_retain(base);
	at->reported = settings_retain(reported);
}

void pools_welcome_clear(struct db_pool *p)
{
	while (p->n_welcomes) {
		struct welcome *at = &p->welcomes[--p->n_welcomes];

		settings_release(at->base);
		settings_release(at->reported);
	}
	p->next_welcome = 0;
}

void pools_report_order(struct db_pool *p, const char *name)
{
	for (size_t i = 0; i < p->n_reports; i++)
		if (!strcmp(p->reports[i], name))
			return;
	p->reports = must(realloc(p->reports, (p->n_reports + 1) * sizeof *p->reports));
	p->reports[p->n_reports++] = must(strdup(name));
}

/* ---- serving who waits ---- */

static void hand_over(struct pool_waiter *waiter, struct pool_backend *node)
{
	struct line_place *place = (struct line_place *)waiter;

	if (place->catalogue)
		catalogue_linked(place->catalogue, conn_of(node));
	else if (place->lookup)
		lookup_linked(place->lookup, conn_of(node));
	else
		client_linked(place->client, conn_of(node));
}

static bool share_limit(const struct backend_conn *b, const struct db_pool *p)
{
	return b->node.pool->database == p->pool.database || b->node.pool->user == p->pool.user;
}

/* The idle backend of another pool, within the same limit, that was used longest ago. */
static bool evict(struct db_pool *p)
{
	struct backend_conn *b, *oldest = NULL;

	TAILQ_FOREACH (b, &p->worker->backends, in) {
		if (b->node.place != PLACE_IDLE || b->pool == p || b->state == CONN_DEAD)
			continue;
		if (!share_limit(b, p))
			continue;
		if (!oldest || b->node.since_us < oldest->node.since_us)
			oldest = b;
	}
	if (oldest)
		conn_close(oldest, "evicted to make way for another pool");
	return oldest;
}

/* Another pool's idle backend is closed where only a limit shared with it stands in the way. */
static void make_way(struct db_pool *p)
{
	const struct backend_conn *b;
	int missing = p->pool.n_waiting - p->pool.n_opening;

	TAILQ_FOREACH (b, &p->worker->parting, in)
		missing -= share_limit(b, p);
	if (missing > 0)
		evict(p);
}

bool pools_make_room(struct db_pool *p)
{
	const struct backend_conn *b;

	TAILQ_FOREACH (b, &p->worker->parting, in)
		if (share_limit(b, p))
			return true;
	return evict(p);
}

static void open_wanted(struct db_pool *p)
{
	int n = pool_to_open(&p->pool, p->n_clients > 0 || p->database->conf->user, p->worker->now_us);

	while (n-- > 0)
		conn_open(p);
}

void pools_serve(struct db_pool *p)
{
	struct pool_backend *node;
	struct pool_waiter *waiter;

	if (!p->pool.n_waiting && pool_backends(&p->pool) >= p->pool.min && TAILQ_EMPTY(&p->own_line))
		return;
	for (;;) {
		if ((node = pool_evict(&p->pool, p->worker->now_us)))
			conn_close(conn_of(node), "evicted: it has seen custom settings of others than those who wait");
		else if ((waiter = pool_match(&p->pool, &node, p->worker->now_us)))
			hand_over(waiter, node);
		else
			break;
	}
	if (p->worker->shutdown == SHUTDOWN_NOW || p->database->disabled || !p->database->conf || vacate_holds(p->worker, p->database))
		return;
	own_serve(p);
	open_wanted(p);
	if (pool_blocked_by_others(&p->pool, p->worker->now_us)) {
		make_way(p);
		open_wanted(p);
	}
}

void pools_serve_all(struct worker *w)
{
	struct database *d;
	struct pool *p;

	TAILQ_FOREACH (d, &w->databases, in) {
		/* A forced user's pool keeps min_pool_size without any client. */
		if (d->conf && d->conf->user && TAILQ_EMPTY(&d->pools) &&
		    (d->conf->min_pool_size > 0 || (d->conf->min_pool_size < 0 && w->config->min_pool_size > 0)))
			pools_pool(w, d, NULL);
		TAILQ_FOREACH (p, &d->pools, in_database)
			pools_serve((struct db_pool *)p);
	}
}
