/* server/backend_conn.h — one connection to PostgreSQL: connecting, TLS, login, and then messages for whoever is linked. */
#ifndef PGPORTER_SERVER_BACKEND_CONN_H
#define PGPORTER_SERVER_BACKEND_CONN_H

#include <sys/socket.h>

#include "server/worker.h"
#include "state/speakers.h"

enum conn_state {
	CONN_RESOLVING,
	CONN_CONNECTING,
	CONN_TLS_ASKED, /* SSLRequest sent */
	CONN_TLS,
	CONN_LOGIN,
	CONN_LEARN,    /* what it starts with (server/defaults.h) */
	CONN_GREETING, /* connect_query */
	CONN_GREETED,  /* what that has set */
	CONN_READY,    /* idle or linked */
	CONN_CHECK,    /* server_check_query before use */
	CONN_RESET,    /* server_reset_query after session pooling */
	CONN_LOOKUP,   /* auth_query */
	CONN_CATALOGUE, /* reads the catalogue, or waits until another has */
	CONN_DEAD,
};

struct backend_conn {
	TAILQ_ENTRY(backend_conn) in;
	struct worker *worker;
	struct stream stream;
	struct backend facts;
	struct pool_backend node;
	struct db_pool *pool;
	enum conn_state state;
	bool have_stream;
	struct client *client; /* linked */
	struct lookup *lookup;
	struct evdns_getaddrinfo_request *resolving;
	struct sockaddr_storage peer;
	socklen_t peer_len;
	char address[64];
	int port;
	char local_address[64];
	int local_port;
	struct auth_server *auth;
	struct derive_wait *derive; /* NULL: its login does not wait for keys */
	uint32_t pid, secret; /* of BackendKeyData */
	struct speakers speakers; /* who has notified through it */
	size_t stream_left;   /* bytes of the reply under way that go on unread */
	bool stream_drop;
	bool close_needed;    /* RECONNECT, RELOAD: close when given back */
	int64_t close_needed_us; /* since when even a pin has to end; 0: it may stay */
	struct client *own;   /* whose own it is going to be, while it logs in */
	bool single;	      /* one client's own: never given back */
	uint64_t defaults_generation; /* of its pool's when it was opened */
	const struct settings *learning, *greeting; /* asked about now; what connect_query has set, or NULL */
	bool told_fatal;      /* a FATAL was passed on */
	bool unheard;	      /* it has hung up or doesn't answer: nothing is to be waited for when it is closed */
	bool parting;	      /* CONN_DEAD for everyone, but counted until PostgreSQL has ended the session */
	int cancels;	      /* cancel requests on their way to it: nobody else may have it yet */
	bool free_after_cancel;
	uint64_t no_idle_timeout; /* settings_id() of what was last found not to hold idle_session_timeout */
	int64_t connected_us, request_us, used_us; /* used_us: given back, or known to answer */
	uint64_t id;
	char host[256];
};

void conn_open(struct db_pool *p); /* counted at once */
void conn_open_own(struct client *c); /* the same, for c alone: own_opened() or own_failed() follows */
/* A linked client loses it. What PostgreSQL may still have of it counts in every limit until its end of the connection
 * says that the session is over, or PARTING_MAX_US have passed. */
void conn_close(struct backend_conn *b, const char *reason);
enum { PARTING_MAX_US = 5 * 1000 * 1000 };
void conn_opened(struct backend_conn *b); /* logged in: it is the pool's */
void conn_end(struct backend_conn *b); /* one that is parting: waits no longer */
void conn_timed_out(struct backend_conn *b); /* before its login was done */
void conn_free(struct backend_conn *b); /* the reaper's */
void conn_pump(struct backend_conn *b);
void conn_parameter(struct backend_conn *b, const uint8_t *body, size_t len); /* a ParameterStatus between two clients */
void conn_give_back(struct backend_conn *b); /* to the pool, or closed if its time has come */
/* Its client needs it no more: clean, it goes back to the pool, else it is closed. */
void conn_release(struct backend_conn *b, bool clean);
/* Used so recently that it needs no check. conn_check() asks it something and then calls client_linked() for its client. */
bool conn_fresh_enough(const struct backend_conn *b);
void conn_check(struct backend_conn *b);
void conn_log(const struct backend_conn *b, int level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The process id that who reads a notification knows its sender by: a backend of ours, on the same server as `to`, goes
 * by the client that it speaks for. */
uint32_t conn_known_as(const struct backend_conn *to, uint32_t pid);
void conn_all_caught_up(const struct backend_conn *to); /* nothing that was notified until now will come to it */
void conn_marker_heard(const struct backend_conn *to, uint32_t pid, uint64_t serial); /* one came from there, of that session */
const char *conn_state_name(const struct backend_conn *b); /* as SHOW SERVERS calls it */

static inline struct backend_conn *conn_of(struct pool_backend *node)
{
	return (struct backend_conn *)((char *)node - offsetof(struct backend_conn, node));
}

/* ---- cancel requests (server/cancel.c) ---- */
/* The client that sent it stays connected until it was delivered. */
void cancel_begin(struct client *from, uint32_t pid, const uint8_t *key, size_t len);
void cancel_query(struct backend_conn *b); /* of our own accord, before it is closed */
void cancel_abandon(struct client *from); /* that client is gone */
void cancel_target_gone(struct backend_conn *b);
void cancel_reap(struct worker *w);   /* frees what is done with */
void cancel_expire(struct worker *w); /* cancel_wait_timeout */
void cancel_free_all(struct worker *w);

/* ---- auth_query (server/lookup.c) ---- */
void lookup_begin(struct client *c, struct database *db, const char *auth_user, const char *query);
void lookup_abandon(struct client *c);
void lookup_linked(struct lookup *l, struct backend_conn *b);
void lookup_message(struct lookup *l, char type, const uint8_t *body, size_t len); /* of its backend */
void lookup_lost(struct lookup *l); /* its backend is gone */
void lookup_expire(struct worker *w); /* ends those whose pool can't be logged in to */
void lookup_free_all(struct worker *w);

#endif
