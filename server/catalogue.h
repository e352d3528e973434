/* server/catalogue.h — reads what a database's catalogue has of functions that touch session state, and of the triggers,
 * defaults, views, operators, policies and checks that reach them, into the database's watch set (parser/watch.h).
 *
 * It is read on the first server connection of a database before any client gets one, after RELOAD, and some time after a
 * statement that went by has changed it; then on a connection of the pool between two clients, which holds nothing of any
 * client's. Two queries or a few more, read-only, with a timeout; where they fail, DO and CALL stay opaque and what functions
 * do isn't seen, and the log says so. */
#ifndef PGPORTER_SERVER_CATALOGUE_H
#define PGPORTER_SERVER_CATALOGUE_H

#include "server/worker.h"

struct catalogue; /* of one database */

struct catalogue *catalogue_new(struct worker *w, struct database *db);
void catalogue_leave_line(struct catalogue *c); /* before its pools are freed */
void catalogue_free(struct catalogue *c);
struct watch *catalogue_watch(struct catalogue *c); /* for its sessions; lives as long as the catalogue */

/* A server connection has logged in. True: it is used, or has to wait, for the first reading; conn_opened() follows. */
bool catalogue_claims(struct backend_conn *b);
/* A connection of the pool, for another reading. */
void catalogue_linked(struct catalogue *c, struct backend_conn *b);
void catalogue_message(struct backend_conn *b, char type, const uint8_t *body, size_t len);
void catalogue_lost(struct backend_conn *b); /* closed meanwhile */
void catalogue_changed(struct database *db); /* a statement has changed it: to be read again soon */
void catalogue_reload(struct worker *w);     /* all are to be read again */
void catalogue_tick(struct worker *w);	     /* now and then */

#endif
