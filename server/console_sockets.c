/* What is connected: SHOW CLIENTS, SERVERS, SOCKETS, POOLS, PINS. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "server/backend_conn.h"
#include "server/console_internal.h"

#define SOCKET_COLUMNS                                                                                                 \
	"type:s user:s database:s replication:s state:s addr:s port:i local_addr:s local_port:i connect_time:s "      \
	"request_time:s wait:i wait_us:i close_needed:i ptr:s link:s remote_pid:i tls:s application_name:s "          \
	"prepared_statements:i id:i"
#define SOCKET_DEBUG_COLUMNS " recv_pos:i pkt_pos:i pkt_remain:i send_pos:i send_remain:i pkt_avail:i send_avail:i"

static void cell_time(struct table *t, const struct worker *w, int64_t us)
{
	time_t wall = (time_t)((us + w->wall_offset_us) / 1000000);
	char text[64];
	struct tm tm;

	localtime_r(&wall, &tm);
	strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %Z", &tm);
	cell_text(t, text);
}

static void cell_pointer(struct table *t, const void *p)
{
	if (p)
		cell_format(t, "%p", p);
	else
		cell_text(t, "");
}

static void cells_wait(struct table *t, int64_t us)
{
	cell_int(t, us / 1000000);
	cell_int(t, us % 1000000);
}

static void cell_tls(struct table *t, const struct stream *s)
{
	char name[96] = "";

	stream_tls_name(s, name, sizeof name);
	cell_text(t, name);
}

/* What is in the stream's buffers: SHOW SOCKETS only. */
static void cells_stream(struct table *t, const struct stream *s, size_t left)
{
	cell_int(t, (int64_t)s->in.end);
	cell_int(t, (int64_t)s->in.start);
	cell_int(t, (int64_t)left);
	cell_int(t, (int64_t)s->out.start);
	cell_int(t, 0);
	cell_int(t, (int64_t)buf_len(&s->in));
	cell_int(t, (int64_t)buf_len(&s->out));
}

static const char *application_name(const struct settings *wanted, const struct settings *reported)
{
	const char *name = wanted ? settings_get_nocase(wanted, "application_name") : NULL;

	if (!name && reported)
		name = settings_get_nocase(reported, "application_name");
	return name ? name : "";
}

static const char *client_application(const struct client *c)
{
	return c->have_session ? application_name(c->session.want, c->session.reported) : "";
}

static bool client_waits(const struct client *c)
{
	return c->line.waiter.pool || c->own_waiting;
}

static int64_t client_wait_us(const struct client *c)
{
	int64_t us = client_waits(c) ? c->worker->now_us - (c->own_waiting ? c->request_us : c->line.waiter.since_us) : 0;

	return us > 0 ? us : 0;
}

static const char *client_database(const struct client *c)
{
	if (c->state == CLIENT_CONSOLE)
		return "pgbouncer";
	return c->database ? c->database->name : c->database_name ? c->database_name : "(nodb)";
}

/* Over a unix socket the kernel knows who is at the other end. */
static int peer_pid(const struct client *c)
{
	struct ucred who;
	socklen_t len = sizeof who;

	if (!c->unix_socket || getsockopt(c->stream.fd, SOL_SOCKET, SO_PEERCRED, &who, &len))
		return 0;
	return who.pid;
}

static void client_row(struct table *t, const struct client *c, const char *state, bool debug)
{
	struct socket_end here = socket_end_here(c->stream.fd);
	char address[SOCKET_TEXT];

	table_row(t);
	cell_text(t, "C");
	cell_text(t, c->user_name ? c->user_name : "(nouser)");
	cell_text(t, client_database(c));
	cell_text(t, own_replication_name(c->replication));
	cell_text(t, state);
	cell_text(t, socket_end_text(&c->there, address));
	cell_int(t, c->there.port);
	cell_text(t, socket_end_text(&here, address));
	cell_int(t, here.port);
	cell_time(t, c->worker, c->connected_us);
	cell_time(t, c->worker, c->request_us ? c->request_us : c->connected_us);
	cells_wait(t, client_wait_us(c));
	cell_int(t, 0);
	cell_pointer(t, c);
	cell_pointer(t, c->backend);
	cell_int(t, peer_pid(c));
	cell_tls(t, &c->stream);
	cell_text(t, client_application(c));
	cell_int(t, c->have_session ? (int64_t)c->session.names.count : 0);
	cell_int(t, (int64_t)c->id);
	if (debug)
		cells_stream(t, &c->stream, c->stream_left);
}

