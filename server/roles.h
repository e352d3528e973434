/* server/roles.h — roles that are gone: nobody is given a connection that still has one, nor another role of that name. */
#ifndef PGPORTER_SERVER_ROLES_H
#define PGPORTER_SERVER_ROLES_H

#include "server/worker.h"

/* c's session has dropped or renamed some (EVENT_ROLES), on its server. */
void roles_gone(struct client *c);

#endif
