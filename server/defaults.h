/* server/defaults.h — what a server connection starts with: ALTER ROLE/DATABASE … SET, and the database line's connect_query.
 *
 * Direct, a session keeps the defaults that it was started under, whatever is changed later. So each pool knows those of
 * its connections (the first of each generation is asked); when they change (another generation), clients that are
 * logged in get the values that were theirs as a base under what they have set, and only who logs in afterwards gets the
 * new ones. What connect_query has set is the base of every client of the pool. */
#ifndef PGPORTER_SERVER_DEFAULTS_H
#define PGPORTER_SERVER_DEFAULTS_H

#include "server/worker.h"

/* Between login and first use. Asks its own questions; true: there is nothing (more) to ask now. */
bool defaults_ask(struct backend_conn *b);	  /* before connect_query */
bool defaults_ask_greeting(struct backend_conn *b); /* after it */
void defaults_row(struct backend_conn *b, const uint8_t *body, size_t len); /* DataRow of either answer */
void defaults_learned(struct backend_conn *b);		/* ReadyForQuery of defaults_ask()'s */
void defaults_greeting_learned(struct backend_conn *b); /* …of defaults_ask_greeting()'s */
/* True while the connection's defaults are those that its pool's have now. */
bool defaults_current(const struct backend_conn *b);

/* Its client has changed them on its server: every entry that leads there gets new connections. */
void defaults_changed(struct client *c);
/* The pool's connections are to be replaced: the next ones may start with other defaults. */
void defaults_outdated(struct db_pool *p);
void defaults_release(struct db_pool *p);

#endif
