#include "server/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <openssl/rand.h>

#include "server/backend_conn.h"
#include "server/catalogue.h"
#include "server/client.h"
#include "server/console.h"
#include "server/defaults.h"
#include "server/derive.h"
#include "server/janitor.h"
#include "server/listener.h"
#include "server/listening.h"
#include "server/log.h"
#include "server/vacate.h"

enum { EFFECTS_MEMORY_BYTES = 16 << 20, KEY_SLOTS = 8192 };

static int64_t clock_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

enum { RANDOM_AHEAD = 1024 };

/* Fetched in one go for some dozen logins: what a call costs is the generator's setting up, not its bytes. What was given
 * out is no longer here. */
void worker_random(void *bytes, size_t n)
{
	static _Thread_local uint8_t ahead[RANDOM_AHEAD];
	static _Thread_local size_t left;

	if (left < n) {
		/* Keys and nonces that could be guessed are worse than none. */
		if (n > sizeof ahead || RAND_bytes(ahead, sizeof ahead) != 1)
			abort();
		left = sizeof ahead;
	}
	left -= n;
	memcpy(bytes, ahead + left, n);
	explicit_bzero(ahead + left, n);
}

/* ---- turns ---- */

void worker_turn(struct worker *w)
{
	loops_enter(&w->loops);
	w->now_us = clock_us(CLOCK_MONOTONIC);
}

void worker_dirty(struct worker *w, struct stream *s)
{
	if (s->dirty_at)
		return;
	if (w->n_dirty == w->cap_dirty) {
		w->cap_dirty = w->cap_dirty ? w->cap_dirty * 2 : 64;
		w->dirty = realloc(w->dirty, w->cap_dirty * sizeof *w->dirty);
		if (!w->dirty)
			abort();
	}
	w->dirty[w->n_dirty++] = s;
	s->dirty_at = w->n_dirty;
}

void worker_clean(struct worker *w, struct stream *s)
{
	if (!s->dirty_at)
		return;
	w->dirty[s->dirty_at - 1] = NULL;
	s->dirty_at = 0;
}

/* What all sockets that were ready have brought about goes out together: reading and writing by turns would each time find
 * the kernel's code for the other in the processor's cache. Not more than so many at once: each holds a block till then. */
enum { FLUSH_AT = 32 };

struct stream *worker_next_dirty(struct worker *w)
{
	while (w->n_dirty) {
		struct stream *s = w->dirty[--w->n_dirty];

		if (s) {
			s->dirty_at = 0;
			return s;
		}
	}
	return NULL;
}

static void flush_dirty(struct worker *w)
{
	for (size_t i = 0; i < w->n_dirty; i++)
		if (w->dirty[i]) {
			w->dirty[i]->dirty_at = 0;
			stream_flush(w->dirty[i]);
		}
	w->n_dirty = 0;
}

static void reap(struct worker *w)
{
	struct client *c, *next_client;
	struct backend_conn *b, *next_backend;

	for (c = TAILQ_FIRST(&w->dead_clients); c; c = next_client) {
		next_client = TAILQ_NEXT(c, in);
		if (!loops_freed(&w->loops, &c->stream))
			continue;
		TAILQ_REMOVE(&w->dead_clients, c, in);
		client_free(c);
	}
	for (b = TAILQ_FIRST(&w->dead_backends); b; b = next_backend) {
		next_backend = TAILQ_NEXT(b, in);
		if (!loops_freed(&w->loops, &b->stream))
			continue;
		TAILQ_REMOVE(&w->dead_backends, b, in);
		conn_free(b);
	}
	cancel_reap(w);
}

static void end_turn(struct worker *w)
{
	struct client *c;

	if (w->in_turn_end)
		return;
	w->in_turn_end = true;
	vacate_tick(w);
	while ((c = TAILQ_FIRST(&w->runnable)) || w->listening_due) {
		if (!c) {
			listening_run(w);
			continue;
		}
		TAILQ_REMOVE(&w->runnable, c, run);
		c->runnable = false;
		client_pump(c);
	}
	if (!TAILQ_EMPTY(&w->waits))
		console_tick(w);
	if (w->n_dirty >= FLUSH_AT && loops_one(&w->loops))
		flush_dirty(w);
	if (!TAILQ_EMPTY(&w->dead_clients) || !TAILQ_EMPTY(&w->dead_backends) || !TAILQ_EMPTY(&w->dead_cancels))
		reap(w);
	w->in_turn_end = false;
}

void worker_turn_end(struct worker *w)
{
	end_turn(w);
	loops_leave(&w->loops);
}

/* ---- configuration ---- */

