/* server/protocol.h — the version of the protocol that a client is answered in: the one its database's PostgreSQL would
 * answer in (protocol 3, "Protocol Versions", "NegotiateProtocolVersion"). 3.2 is spoken where that is 18 or newer; older
 * ones, and what is no PostgreSQL, are stood for in 3.0. Towards servers pgporter itself speaks 3.0.
 *
 * PostgreSQL says so ahead of any authentication. What a server speaks is known once anybody has logged in there; before
 * that it is asked, by a startup packet that claims a version nobody speaks and names no user: no session and no
 * credentials are needed for the answer. Such a connection counts in no limit, as those of cancel requests. */
#ifndef PGPORTER_SERVER_PROTOCOL_H
#define PGPORTER_SERVER_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct backend_conn;
struct buf;
struct client;
struct database;

enum {
	PROTOCOL_MINOR = 2, /* the newest 3.x that pgporter speaks */
	PROTOCOL_ASKED = 9999, /* never to be spoken: "libpq and GREASE" */
};

void protocol_reported(struct database *d, const char *server_version); /* a server of that database said so at a login */
void protocol_forget(struct database *d); /* it is another server now */
void protocol_free(struct database *d);
bool protocol_used(const struct database *d); /* being asked */

/* True if c can be answered: it is known what its database's server speaks, or can't be asked now. Else that is being asked, and c waits
 * in CLIENT_PROTOCOL, without c->database; it is scheduled when there is an answer, and has to ask here again. */
bool protocol_known(struct client *c);
/* c->minor as spoken from now on; NegotiateProtocolVersion if c asked for more than that, or for options. console: nobody's but pgporter's. */
void protocol_negotiate(struct client *c, bool console);
void protocol_refuse(struct client *c); /* another major version: FATAL, and closed */

/* ---- the connection that asks: one whose pool has a `protocol` ---- */
void protocol_ask(struct backend_conn *b, struct buf *out); /* the startup packet's body */
void protocol_message(struct backend_conn *b, char type, const uint8_t *body, size_t len);
void protocol_lost(struct backend_conn *b, const char *reason); /* it is closed, with an answer or without */

#endif
