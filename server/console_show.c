/* SHOW: the table of tables, and those that are about the configuration and the process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/backend_conn.h"
#include "server/console_internal.h"

const char *console_mode_name(int mode)
{
	return mode == POOL_SESSION ? "session" : mode == POOL_TRANSACTION ? "transaction" : mode == POOL_STATEMENT ? "statement" : NULL;
}

static int set_or(int value, int global)
{
	return value >= 0 ? value : global;
}

static void database_row(struct table *t, const struct worker *w, const struct database *d)
{
	static const struct config_database none = {
		.port = 5432, .pool_size = -1, .min_pool_size = -1, .reserve_pool_size = -1, .server_lifetime_us = -1,
		.pool_mode = POOL_MODE_INHERIT,
	}; /* removed from the configuration, its last connections still there */
	const struct config_database *conf = d->conf ? d->conf : &none;
	const struct config *g = w->config;
	bool many_hosts = conf->host && strchr(conf->host, ',');

	table_row(t);
	cell_text(t, d->name);
	cell_text(t, conf->host);
	cell_int(t, conf->port);
	cell_text(t, conf->dbname ? conf->dbname : d->name);
	cell_text(t, conf->user);
	cell_int(t, set_or(conf->pool_size, g->default_pool_size));
	cell_int(t, set_or(conf->min_pool_size, g->min_pool_size));
	cell_int(t, set_or(conf->reserve_pool_size, g->reserve_pool_size));
	cell_int(t, (conf->server_lifetime_us > 0 ? conf->server_lifetime_us : g->server_lifetime_us) / 1000000);
	cell_text(t, console_mode_name(conf->pool_mode));
	cell_text(t, !many_hosts ? NULL : conf->load_balance ? "round-robin" : "disable");
	cell_int(t, d->backends.max);
	cell_int(t, d->backends.count);
	cell_int(t, d->clients.max);
	cell_int(t, d->clients.count);
	cell_int(t, d->paused);
	cell_int(t, d->disabled);
}

static int consoles(const struct worker *w)
{
	const struct client *c;
	int n = 0;

	TAILQ_FOREACH (c, &w->clients, in)
		n += c->state == CLIENT_CONSOLE;
	return n;
}

static void console_database_row(struct table *t, const struct worker *w)
{
	table_row(t);
	cell_text(t, "pgbouncer");
	cell_text(t, NULL);
	cell_int(t, w->config->listen_port);
	cell_text(t, "pgbouncer");
	cell_text(t, "pgbouncer");
	for (int i = 0; i < 4; i++)
		cell_int(t, 0);
	cell_text(t, "statement");
	cell_text(t, NULL);
	for (int i = 0; i < 3; i++)
		cell_int(t, 0);
	cell_int(t, consoles(w));
	for (int i = 0; i < 2; i++)
		cell_int(t, 0);
}

static void show_databases(struct client *c)
{
	const struct database *d;
	struct table t;

	table_begin(&t, console_out(c),
		    "name:s host:s port:i database:s force_user:s pool_size:i min_pool_size:i reserve_pool_size:i "
		    "server_lifetime:i pool_mode:s load_balance_hosts:s max_connections:i current_connections:i "
		    "max_client_connections:i current_client_connections:i paused:i disabled:i");
	TAILQ_FOREACH (d, &c->worker->databases, in)
		database_row(&t, c->worker, d);
	console_database_row(&t, c->worker);
	table_end(&t);
	console_done(c, "SHOW");
}

/* ---- users: who has connected, who may by auth_file, who has a line in [users] ---- */

struct known_user {
	const char *name;
	const struct user *user;	/* NULL: hasn't been here */
	const struct config_user *conf; /* NULL: no line */
};

static int by_name(const void *a, const void *b)
{
	const struct known_user *u = a, *v = b;
	int order = strcmp(u->name, v->name);

	/* The one that knows most first: it stands for all of its name. */
	return order ? order : (u->user ? 0 : u->conf ? 1 : 2) - (v->user ? 0 : v->conf ? 1 : 2);
}

static struct known_user *known_users(const struct worker *w, size_t *count)
{
	const struct config *g = w->config;
	const struct config_user *conf;
	const struct user *u;
	struct known_user *all;
	size_t n = g->n_secrets, kept = 0;

	TAILQ_FOREACH (u, &w->users, in)
		n++;
	for (conf = g->users; conf; conf = conf->next)
		n++;
	all = calloc(n + 1, sizeof *all);
	if (!all)
		abort();
	n = 0;
	TAILQ_FOREACH (u, &w->users, in)
		all[n++] = (struct known_user){ .name = u->name, .user = u, .conf = u->conf };
	for (conf = g->users; conf; conf = conf->next)
		all[n++] = (struct known_user){ .name = conf->name, .conf = conf };
	for (size_t i = 0; i < g->n_secrets; i++)
		all[n++] = (struct known_user){ .name = g->secrets[i].user };
	qsort(all, n, sizeof *all, by_name);
	for (size_t i = 0; i < n; i++)
		if (!kept || strcmp(all[kept - 1].name, all[i].name))
			all[kept++] = all[i];
	*count = kept;
	return all;
}

