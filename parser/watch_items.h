/* parser/watch_items.h — what a database's catalogue has of functions and of what reaches them → a watch set.
 *
 * Functions and definitions come in any order; watch_items_solve() reads them until nothing is added: a function that calls
 * one that calls one. Bounded by the caller. */
#ifndef PGPORTER_PARSER_WATCH_ITEMS_H
#define PGPORTER_PARSER_WATCH_ITEMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parser/buf.h"
#include "parser/watch.h"

struct watch_items;

struct watch_items *watch_items_new(void);
void watch_items_free(struct watch_items *items);

/* params: names of input parameters, each ended by \x01, empty where one has none; NULL: none. body NULL: it can't be had. All
 * is copied. */
void watch_items_function(struct watch_items *items, uint32_t oid, const char *name, bool procedure, const char *language,
			  const char *params, const char *body);
/* Something that others reach by `word`: a view, a trigger's table, an operator. definition: what runs then. when is
 * WATCH_NAMED (what writes by way of it counts when something is written), WATCH_WRITTEN or WATCH_CALLED. */
void watch_items_object(struct watch_items *items, enum watch_when when, const char *word, const char *definition);
void watch_items_event_trigger(struct watch_items *items, const char *definition); /* reached by every CREATE, ALTER, DROP… */

/* Adds to w all that follows. Returns how many functions turned out to have effects. */
size_t watch_items_solve(struct watch_items *items, struct watch *w);
/* Their oids: 1,2,3 */
void watch_items_oids(const struct watch_items *items, struct buf *out);

#endif
