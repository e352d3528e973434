/* server/vacate.h — databases that are about to be dropped, renamed, moved or copied: none of our idle backends may be
 * connected to them, or PostgreSQL refuses (55006). They are told to go, their going is awaited, and none is opened until
 * the statement is over. Backends in use by clients stay: about those PostgreSQL refuses, as it would directly.
 *
 * A database is meant as PostgreSQL knows it: by its name there, whatever entries lead to it, by host and port. */
#ifndef PGPORTER_SERVER_VACATE_H
#define PGPORTER_SERVER_VACATE_H

#include "server/worker.h"

/* For the statement that c's session holds (SESSION_VACATE). True: nothing is in the way. Else c is scheduled when it is. */
bool vacate_begin(struct client *c);
/* Its statement is over, or it is gone: connections are opened again, and the clients of what has become of the database
 * learn it from PostgreSQL. Fine for one who never began. */
void vacate_end(struct client *c);
/* True if the entry leads to the server that c's does, or that c is linked to. */
bool vacate_same_server(const struct worker *w, const struct client *c, const struct database *d);
void vacate_tick(struct worker *w); /* at the end of a turn: who is let on? */
/* True while no connection may be opened for the entry, or be idle in it. */
bool vacate_holds(const struct worker *w, const struct database *d);

#endif
