/* server/janitor.h — everything that ends because time has passed: one walk over clients and backends a few times a
 * second, so that no message has to touch a timer. */
#ifndef PGPORTER_SERVER_JANITOR_H
#define PGPORTER_SERVER_JANITOR_H

struct worker;

enum { JANITOR_EVERY_US = 50 * 1000 }; /* also the grain of retries and reserve pools */

void janitor_run(struct worker *w);

#endif
