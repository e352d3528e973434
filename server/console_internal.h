/* server/console_internal.h — what the files of console.h's module share. Private to server/console*.c. */
#ifndef PGPORTER_SERVER_CONSOLE_INTERNAL_H
#define PGPORTER_SERVER_CONSOLE_INTERNAL_H

#include <stdbool.h>

#include "server/client.h"
#include "server/console.h"
#include "server/console_rows.h"

/* Where the client's answers are written; they go out at the end of the turn. */
struct buf *console_out(struct client *c);
/* ERROR with SQLSTATE, and ReadyForQuery. NULL for no detail or hint. */
void console_error(struct client *c, const char *sqlstate, const char *detail, const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
void console_unknown(struct client *c, const char *text); /* text is no command */
void console_done(struct client *c, const char *tag); /* CommandComplete and ReadyForQuery */
bool console_is_admin_db(const char *name);

/* SHOW name; false if there is no such table. */
bool console_show(struct client *c, const char *name); /* console_show.c */
/* A command other than SHOW and SET; false if there is none like it. */
bool console_run(struct client *c, const char *word, const char *arg); /* console_commands.c */
void console_set(struct client *c, const char *key, const char *value);

/* Tables; each writes its own. */
void show_clients(struct client *c);
void show_servers(struct client *c);
void show_sockets(struct client *c);
void show_active_sockets(struct client *c);
void show_pools(struct client *c);
void show_pins(struct client *c); /* these six: console_sockets.c */
void show_pins_totals(struct client *c);
void show_settings(struct client *c); /* these two: pins.c */
void show_stats(struct client *c);
void show_stats_totals(struct client *c);
void show_stats_averages(struct client *c);
void show_totals(struct client *c);
void show_counters(struct client *c); /* these five: stats.c */

const char *console_mode_name(int mode); /* enum pool_mode; NULL for inherit */
/* "advisory lock, held cursor" */
const char *console_pin_reasons(uint32_t pins, char *text, size_t cap);

#endif
