/* server/client.h — one connection from an application: startup, login, and then messages between its stream, its
 * session and the backend it is linked to. */
#ifndef PGPORTER_SERVER_CLIENT_H
#define PGPORTER_SERVER_CLIENT_H

#include "server/own.h"
#include "server/socket.h"
#include "server/worker.h"

enum client_state {
	CLIENT_STARTUP,	    /* waiting for the startup packet */
	CLIENT_TLS,	    /* handshake */
	CLIENT_PROTOCOL,    /* waiting for its server's word on which protocol it speaks */
	CLIENT_LOOKUP,	    /* waiting for auth_query */
	CLIENT_AUTH,	    /* exchange of 'p' messages */
	CLIENT_DERIVE,	    /* in the middle of it: waiting for keys to be derived */
	CLIENT_WELCOME,	    /* logged in; waits for a backend to say what it is told */
	CLIENT_ACTIVE,
	CLIENT_CONSOLE,
	CLIENT_CANCEL,	    /* brought a CancelRequest */
	CLIENT_DEAD,
};

enum { CANCEL_KEY_SHORT = 4, CANCEL_KEY_LONG = 32 }; /* bytes; long from protocol 3.2 on, and as long as PostgreSQL 18's */

struct line_place {
	struct pool_waiter waiter; /* first */
	struct client *client;	   /* one of the three */
	struct lookup *lookup;
	struct catalogue *catalogue;
};

struct client {
	TAILQ_ENTRY(client) in, run;
	struct client *next_by_key;
	struct worker *worker;
	struct stream stream;
	struct session session;
	struct kept_rules *rules; /* its session's, shared with all that have the same (server/rules.c); NULL before it has one */
	bool have_session;
	enum client_state state;
	uint64_t id;
	struct db_pool *pool;	  /* from the startup packet on; NULL for the console */
	struct database *database; /* NULL: the console, or a name that is not in the configuration */
	struct user *user;	  /* as it logged in; NULL: the console */
	char *user_name, *database_name;
	struct backend_conn *backend; /* linked */
	struct line_place line;
	bool own_wanted, own_waiting; /* it needs a connection of its own; it is in line for it */
	TAILQ_ENTRY(client) own_in;
	struct backend_conn *own; /* on its way to be that */
	enum replication replication;
	bool runnable;
	bool pumping;	      /* its messages are being taken: who links it now need not have that done */
	size_t stream_left;	  /* bytes of the message under way that go on unread */
	bool stream_drop;	  /* …to nowhere */
	bool admin;		  /* console: every command; else SHOW only */
	bool login_gone;	  /* the role it logged in as is: it gets no other backend */
	bool counted;		  /* in max_client_conn and its database's and user's limits */
	bool unix_socket;
	bool ssl_asked, gss_asked; /* one of each at most */
	bool query_notified;
	uint64_t defaults_generation; /* of its pool's, that it was started under */
	struct buf params;	  /* startup parameters, kept until login is done: name NUL value NUL … */
	struct auth_client *auth;
	struct derive_wait *derive; /* NULL but in CLIENT_DERIVE */
	uint16_t major, minor;	  /* of the protocol: asked for; once negotiated, spoken */
	uint32_t cancel_pid;
	uint8_t cancel_key[CANCEL_KEY_LONG]; /* as much of it as goes with its protocol */
	struct socket_end there;
	int64_t connected_us, request_us, query_us, xact_us, last_us; /* last_us: last byte either way */
	int64_t pinned_us;	  /* 0: not pinned */
	uint32_t known_pins;	  /* reasons that the pool's totals count now… */
	int64_t *pin_since_us;	 /* …and since when, each of PIN_REASONS; NULL before its first pin */
	bool pin_logged;	  /* that it is older than pin_log_after */
	int64_t idle_us;	  /* since when it has been idle */
	int64_t idle_session_timeout_us, base_idle_timeout_us; /* the client's own setting, now and at login; 0: none */
	bool welcomed;		  /* just now: its backend was taken for the login only */
	bool busy;		  /* a query is under way */
	uint64_t counted_received, counted_sent; /* of the stream's bytes, in the pool's traffic */
	struct console_wait *wait;
	const char *closing;	  /* why */
};

struct listener;
void client_new(struct worker *w, int fd, bool unix_socket, const struct socket_end *there);
/* Closes at the end of the turn. Tells the client nothing: client_fail() does. Its backend is given back or closed. */
void client_close(struct client *c, const char *reason);
/* FATAL with SQLSTATE and message (and detail, hint), then client_close(). In the middle of a message that is being
 * forwarded nothing can be said: it is closed without a word, as by a server that dies there. */
void client_fail(struct client *c, const char *sqlstate, const char *message, const char *detail, const char *hint);
void client_free(struct client *c); /* the reaper's */
void client_schedule(struct client *c); /* pump it at the end of the turn */
void client_pump(struct client *c);
void client_give_up_backend(struct client *c); /* given back or closed; fine when it has none */
void client_want_backend(struct client *c); /* in line for one, if need be; client_linked() follows */
/* A backend from the pool is the client's. */
void client_linked(struct client *c, struct backend_conn *b);
/* What its linked backend's replies brought about (EVENT_…). */
void client_events(struct client *c, uint32_t events);
/* The backend is going, and still c->backend: what PostgreSQL said last has been forwarded (told), or nothing was. */
void client_backend_lost(struct client *c, bool told);
/* The rules for its session's state are those of the running configuration. */
void client_rules(struct client *c);
/* Its session's pins are other ones than before (server/pins.c); it is about to go. */
void client_pins_changed(struct client *c);
void client_pins_gone(struct client *c);
/* Its database's server can't be logged in to: for clients that still wait for their welcome. */
void client_login_failed(struct client *c);
void client_looked_up(struct client *c, const struct secret *secret); /* auth_query's answer; NULL: no such user */
/* NULL: no match. How long a key takes to compare does not tell how much of it is right. */
struct client *client_by_key(struct worker *w, uint32_t pid, const uint8_t *key, size_t len);
void client_tell_key(const struct client *c, struct buf *out); /* BackendKeyData */
void client_log(const struct client *c, int level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As SHOW CLIENTS calls it: active, waiting, idle… */
const char *client_state_name(const struct client *c);

/* ---- login (server/client_login.c) ---- */
void client_startup(struct client *c);	     /* bytes of the startup phase are there */
void client_protocol_known(struct client *c); /* or can't be */
void client_auth_message(struct client *c);
void client_idle_timeout(struct client *c); /* its session has SET idle_session_timeout */
void client_tell_reports(struct client *c, const struct settings *reported); /* ParameterStatus, in the server's order */
void client_welcome(struct client *c, const struct settings *reported);
void client_welcome_failed(struct client *c); /* PostgreSQL refused a startup setting */

#endif
