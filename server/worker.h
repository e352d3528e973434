/* server/worker.h — what there is of pgporter: event loops and everything that hangs off them. Nothing here is global; whoever
 * holds a worker pointer runs on its one thread, or, with several loops (server/loop.h), has their lock: worker_turn() takes
 * it, worker_turn_end() leaves it.
 *
 * A turn is one callback of the event loop. Callbacks change state, write into streams and schedule clients; who was
 * scheduled runs and what was closed is freed at the end of the turn, in worker_turn_end(), and nowhere else. What was
 * written is sent when all that was ready together has had its turn. */
#ifndef PGPORTER_SERVER_WORKER_H
#define PGPORTER_SERVER_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <event2/event.h>
#include <event2/dns.h>

#include "auth/secret.h"
#include "server/config.h"
#include "server/loop.h"
#include "server/stream.h"
#include "state/pin_totals.h"
#include "state/pool.h"
#include "state/session.h"

struct client;
struct backend_conn;
struct db_pool;
struct lookup;
struct catalogue;
struct cancel;
struct listener;
struct console_wait;
struct vacate;
struct listening;
struct protocol;
struct derives;
TAILQ_HEAD(clients, client);
TAILQ_HEAD(backend_conns, backend_conn);

#define PGPORTER_VERSION "0.1.0"
/* The version whose console and options pgporter follows; SHOW VERSION and server_version of the console show it too. */
#define PGBOUNCER_VERSION "1.25.2"

/* What SHOW STATS prints; all only grow. Times in microseconds. */
struct traffic {
	uint64_t received, sent; /* bytes from and to clients */
	uint64_t query_time_us, xact_time_us, wait_time_us;
	uint64_t assignments, logins;
};

/* A user, as clients log in and servers are logged in to. Lives as long as the worker. */
struct user {
	TAILQ_ENTRY(user) in;
	char *name;
	const struct config_user *conf; /* of the running config; NULL: no line in [users] */
	struct pool_limit backends;	/* max_user_connections */
	struct pool_limit clients;	/* max_user_client_connections */
};

/* A database entry as clients name it. */
struct database {
	TAILQ_ENTRY(database) in;
	char *name;
	const struct config_database *conf; /* of the running config; NULL: gone from it */
	bool automatic;			    /* made from '*' */
	bool paused, disabled;
	int64_t paused_us, unused_since_us;
	struct pool_limit backends; /* max_db_connections */
	struct pool_limit clients;  /* max_db_client_connections */
	uint64_t generation;	    /* of its definitions: DDL has passed */
	struct catalogue *catalogue; /* what is known of its functions */
	unsigned next_host;	    /* round robin */
	struct listening *listening; /* NULL: no client yet */
	struct protocol *protocol;   /* what asks which protocol its server speaks; NULL: nobody had to */
	int server_major, minor;     /* of its PostgreSQL as heard at the last login, 0: not yet; of protocol 3 for its clients… */
	bool minor_known;	     /* …if that is known */
	TAILQ_HEAD(, pool) pools;
};

/* What a client with these startup settings is told at login. */
struct welcome {
	const struct settings *base, *reported;
};
enum { WELCOMES = 32 };

/* One database, one server user: what PgBouncer calls a pool. */
struct db_pool {
	struct pool pool; /* first: a struct pool pointer is a struct db_pool pointer */
	struct worker *worker;
	struct database *database;
	struct user *user; /* who logs in to the server */
	int mode;	   /* enum pool_mode */
	bool carries;	   /* by the rules of its database and user, some kind of session state */
	struct secret learned; /* by a login as this user: logs in to servers */
	struct session_counters counters;
	struct pin_limit pins; /* max_pins */
	struct pin_total *pin_totals[PIN_REASONS]; /* NULL: none of that reason yet */
	struct traffic traffic;
	struct traffic last_traffic; /* at the end of the last stats_period… */
	struct session_counters last_counters;
	struct traffic period_traffic; /* …and what it brought */
	struct session_counters period_counters;
	struct welcome welcomes[WELCOMES];
	unsigned n_welcomes, next_welcome;
	char **reports; /* names of the settings the server reports, in its order */
	size_t n_reports;
	const struct settings *defaults; /* what its connections start with (server/defaults.h); NULL: not asked yet */
	const struct settings *greeting; /* what connect_query has set; NULL: not known */
	uint64_t defaults_generation, defaults_learned; /* now; that `defaults` is of */
	struct clients own_line;	 /* who waits for a connection of its own (server/own.h) */
	int n_clients; /* logged in or logging in */
	struct listening *listening; /* NULL but for its own pool of one, which is in no list */
	struct protocol *protocol;   /* the same: what is opened here only asks (server/protocol.h) */
	int64_t failing_since_us; /* 0: not */
	struct buf last_error;	  /* ErrorResponse body of the last failed login; empty if none */
	char last_reason[200];	  /* in words */
};

/* How long clients that log in wait for a server that can't be reached before they are told. */
enum { LOGIN_PATIENCE_US = 5 * 1000 * 1000 };

enum shutdown_mode { SHUTDOWN_NO, SHUTDOWN_WAIT_CLIENTS, SHUTDOWN_WAIT_SERVERS, SHUTDOWN_NOW };

struct worker {
	struct loops loops;
	struct event_base *base; /* the first loop's */
	struct evdns_base *dns;
	struct config *config;
	SSL_CTX *client_tls, *server_tls; /* NULL: disabled */
	struct session_store store;
	struct stream_pool blocks;
	uint8_t mock_key[32];
	struct derives *derives; /* SCRAM keys, known and under way (server/derive.h) */
	int64_t now_us;	    /* monotonic, of this turn */
	int64_t started_us;
	int64_t wall_offset_us; /* wall clock minus monotonic */

