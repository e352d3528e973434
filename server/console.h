/* server/console.h — the console database `pgbouncer` (and `pgporter`): PgBouncer's commands, columns and texts. */
#ifndef PGPORTER_SERVER_CONSOLE_H
#define PGPORTER_SERVER_CONSOLE_H

#include <stddef.h>
#include <stdint.h>

struct client;
struct worker;

/* Logs the client in to the console: parameters and ReadyForQuery. */
void console_welcome(struct client *c);
/* One whole message of a console client. May close it. While c->wait is set its answer is still owed: don't give the next
 * one before it is NULL again; client_schedule() says when. */
void console_message(struct client *c, char type, const uint8_t *body, size_t len);
/* A cancel request with a console client's key: the command it waits for is given up, and PAUSE is undone. */
void console_cancel(struct client *c);
/* Answers the commands that waited for what has now come (PAUSE, WAIT_CLOSE…); called from the janitor and whenever a backend was given back or closed. */
void console_tick(struct worker *w);
void console_gone(struct client *c);

/* ---- statistics (server/stats.c) ---- */
void stats_period(struct worker *w); /* averages, and the log line */

#endif