static void cell_size(struct table *t, int size)
{
	if (size >= 0)
		cell_format(t, "%9d", size);
	else
		cell_text(t, "");
}

static void user_row(struct table *t, const struct config *g, const struct known_user *k)
{
	table_row(t);
	cell_text(t, k->name);
	cell_size(t, k->conf ? k->conf->pool_size : -1);
	cell_size(t, k->conf ? k->conf->reserve_pool_size : -1);
	cell_text(t, k->conf ? console_mode_name(k->conf->pool_mode) : NULL);
	cell_int(t, k->user ? k->user->backends.max : set_or(k->conf ? k->conf->max_user_connections : -1, g->max_user_connections));
	cell_int(t, k->user ? k->user->backends.count : 0);
	cell_int(t, k->user ? k->user->clients.max :
			      set_or(k->conf ? k->conf->max_user_client_connections : -1, g->max_user_client_connections));
	cell_int(t, k->user ? k->user->clients.count : 0);
}

static void show_users(struct client *c)
{
	size_t n;
	struct known_user *all = known_users(c->worker, &n);
	struct table t;

	table_begin(&t, console_out(c),
		    "name:s pool_size:s reserve_pool_size:s pool_mode:s max_user_connections:i current_connections:i "
		    "max_user_client_connections:i current_client_connections:i");
	for (size_t i = 0; i < n; i++)
		user_row(&t, c->worker->config, &all[i]);
	table_end(&t);
	free(all);
	console_done(c, "SHOW");
}

/* ---- how many of what ---- */

struct census {
	int databases, users, pools, clients, logins, servers, resolving;
};

static struct census take_census(const struct worker *w)
{
	struct census n = { 0 };
	size_t users;
	const struct database *d;
	const struct pool *p;
	const struct client *c;
	const struct backend_conn *b;

	TAILQ_FOREACH (d, &w->databases, in) {
		n.databases++;
		TAILQ_FOREACH (p, &d->pools, in_database)
			n.pools++;
	}
	free(known_users(w, &users));
	n.users = (int)users;
	TAILQ_FOREACH (c, &w->clients, in) {
		n.clients += c->state != CLIENT_DEAD;
		n.logins += c->state == CLIENT_STARTUP || c->state == CLIENT_TLS || c->state == CLIENT_LOOKUP || c->state == CLIENT_AUTH ||
			    c->state == CLIENT_DERIVE;
	}
	TAILQ_FOREACH (b, &w->backends, in) {
		n.servers += b->state != CONN_DEAD;
		n.resolving += b->state == CONN_RESOLVING;
	}
	return n;
}

static void list_row(struct table *t, const char *name, int items)
{
	table_row(t);
	cell_text(t, name);
	cell_int(t, items);
}

static void show_lists(struct client *c)
{
	struct census n = take_census(c->worker);
	struct table t;

	table_begin(&t, console_out(c), "list:s items:i");
	list_row(&t, "databases", n.databases + 1); /* the console's own */
	list_row(&t, "users", n.users);
	list_row(&t, "peers", 0);
	list_row(&t, "pools", n.pools + 1);
	list_row(&t, "peer_pools", 0);
	list_row(&t, "free_clients", 0); /* nothing is kept for later */
	list_row(&t, "used_clients", n.clients);
	list_row(&t, "login_clients", n.logins);
	list_row(&t, "free_servers", 0);
	list_row(&t, "used_servers", n.servers);
	list_row(&t, "dns_names", 0);
	list_row(&t, "dns_zones", 0);
	list_row(&t, "dns_queries", n.resolving);
	list_row(&t, "dns_pending", 0);
	table_end(&t);
	console_done(c, "SHOW");
}

static void memory_row(struct table *t, const char *name, size_t size, size_t used, size_t unused)
{
	table_row(t);
	cell_text(t, name);
	cell_int(t, (int64_t)size);
	cell_int(t, (int64_t)used);
	cell_int(t, (int64_t)unused);
	cell_int(t, (int64_t)(size * (used + unused)));
}

/* PgBouncer's names where there is the like; without what hangs off each (texts, settings, buffers under way). */
static void show_mem(struct client *c)
{
	struct worker *w = c->worker;
	struct census n = take_census(w);
	const struct user *u;
	size_t users = 0;
	struct table t;

	TAILQ_FOREACH (u, &w->users, in)
		users++;
	table_begin(&t, console_out(c), "name:s size:i used:i free:i memtotal:i");
	memory_row(&t, "user_cache", sizeof(struct user), users, 0);
	memory_row(&t, "db_cache", sizeof(struct database), (size_t)n.databases, 0);
	memory_row(&t, "pool_cache", sizeof(struct db_pool), (size_t)n.pools, 0);
	memory_row(&t, "server_cache", sizeof(struct backend_conn), (size_t)n.servers, 0);
	memory_row(&t, "client_cache", sizeof(struct client), (size_t)n.clients, 0);
	memory_row(&t, "iobuf_cache", STREAM_READ_CHUNK, 0, w->blocks.count);
	memory_row(&t, "server_prepared_statement_cache", sizeof(struct stmt), stmt_store_count(w->store.stmts), 0);
	table_end(&t);
	console_done(c, "SHOW");
}