static void server_row(struct table *t, const struct backend_conn *b, const char *state, bool debug)
{
	table_row(t);
	cell_text(t, "S");
	cell_text(t, b->pool->user->name);
	cell_text(t, b->pool->database->name);
	cell_text(t, own_replication_name(b->client ? b->client->replication : b->own ? b->own->replication : REPLICATION_NONE));
	cell_text(t, state);
	cell_text(t, b->address);
	cell_int(t, b->port);
	cell_text(t, b->local_address);
	cell_int(t, b->local_port);
	cell_time(t, b->worker, b->connected_us ? b->connected_us : b->node.opened_us);
	cell_time(t, b->worker, b->request_us ? b->request_us : b->node.opened_us);
	cells_wait(t, 0);
	cell_int(t, b->close_needed);
	cell_pointer(t, b);
	cell_pointer(t, b->client);
	cell_int(t, b->pid);
	if (b->have_stream)
		cell_tls(t, &b->stream);
	else
		cell_text(t, "");
	cell_text(t, application_name(NULL, b->facts.reported));
	cell_int(t, (int64_t)b->facts.prepared.count);
	cell_int(t, (int64_t)b->id);
	if (debug)
		cells_stream(t, &b->stream, b->stream_left);
}

/* Past the login, and not gone. */
static bool client_shown(const struct client *c)
{
	return c->state == CLIENT_WELCOME || c->state == CLIENT_ACTIVE || c->state == CLIENT_CONSOLE || c->state == CLIENT_CANCEL;
}

static const char *client_word(const struct client *c)
{
	if (c->state == CLIENT_CANCEL)
		return "active_cancel_req";
	return c->state == CLIENT_WELCOME ? "waiting" : client_state_name(c);
}

void show_clients(struct client *c)
{
	struct client *at;
	struct table t;

	table_begin(&t, console_out(c), SOCKET_COLUMNS);
	TAILQ_FOREACH (at, &c->worker->clients, in)
		if (client_shown(at))
			client_row(&t, at, client_word(at), false);
	table_end(&t);
	console_done(c, "SHOW");
}

void show_servers(struct client *c)
{
	struct backend_conn *b;
	struct table t;

	table_begin(&t, console_out(c), SOCKET_COLUMNS);
	TAILQ_FOREACH (b, &c->worker->backends, in)
		if (b->state != CONN_DEAD)
			server_row(&t, b, conn_state_name(b), false);
	table_end(&t);
	console_done(c, "SHOW");
}

static const char *client_list(const struct client *c)
{
	if (!client_shown(c))
		return "cl_login";
	return client_waits(c) || c->state == CLIENT_WELCOME ? "cl_waiting" : "cl_active";
}

/* conn_state_name()'s words as SHOW SOCKETS and SHOW POOLS have them. */
enum server_list { LIST_ACTIVE, LIST_BEING_CANCELED, LIST_IDLE, LIST_USED, LIST_TESTED, LIST_LOGIN, SERVER_LISTS };

static enum server_list server_list(const struct backend_conn *b)
{
	static const char *const words[SERVER_LISTS] = { "active", "being_canceled", "idle", "used", "tested", "new" };
	const char *state = conn_state_name(b);
	enum server_list list = LIST_ACTIVE;

	while (list < LIST_LOGIN && strcmp(words[list], state))
		list++;
	return list;
}

static bool stream_active(const struct stream *s)
{
	return buf_len(&s->in) || buf_len(&s->out);
}

static void sockets(struct client *c, bool all)
{
	static const char *const lists[SERVER_LISTS] = { "sv_active", "sv_being_canceled", "sv_idle",
							 "sv_used",   "sv_tested",	   "sv_login" };
	struct client *at;
	struct backend_conn *b;
	struct table t;

	table_begin(&t, console_out(c), SOCKET_COLUMNS SOCKET_DEBUG_COLUMNS);
	TAILQ_FOREACH (at, &c->worker->clients, in)
		if (at->state != CLIENT_DEAD && at->state != CLIENT_CANCEL && (all || stream_active(&at->stream)))
			client_row(&t, at, client_list(at), true);
	TAILQ_FOREACH (b, &c->worker->backends, in)
		if (b->state != CONN_DEAD && (all || stream_active(&b->stream)))
			server_row(&t, b, lists[server_list(b)], true);
	table_end(&t);
	console_done(c, "SHOW");
}

void show_sockets(struct client *c)
{
	sockets(c, true);
}