static struct tls_options server_side(const struct config *c)
{
	return (struct tls_options){ .mode = (enum sslmode)c->client_tls_sslmode, .ca_file = c->client_tls_ca_file,
				     .cert_file = c->client_tls_cert_file, .key_file = c->client_tls_key_file,
				     .ciphers = c->client_tls_ciphers, .tls13_ciphers = c->client_tls13_ciphers,
				     .protocols = c->client_tls_protocols, .dheparams = c->client_tls_dheparams,
				     .ecdhcurve = c->client_tls_ecdhcurve };
}

static struct tls_options client_side(const struct config *c)
{
	return (struct tls_options){ .mode = (enum sslmode)c->server_tls_sslmode, .ca_file = c->server_tls_ca_file,
				     .cert_file = c->server_tls_cert_file, .key_file = c->server_tls_key_file,
				     .ciphers = c->server_tls_ciphers, .tls13_ciphers = c->server_tls13_ciphers,
				     .protocols = c->server_tls_protocols };
}

static bool make_tls(const struct config *c, SSL_CTX **clients, SSL_CTX **servers, char *why, size_t cap)
{
	struct tls_options to_clients = server_side(c), to_servers = client_side(c);

	*clients = *servers = NULL;
	if (c->client_tls_sslmode != SSLMODE_DISABLE && !(*clients = tls_server_context(&to_clients, why, cap)))
		return false;
	if (c->server_tls_sslmode != SSLMODE_DISABLE && !(*servers = tls_client_context(&to_servers, why, cap))) {
		SSL_CTX_free(*clients);
		return false;
	}
	return true;
}

static bool configure_log(const struct worker *w, const struct config *c)
{
	struct log_options o = { .logfile = c->logfile, .syslog = c->syslog, .quiet = w->quiet, .syslog_ident = c->syslog_ident,
				 .syslog_facility = c->syslog_facility, .verbose = c->verbose > w->verbose ? c->verbose : w->verbose };

	return !log_configure(&o);
}

static void tell_warnings(const struct config *c)
{
	for (size_t i = 0; i < c->n_warnings; i++)
		log_line(LOG_LEVEL_WARNING, "%s", c->warnings[i]);
}

bool worker_adopt(struct worker *w, struct config *config, char *why, size_t why_cap)
{
	SSL_CTX *clients, *servers;
	struct config *was = w->config;
	struct client *c;

	if (!make_tls(config, &clients, &servers, why, why_cap)) {
		config_free(config);
		return false;
	}
	SSL_CTX_free(w->client_tls);
	SSL_CTX_free(w->server_tls);
	w->client_tls = clients;
	w->server_tls = servers;
	w->config = config;
	if (!configure_log(w, config))
		log_line(LOG_LEVEL_ERROR, "logfile %s could not be opened", config->logfile);
	listeners_tune(w);
	pools_configure(w);
	pools_load(w);
	TAILQ_FOREACH (c, &w->clients, in)
		if (c->have_session && c->state != CLIENT_DEAD)
			client_rules(c);
	config_free(was);
	pools_serve_all(w);
	return true;
}

bool worker_reload(struct worker *w, char *why, size_t why_cap)
{
	struct config *config = config_reload(w->config, why, why_cap);
	struct database *d;
	struct pool *p;

	if (!config || !worker_adopt(w, config, why, why_cap)) {
		log_line(LOG_LEVEL_ERROR, "config file loading failed: %s", why);
		return false;
	}
	tell_warnings(w->config);
	derive_reload(w);
	TAILQ_FOREACH (d, &w->databases, in)
		TAILQ_FOREACH (p, &d->pools, in_database)
			pools_welcome_clear((struct db_pool *)p);
	catalogue_reload(w);
	return true;
}

/* ---- PAUSE, RECONNECT, SHUTDOWN ---- */

static void set_paused(struct worker *w, struct database *db)
{
	struct database *d;
	struct pool *p;

	TAILQ_FOREACH (d, &w->databases, in)
		if (!db || d == db)
			TAILQ_FOREACH (p, &d->pools, in_database)
				p->paused = w->paused || d->paused;
}

void worker_pause(struct worker *w, struct database *db)
{
	struct backend_conn *b, *next;

	*(db ? &db->paused : &w->paused) = true;
	*(db ? &db->paused_us : &w->paused_us) = w->now_us;
	set_paused(w, db);
	for (b = TAILQ_FIRST(&w->backends); b; b = next) {
		next = TAILQ_NEXT(b, in);
		if ((!db || b->pool->database == db) && (b->node.place == PLACE_IDLE || b->pool->listening))
			conn_close(b, "paused");
	}
}

void worker_resume(struct worker *w, struct database *db)
{
	struct database *d;

	if (db) {
		db->paused = false;
	} else {
		w->paused = false;
		TAILQ_FOREACH (d, &w->databases, in)
			d->paused = false;
	}
	set_paused(w, db);
	pools_serve_all(w);
}