/* ---- the rest ---- */

static void config_row(void *t, const char *name, const char *value, const char *fallback, bool changeable)
{
	table_row(t);
	cell_text(t, name);
	cell_text(t, value);
	cell_text(t, fallback);
	cell_text(t, changeable ? "yes" : "no");
}

static void show_config(struct client *c)
{
	struct table t;

	table_begin(&t, console_out(c), "key:s value:s default:s changeable:s");
	config_each(c->worker->config, config_row, &t);
	table_end(&t);
	console_done(c, "SHOW");
}

static void show_state(struct client *c)
{
	const char *const rows[][2] = {
		{ "active", c->worker->paused ? "no" : "yes" },
		{ "paused", c->worker->paused ? "yes" : "no" },
		{ "suspended", "no" },
	};
	struct table t;

	table_begin(&t, console_out(c), "key:s value:s");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		table_row(&t);
		cell_text(&t, rows[i][0]);
		cell_text(&t, rows[i][1]);
	}
	table_end(&t);
	console_done(c, "SHOW");
}

/* Tools look for a version behind "PgBouncer". */
static void show_version(struct client *c)
{
	struct table t;

	table_begin(&t, console_out(c), "version:s");
	table_row(&t);
	cell_text(&t, "PgBouncer " PGBOUNCER_VERSION " (pgporter " PGPORTER_VERSION ")");
	table_end(&t);
	console_done(c, "SHOW");
}

static void empty(struct client *c, const char *columns)
{
	struct table t;

	table_begin(&t, console_out(c), columns);
	table_end(&t);
	console_done(c, "SHOW");
}

/* Names are resolved anew for each connection: nothing to show. */
static void show_dns_hosts(struct client *c)
{
	empty(c, "hostname:s ttl:q addrs:s");
}

static void show_dns_zones(struct client *c)
{
	empty(c, "zonename:s serial:q count:i");
}

static void show_peers(struct client *c)
{
	empty(c, "peer_id:i host:s port:i pool_size:i");
}

static void show_peer_pools(struct client *c)
{
	empty(c, "peer_id:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active_cancel:i sv_login:i");
}

static void show_fds(struct client *c)
{
	if (!c->admin)
		console_error(c, "08P01", NULL, NULL, "admin access needed");
	else
		console_error(c, "0A000", "pgporter does not hand its sockets to another process.", "SHOW SOCKETS lists them.",
			      "SHOW FDS is not supported");
}

static void show_help(struct client *c)
{
	msg_report(console_out(c), 'N', "NOTICE", "00000", "Console usage",
		   "\n"
		   "\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION\n"
		   "\tSHOW PINS|PINS_TOTALS|SETTINGS|COUNTERS\n"
		   "\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS\n"
		   "\tSHOW SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE\n"
		   "\tSHOW DNS_HOSTS|DNS_ZONES|PEERS|PEER_POOLS\n"
		   "\tSET key = value\n"
		   "\tRELOAD\n"
		   "\tPAUSE [<db>]\n"
		   "\tRESUME [<db>]\n"
		   "\tDISABLE <db>\n"
		   "\tENABLE <db>\n"
		   "\tRECONNECT [<db>]\n"
		   "\tWAIT_CLOSE [<db>]\n"
		   "\tKILL [<db>]\n"
		   "\tKILL_CLIENT <client_id>\n"
		   "\tSHUTDOWN\n"
		   "\tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS",
		   NULL);
	console_done(c, "SHOW");
}

static const struct {
	const char *name;
	void (*show)(struct client *c);
} tables[] = {
	{ "active_sockets", show_active_sockets },
	{ "clients", show_clients },
	{ "config", show_config },
	{ "counters", show_counters },
	{ "databases", show_databases },
	{ "dns_hosts", show_dns_hosts },
	{ "dns_zones", show_dns_zones },
	{ "fds", show_fds },
	{ "help", show_help },
	{ "lists", show_lists },
	{ "mem", show_mem },
	{ "peer_pools", show_peer_pools },
	{ "peers", show_peers },
	{ "pins", show_pins },
	{ "pins_totals", show_pins_totals },
	{ "pools", show_pools },
	{ "servers", show_servers },
	{ "settings", show_settings },
	{ "sockets", show_sockets },
	{ "state", show_state },
	{ "stats", show_stats },
	{ "stats_averages", show_stats_averages },
	{ "stats_totals", show_stats_totals },
	{ "totals", show_totals },
	{ "users", show_users },
	{ "version", show_version },
};

bool console_show(struct client *c, const char *name)
{
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		if (!strcasecmp(tables[i].name, name)) {
			tables[i].show(c);
			return true;
		}
	}
	return false;
}
