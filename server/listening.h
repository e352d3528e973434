/* server/listening.h — the one server connection of a database that listens for all its clients (state/channels.h):
 * opened when somebody listens, replaced when it is lost, closed when nobody listens any more.
 *
 * It logs in as the user that [databases] forces, else as the first listener's, counts against the limits of the
 * database and of that user and against no pool's size. Its stream is read whatever the clients do. */
#ifndef PGPORTER_SERVER_LISTENING_H
#define PGPORTER_SERVER_LISTENING_H

#include "server/worker.h"

struct listening;

/* The database's, made if need be. */
struct channels *listening_channels(struct worker *w, struct database *d);
void listening_free(struct database *d);
bool listening_used(const struct database *d); /* it listens, or somebody wants it to */
struct backend_conn *listening_conn(const struct listening *l); /* NULL: none that is logged in */

/* Somebody waits in the database's channels, or something has changed there: seen to at the end of the turn. */
void listening_due(struct listening *l);
void listening_run(struct worker *w);
void listening_tick(struct worker *w); /* the janitor's */

/* PAUSE and DROP DATABASE: closes the connection. It is not opened again while the database is paused, and not within
 * the next second; who listens is told of the gap. */
void listening_close(struct database *d);

/* ---- its connection's calls (server/backend_conn.c, backend_login.c) ---- */
void listening_connected(struct listening *l, struct backend_conn *b); /* logged in */
void listening_message(struct listening *l, char type, const uint8_t *body, size_t len);
void listening_lost(struct listening *l, struct backend_conn *b, const char *reason);

#endif