void show_active_sockets(struct client *c)
{
	sockets(c, false);
}

/* ---- pools ---- */

struct pool_figures {
	const struct db_pool *pool;
	int clients_active, clients_pinned, clients_listening, own_waiting, cancels, listening;
	int servers[SERVER_LISTS];
	int64_t pinned_us; /* since when the oldest is; 0: none */
};

static int by_pointer(const void *a, const void *b)
{
	const struct db_pool *p = ((const struct pool_figures *)a)->pool, *q = ((const struct pool_figures *)b)->pool;

	return p < q ? -1 : p > q;
}

static int by_name(const void *a, const void *b)
{
	const struct db_pool *p = ((const struct pool_figures *)a)->pool, *q = ((const struct pool_figures *)b)->pool;
	int order = strcmp(p->database->name, q->database->name);

	return order ? order : strcmp(p->user->name, q->user->name);
}

static struct pool_figures *figures_of(struct pool_figures *all, size_t n, const struct db_pool *p)
{
	struct pool_figures key = { .pool = p };

	return p && n ? bsearch(&key, all, n, sizeof key, by_pointer) : NULL;
}

static void count_client(struct pool_figures *f, const struct client *c)
{
	if (client_shown(c) && !client_waits(c))
		f->clients_active++;
	f->own_waiting += c->own_waiting;
	f->clients_listening += c->have_session && session_listens_to(&c->session, 0);
	if (c->state == CLIENT_ACTIVE && c->have_session && c->session.pins) {
		f->clients_pinned++;
		if (c->pinned_us && (!f->pinned_us || c->pinned_us < f->pinned_us))
			f->pinned_us = c->pinned_us;
	}
}

/* A connection that listens for a database is in no pool: it is shown with the one whose user it logs in as. */
static void count_listening(struct pool_figures *all, size_t n, const struct backend_conn *b)
{
	for (size_t i = 0; i < n; i++)
		all[i].listening += all[i].pool->database == b->pool->database && all[i].pool->user == b->pool->user;
}

/* Figures of all pools in one pass over clients and servers, sorted by name; the caller frees. *consoles: clients here. */
static struct pool_figures *count_pools(struct worker *w, size_t *n, int *consoles)
{
	struct pool_figures *all, *f;
	struct database *d;
	struct pool *p;
	struct client *c;
	struct backend_conn *b;

	*n = 0;
	*consoles = 0;
	TAILQ_FOREACH (d, &w->databases, in)
		TAILQ_FOREACH (p, &d->pools, in_database)
			++*n;
	all = calloc(*n + 1, sizeof *all);
	if (!all)
		abort();
	f = all;
	TAILQ_FOREACH (d, &w->databases, in)
		TAILQ_FOREACH (p, &d->pools, in_database)
			f++->pool = (struct db_pool *)p;
	qsort(all, *n, sizeof *all, by_pointer);
	TAILQ_FOREACH (c, &w->clients, in) {
		*consoles += c->state == CLIENT_CONSOLE;
		if ((f = figures_of(all, *n, c->pool)))
			count_client(f, c);
	}
	TAILQ_FOREACH (b, &w->backends, in)
		if (b->state != CONN_DEAD && (f = figures_of(all, *n, b->pool))) {
			f->servers[server_list(b)]++;
			f->cancels += b->cancels;
		} else if (b->state != CONN_DEAD && b->pool->listening) {
			count_listening(all, *n, b);
		}
	qsort(all, *n, sizeof *all, by_name);
	return all;
}

static void pool_row(struct table *t, const struct pool_figures *f, int64_t now_us)
{
	const struct db_pool *p = f->pool;
	const struct config_database *conf = p->database->conf;
	const struct pool_waiter *first = TAILQ_FIRST(&p->pool.waiting);
	int64_t wait = first && now_us > first->since_us ? now_us - first->since_us : 0;
	bool many_hosts = conf && conf->host && strchr(conf->host, ',');

	table_row(t);
	cell_text(t, p->database->name);
	cell_text(t, p->user->name);
	cell_int(t, f->clients_active);
	cell_int(t, p->pool.n_waiting + f->own_waiting);
	cell_int(t, f->cancels);
	cell_int(t, 0); /* a cancel request waits for no pool: its connection is opened at once */
	cell_int(t, f->servers[LIST_ACTIVE]);
	cell_int(t, f->cancels);
	cell_int(t, f->servers[LIST_BEING_CANCELED]);
	cell_int(t, f->servers[LIST_IDLE]);
	cell_int(t, f->servers[LIST_USED]);
	cell_int(t, f->servers[LIST_TESTED]);
	cell_int(t, f->servers[LIST_LOGIN]);
	cells_wait(t, wait);
	cell_text(t, console_mode_name(p->mode));
	cell_text(t, !many_hosts ? NULL : conf->load_balance ? "round-robin" : "disable");
	cell_int(t, f->clients_pinned);
	cell_int(t, f->clients_pinned);
	cell_int(t, f->pinned_us ? (now_us - f->pinned_us) / 1000000 : 0);
	cell_int(t, f->clients_listening);
	cell_int(t, f->listening);
}

