/* server/listener.h — the sockets that clients come in by: TCP addresses and the unix socket. */
#ifndef PGPORTER_SERVER_LISTENER_H
#define PGPORTER_SERVER_LISTENER_H

#include <stdbool.h>

struct worker;

/* Opens everything the configuration names. False: said why in the log; nothing is left open. */
bool listeners_open(struct worker *w);
/* TCP only: a shutdown that still lets the console in by its unix socket. */
void listeners_close_tcp(struct worker *w);
void listeners_close(struct worker *w);
/* Accept no more (out of file descriptors), or again. */
void listeners_pause(struct worker *w, bool pause);
void listeners_tune(struct worker *w); /* options of sockets, as the configuration in force says */

#endif
