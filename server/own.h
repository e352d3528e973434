/* server/own.h — server connections that are one client's own, from its login to its end: where the startup packet asks
 * for what PostgreSQL does only when a session starts, and for replication. Opened with the client's own parameters, so
 * that PostgreSQL judges them; counted in every limit; never given to anyone else. */
#ifndef PGPORTER_SERVER_OWN_H
#define PGPORTER_SERVER_OWN_H

#include "server/worker.h"

enum replication { REPLICATION_NONE, REPLICATION_LOGICAL, REPLICATION_PHYSICAL };

/* What the startup parameter of that name asks for; NULL: it is not there. What PostgreSQL does not understand it is to
 * refuse, on a connection of its own. */
enum replication own_replication(const char *value);
const char *own_replication_name(enum replication r); /* as SHOW CLIENTS calls it */
/* True for a parameter that has an effect only in the startup packet of a server connection. */
bool own_needed_for(const char *name);

/* The client is in line for one; client_linked() follows, or its end. Fine when it is in line already. */
void own_request(struct client *c);
void own_abandon(struct client *c); /* gone, before or after it had it */
void own_serve(struct db_pool *p);  /* opens what limits allow, makes room in its own pool */
void own_startup(struct backend_conn *b, struct buf *out); /* parameters beyond user and database */
void own_opened(struct backend_conn *b);
/* It could not be: its client is told by error, PostgreSQL's ErrorResponse body (or none), or by reason. */
void own_failed(struct backend_conn *b, const char *reason, const uint8_t *error, size_t len);

#endif