	TAILQ_HEAD(, database) databases;
	TAILQ_HEAD(, user) users;
	struct clients clients; /* all, logging in or in */
	struct clients runnable; /* to be pumped at the end of the turn */
	struct clients dead_clients;
	struct backend_conns backends; /* all */
	struct backend_conns parting; /* told to go */
	struct backend_conns dead_backends;
	TAILQ_HEAD(, cancel) cancels, dead_cancels;
	TAILQ_HEAD(, lookup) lookups;
	TAILQ_HEAD(, listener) listeners;
	TAILQ_HEAD(, console_wait) waits; /* console commands whose answer waits for something */
	TAILQ_HEAD(, kept_rules) rules; /* that sessions have */
	TAILQ_HEAD(, vacate) vacates; /* databases to be left for a statement (server/vacate.h) */
	struct stream **dirty; /* written to in this turn */
	size_t n_dirty, cap_dirty;
	int n_clients;
	uint64_t last_client_id;
	struct client **by_key; /* cancel keys: open hash by process id, chained in the client */
	size_t n_by_key;

	bool paused;	   /* PAUSE without a database */
	int64_t paused_us, told_us; /* since when; when a waiting shutdown last said for whom */
	enum shutdown_mode shutdown;
	bool first_signal; /* one SIGTERM or SIGINT was seen */
	struct event *janitor;
	struct event *signals[6];
	int64_t stats_at_us;	/* end of the last stats_period; 0: none has ended */
	int64_t stats_span_us;	/* and its length */
	bool quiet;
	bool listening_due;	/* some database's listening connection is to be seen to */
	int verbose;
	bool in_turn_end, accept_paused;
};

struct worker *worker_new(struct config *config, int verbose, bool quiet); /* NULL: said why in the log */
void worker_run(struct worker *w);  /* until shut down */
void worker_free(struct worker *w);

void worker_turn(struct worker *w); /* at the start of every callback: takes the time */
void worker_turn_end(struct worker *w); /* at the end of every callback */
void worker_dirty(struct worker *w, struct stream *s); /* written to: flushed when all that is ready now has had its turn */
void worker_clean(struct worker *w, struct stream *s); /* about to be released */
struct stream *worker_next_dirty(struct worker *w);    /* taken out; NULL: no more */
void worker_random(void *bytes, size_t n);

/* RELOAD: reads the configuration again. Returns false, with one line in why, and leaves everything as it was. */
bool worker_reload(struct worker *w, char *why, size_t why_cap);
/* Puts another configuration in force (RELOAD, SET); takes ownership. Returns false with why if TLS can't be set up; the config is then freed. */
bool worker_adopt(struct worker *w, struct config *config, char *why, size_t why_cap);
void worker_shutdown(struct worker *w, enum shutdown_mode mode);
/* PAUSE and RESUME; database NULL: all. Pausing is done when worker_pause_done(). */
void worker_pause(struct worker *w, struct database *db);
void worker_resume(struct worker *w, struct database *db);
bool worker_pause_done(const struct worker *w, const struct database *db);
/* Every server connection is closed when it is next given back, the idle ones now. RECONNECT: idle pins end too, after
 * pin_pause_timeout. */
void worker_renew(struct worker *w, struct database *db);
void worker_reconnect(struct worker *w, struct database *db);

/* ---- databases, users, pools (server/pools.c) ---- */

struct database *pools_database(struct worker *w, const char *name, bool create); /* by '*' too, if create; NULL: none */
struct user *pools_user(struct worker *w, const char *name); /* made if need be */
struct db_pool *pools_pool(struct worker *w, struct database *db, struct user *client_user); /* made if need be */
void pools_configure(struct worker *w); /* after a config was adopted: limits, modes, dead entries */
void pools_load(struct worker *w);   /* entries for all databases of the configuration */
void pools_expire(struct worker *w); /* drops what nobody uses any more */
void pools_free(struct worker *w);
/* Opens what is wanted and allowed, serves who waits. Call whenever something was given back, closed, or waits. */
void pools_serve(struct db_pool *p);
void pools_serve_all(struct worker *w);
/* What holds for a client's session state, by its user, database and the running configuration (server/rules.c). The result points into all of
 * them: to be asked for anew when they change. */
void pools_rules(const struct worker *w, const struct database *db, const struct user *user, struct state_rules *rules);
/* The same, as one thing for all who have it; each is to be dropped. */
struct kept_rules {
	TAILQ_ENTRY(kept_rules) in;
	unsigned refs;
	struct state_rules rules;
};
struct kept_rules *rules_keep(struct worker *w, const struct database *db, const struct user *user);
void rules_drop(struct worker *w, struct kept_rules *kept); /* NULL is fine */
int64_t pools_pin_idle_timeout_us(const struct worker *w, const struct database *db, const struct user *user);
int64_t pools_pin_max_age_us(const struct worker *w, const struct database *db, const struct user *user);
int64_t pools_pin_log_after_us(const struct worker *w, const struct database *db, const struct user *user);
/* Nothing but a limit shared with other pools stands in the way of one more for this one: an idle backend of another is
 * closed, or is being closed. Returns false if there is none. */
bool pools_make_room(struct db_pool *p);
/* The time limits that hold for a user: user > global. */
int64_t pools_query_wait_timeout_us(const struct db_pool *p, const struct user *client_user);
const struct settings *pools_welcome_find(struct db_pool *p, const struct settings *base); /* NULL: none */
void pools_welcome_add(struct db_pool *p, const struct settings *base, const struct settings *reported);
void pools_welcome_clear(struct db_pool *p);
void pools_report_order(struct db_pool *p, const char *name); /* the server has reported it at login */

#endif