bool worker_pause_done(const struct worker *w, const struct database *db)
{
	const struct backend_conn *b;

	TAILQ_FOREACH (b, &w->backends, in)
		if (!db || b->pool->database == db)
			return false;
	TAILQ_FOREACH (b, &w->parting, in)
		if (!db || b->pool->database == db)
			return false;
	return true;
}

void worker_renew(struct worker *w, struct database *db)
{
	struct backend_conn *b, *next;
	struct database *d;
	struct pool *p;

	for (b = TAILQ_FIRST(&w->backends); b; b = next) {
		next = TAILQ_NEXT(b, in);
		if (db && b->pool->database != db)
			continue;
		b->close_needed = true;
		if (b->node.place == PLACE_IDLE)
			conn_close(b, "close_needed");
	}
	TAILQ_FOREACH (d, &w->databases, in)
		if (!db || d == db)
			TAILQ_FOREACH (p, &d->pools, in_database) {
				pools_welcome_clear((struct db_pool *)p);
				defaults_outdated((struct db_pool *)p);
			}
}

void worker_reconnect(struct worker *w, struct database *db)
{
	struct backend_conn *b;

	worker_renew(w, db);
	TAILQ_FOREACH (b, &w->backends, in)
		if (b->close_needed && !b->close_needed_us && (!db || b->pool->database == db))
			b->close_needed_us = w->now_us;
}

void worker_shutdown(struct worker *w, enum shutdown_mode mode)
{
	struct client *c, *next;

	w->shutdown = mode;
	w->told_us = w->now_us;
	if (mode == SHUTDOWN_NOW) {
		event_base_loopbreak(w->base);
		return;
	}
	listeners_close_tcp(w);
	if (mode == SHUTDOWN_WAIT_SERVERS) {
		worker_pause(w, NULL);
		for (c = TAILQ_FIRST(&w->clients); c; c = next) {
			next = TAILQ_NEXT(c, in);
			if (c->line.waiter.pool)
				client_fail(c, "57P01", "server shutting down", NULL, NULL);
		}
	}
}

/* ---- signals ---- */

static void on_term(struct worker *w, int sig)
{
	log_line(LOG_LEVEL_LOG, "got %s, %s", sig == SIGTERM ? "SIGTERM" : "SIGINT",
		 w->first_signal ? "again: shutting down at once" :
		 sig == SIGTERM	 ? "shutting down when the last client has left" :
				   "shutting down when server connections are free");
	if (w->first_signal || w->shutdown)
		worker_shutdown(w, SHUTDOWN_NOW);
	else
		worker_shutdown(w, sig == SIGTERM ? SHUTDOWN_WAIT_CLIENTS : SHUTDOWN_WAIT_SERVERS);
	w->first_signal = true;
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct worker *w = arg;
	char why[500];

	worker_turn(w);
	switch (sig) {
	case SIGHUP:
		log_line(LOG_LEVEL_LOG, "got SIGHUP, re-reading config");
		worker_reload(w, why, sizeof why);
		break;
	case SIGTERM:
	case SIGINT:
		on_term(w, (int)sig);
		break;
	case SIGQUIT:
		log_line(LOG_LEVEL_LOG, "got SIGQUIT, fast exit");
		worker_shutdown(w, SHUTDOWN_NOW);
		break;
	case SIGUSR1:
		log_line(LOG_LEVEL_LOG, "got SIGUSR1, pausing all activity");
		if (!w->shutdown)
			worker_pause(w, NULL);
		break;
	case SIGUSR2:
		log_line(LOG_LEVEL_LOG, "got SIGUSR2, continuing from PAUSE");
		if (!w->shutdown)
			worker_resume(w, NULL);
		break;
	}
	worker_turn_end(w);
}

/* ---- timers ---- */

static void on_janitor(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	worker_turn(w);
	janitor_run(w);
	if (w->config->stats_period_us > 0 && w->now_us - w->stats_at_us >= w->config->stats_period_us) {
		stats_period(w);
		w->stats_at_us = w->now_us;
	}
	worker_turn_end(w);
}

/* ---- the whole ---- */

static const int signals[] = { SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2 };

static bool start_events(struct worker *w)
{
	struct timeval every = { .tv_usec = JANITOR_EVERY_US };

	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
		w->signals[i] = evsignal_new(w->base, signals[i], on_signal, w);
		evsignal_add(w->signals[i], NULL);
	}
	w->janitor = event_new(w->base, -1, EV_PERSIST, on_janitor, w);
	event_add(w->janitor, &every);
	return true;
}

static unsigned workers_of(const struct config *c)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return c->workers ? (unsigned)c->workers : cores > 0 ? (unsigned)cores : 1;
}

struct worker *worker_new(struct config *config, int verbose, bool quiet)
{
	struct worker *w = calloc(1, sizeof *w);
	char why[500];