static void console_row(struct table *t, int clients)
{
	table_row(t);
	cell_text(t, "pgbouncer");
	cell_text(t, "pgbouncer");
	cell_int(t, clients);
	for (int i = 0; i < 12; i++)
		cell_int(t, 0);
	cell_text(t, "statement");
	cell_text(t, NULL);
	for (int i = 0; i < 5; i++)
		cell_int(t, 0);
}

void show_pools(struct client *c)
{
	size_t n;
	int consoles;
	struct pool_figures *all = count_pools(c->worker, &n, &consoles);
	struct table t;

	table_begin(&t, console_out(c),
		    "database:s user:s cl_active:i cl_waiting:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active:i "
		    "sv_active_cancel:i sv_being_canceled:i sv_idle:i sv_used:i sv_tested:i sv_login:i maxwait:i "
		    "maxwait_us:i pool_mode:s load_balance_hosts:s cl_pinned:i sv_pinned:i pin_oldest:i cl_listening:i "
		    "sv_listening:i");
	for (size_t i = 0; i < n; i++)
		pool_row(&t, &all[i], c->worker->now_us);
	console_row(&t, consoles);
	table_end(&t);
	free(all);
	console_done(c, "SHOW");
}

/* ---- pins ---- */

const char *console_pin_reasons(uint32_t pins, char *text, size_t cap)
{
	size_t n = 0;

	*text = 0;
	for (int i = 0; i < PIN_REASONS && n < cap; i++)
		if (pins & 1u << i)
			n += (size_t)snprintf(text + n, cap - n, "%s%s", n ? ", " : "", pin_reason_name(1u << i));
	return text;
}

/* The options by which these reasons pin, "state_lock = pin (user app); …". */
static const char *pin_rules(const struct client *c, char *text, size_t cap)
{
	size_t n = 0;

	*text = 0;
	for (int i = 0; i < PIN_REASONS && n < cap; i++) {
		int kind = c->session.pins & 1u << i ? rules_kind_of_pin(1u << i) : -1;
		char option[200];

		if (c->session.pins & 1u << i & PIN_WHOLE)
			snprintf(option, sizeof option, "%s", c->rules->rules.whole_session ? "pin_users" : "pin_application_names");
		else if (kind < 0 || c->rules->rules.action[kind] != RULE_PIN)
			continue;
		else
			rules_option(&c->rules->rules, kind, option, sizeof option);
		n += (size_t)snprintf(text + n, cap - n, "%s%s", n ? "; " : "", option);
	}
	return text;
}

void show_pins(struct client *c)
{
	struct client *at;
	struct table t;
	char reasons[256], rules[1024], address[SOCKET_TEXT];

	table_begin(&t, console_out(c),
		    "client_id:q addr:s port:i user:s database:s server_pid:i reason:s age:i application_name:s statement:s rule:s");
	TAILQ_FOREACH (at, &c->worker->clients, in) {
		if (at->state != CLIENT_ACTIVE || !at->have_session || !at->session.pins)
			continue;
		table_row(&t);
		cell_int(&t, (int64_t)at->id);
		cell_text(&t, socket_end_text(&at->there, address));
		cell_int(&t, at->there.port);
		cell_text(&t, at->user_name);
		cell_text(&t, client_database(at));
		if (at->backend)
			cell_int(&t, at->backend->pid);
		else
			cell_text(&t, NULL);
		cell_text(&t, console_pin_reasons(at->session.pins, reasons, sizeof reasons));
		cell_int(&t, at->pinned_us ? (c->worker->now_us - at->pinned_us) / 1000000 : 0);
		cell_text(&t, client_application(at));
		cell_text(&t, at->session.pin_text ? at->session.pin_text : "");
		cell_text(&t, pin_rules(at, rules, sizeof rules));
	}
	table_end(&t);
	console_done(c, "SHOW");
}