	if (!w)
		abort();
	w->config = config;
	w->verbose = verbose;
	w->quiet = quiet;
	TAILQ_INIT(&w->databases);
	TAILQ_INIT(&w->users);
	TAILQ_INIT(&w->clients);
	TAILQ_INIT(&w->runnable);
	TAILQ_INIT(&w->dead_clients);
	TAILQ_INIT(&w->backends);
	TAILQ_INIT(&w->parting);
	TAILQ_INIT(&w->dead_backends);
	TAILQ_INIT(&w->cancels);
	TAILQ_INIT(&w->dead_cancels);
	TAILQ_INIT(&w->lookups);
	TAILQ_INIT(&w->listeners);
	TAILQ_INIT(&w->waits);
	TAILQ_INIT(&w->vacates);
	TAILQ_INIT(&w->rules);
	loops_init(&w->loops, w, workers_of(config), &w->blocks);
	worker_turn(w);
	w->started_us = w->stats_at_us = w->now_us;
	w->wall_offset_us = clock_us(CLOCK_REALTIME) - w->now_us;
	if (!configure_log(w, config)) {
		log_line(LOG_LEVEL_FATAL, "logfile %s could not be opened", config->logfile);
		goto failed;
	}
	if (!make_tls(config, &w->client_tls, &w->server_tls, why, sizeof why)) {
		log_line(LOG_LEVEL_FATAL, "%s", why);
		goto failed;
	}
	w->n_by_key = KEY_SLOTS;
	w->by_key = calloc(w->n_by_key, sizeof *w->by_key);
	w->store.settings = settings_store_new();
	w->store.stmts = stmt_store_new();
	w->store.effects = effects_memory_new(EFFECTS_MEMORY_BYTES);
	worker_random(w->mock_key, sizeof w->mock_key);
	w->base = loops_first(&w->loops)->base;
	if (!w->by_key)
		abort();
	derive_init(w);
	w->dns = evdns_base_new(w->base, EVDNS_BASE_INITIALIZE_NAMESERVERS);
	if (!w->dns) /* no resolv.conf: /etc/hosts still counts */
		w->dns = evdns_base_new(w->base, 0);
	if (w->dns)
		evdns_base_load_hosts(w->dns, "/etc/hosts");
	tell_warnings(config);
	start_events(w); /* first: whoever sees it listen may send a signal */
	if (!listeners_open(w))
		goto failed;
	pools_load(w);
	pools_serve_all(w);
	worker_turn_end(w);
	log_line(LOG_LEVEL_LOG, "process up: pgporter %s (PgBouncer %s), libevent %s (%s), tls: %s", PGPORTER_VERSION, PGBOUNCER_VERSION,
		 event_get_version(), event_base_get_method(w->base), OpenSSL_version(OPENSSL_VERSION));
	return w;
failed:
	worker_free(w);
	return NULL;
}

void worker_run(struct worker *w)
{
	if (!loops_one(&w->loops)) {
		loops_run(&w->loops);
		return;
	}
	do {
		int none = event_base_loop(w->base, EVLOOP_ONCE);

		flush_dirty(w);
		if (none)
			return;
	} while (!event_base_got_break(w->base));
}

static void close_everything(struct worker *w)
{
	struct client *c;
	struct backend_conn *b;

	while ((c = TAILQ_FIRST(&w->clients))) {
		if (c->state == CLIENT_CONSOLE)
			client_close(c, "shutdown");
		else
			client_fail(c, "57P01", "terminating connection due to administrator command", NULL, NULL);
	}
	while ((b = TAILQ_FIRST(&w->backends)))
		conn_close(b, "shutdown");
	while ((b = TAILQ_FIRST(&w->parting)))
		conn_end(b);
	cancel_free_all(w);
	lookup_free_all(w);
	reap(w);
}

/* It is ending already: one more of these is no reason to die half way. */
static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		if (signals[i] != SIGQUIT)
			sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

void worker_free(struct worker *w)
{
	block_signals();
	if (w->base) {
		w->shutdown = SHUTDOWN_NOW;
		listeners_close(w);
		close_everything(w);
		for (size_t i = 0; i < sizeof w->signals / sizeof *w->signals; i++)
			if (w->signals[i])
				event_free(w->signals[i]);
		if (w->janitor)
			event_free(w->janitor);
		pools_free(w);
		derive_free(w);
		if (w->dns)
			evdns_base_free(w->dns, 0);
		stream_pool_release(&w->blocks);
		stmt_store_free(w->store.stmts);
		settings_store_free(w->store.settings);
		effects_memory_free(w->store.effects);
	}
	loops_free(&w->loops);
	SSL_CTX_free(w->client_tls);
	SSL_CTX_free(w->server_tls);
	config_free(w->config);
	OPENSSL_cleanse(w->mock_key, sizeof w->mock_key);
	free(w->by_key);
	free(w->dirty);
	free(w);
}
