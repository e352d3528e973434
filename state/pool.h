/* state/pool.h — which backend serves which client: idle backends, the waiting line, and every limit.
 *
 * A backend that has seen custom settings serves only who may find them there (state/backend.h, `seen`): for others a
 * fresh one is opened, at most so many a second, and where the pool is full an idle one is closed for it.
 *
 * Owns no connection: callers embed the nodes in their own structs. Counts are exact at every instant: a backend counts
 * from the moment the decision to open it is taken until it is gone. Times are microseconds of the caller's clock. */
#ifndef PGPORTER_STATE_POOL_H
#define PGPORTER_STATE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "state/backend.h"
#include "state/settings.h"

struct pool;

/* Something that backends are counted against: a database entry, or a user. max <= 0: no limit. */
struct pool_limit {
	int max, count;
};

enum pool_place { PLACE_NONE, PLACE_OPENING, PLACE_IDLE, PLACE_ACTIVE, PLACE_CLOSING };

struct pool_backend {
	TAILQ_ENTRY(pool_backend) in;
	struct pool *pool;
	enum pool_place place;
	const struct backend *facts; /* its settings decide who gets it */
	int64_t since_us;	     /* in this place */
	int64_t opened_us;	     /* since it exists */
	bool pinned;		     /* by its client, now or since it was taken */
};
TAILQ_HEAD(pool_backends, pool_backend);

struct pool_waiter {
	TAILQ_ENTRY(pool_waiter) in;
	struct pool *pool; /* waiting there; NULL: not waiting */
	const struct settings *want, *knows; /* the caller's; they outlive the wait */
	int64_t since_us;
};
TAILQ_HEAD(pool_waiters, pool_waiter);

struct pool {
	TAILQ_ENTRY(pool) in_database; /* the owner's list of a database's pools */
	struct pool_backends idle;     /* most recently used first */
	struct pool_backends active, opening, closing;
	struct pool_waiters waiting;   /* first come first */
	int n_idle, n_active, n_opening, n_closing, n_waiting;
	int n_pinned; /* of all of them */
	int size, reserve, min;
	int pin_size; /* so many pinned ones are not counted in size */
	int64_t reserve_after_us; /* 0: never */
	bool paused, fifo;
	struct pool_limit *database, *user;
	/* After a failure: not before this time, doubling. */
	int64_t retry_at_us, retry_after_us;
	int64_t retry_max_us;
	unsigned failures;
	/* Backends opened though idle ones were there, which had seen custom settings. */
	int64_t fresh_every_us; /* one in so long, POOL_FRESH_BURST at once */
	int64_t fresh_at_us;	/* when the next is due by that measure */
	int fresh_due;		/* an idle one was closed for it */
	uint64_t fresh_opened;
};
enum { POOL_FRESH_BURST = 10 };

void pool_init(struct pool *p, struct pool_limit *database, struct pool_limit *user);

/* An idle backend for a client, or NULL if it has to wait or one has to be opened. It has seen no custom setting but those
 * in knows (NULL: whatever it has seen). Where it knows any, one that has seen them comes first, so that those that have
 * not are left for others; then one that has `want` already, then the most recently used (fifo: least recently). Nobody
 * overtakes who waits for the same backend. The backend becomes active. */
struct pool_backend *pool_take(struct pool *p, const struct settings *want, const struct settings *knows, int64_t now_us);
void pool_wait(struct pool *p, struct pool_waiter *w, const struct settings *want, const struct settings *knows, int64_t now_us);
void pool_unwait(struct pool_waiter *w); /* fine when not waiting */
/* The first in line for whom there is an idle backend, together with that, or NULL. Both are taken. */
struct pool_waiter *pool_match(struct pool *p, struct pool_backend **backend, int64_t now_us);
/* An idle backend to be closed because somebody in line can use none of the idle ones and there is room for no other, or
 * NULL. To be asked before pool_match(), until it is NULL; the caller closes it. */
struct pool_backend *pool_evict(struct pool *p, int64_t now_us);
/* True if some backend has seen custom settings that are not in knows: who begins without saying what may be served better
 * when it has said so. */
bool pool_has_strange(const struct pool *p, const struct settings *knows);

/* How many more backends should be opened now: waiting clients without a backend on its way, or fewer than min, within
 * every limit and not before a retry is due. with_clients: the pool has clients (min counts only then). */
int pool_to_open(const struct pool *p, bool with_clients, int64_t now_us);
/* Clients wait and only a database's or user's limit, not the pool's own, keeps a backend from being opened. */
bool pool_blocked_by_others(const struct pool *p, int64_t now_us);
void pool_opening(struct pool *p, struct pool_backend *b, int64_t now_us); /* counted from here on */
/* One that is a single client's own: active from the start. The caller has asked pool_has_room(). */
void pool_opening_own(struct pool *p, struct pool_backend *b, int64_t now_us);
bool pool_has_room(const struct pool *p, int64_t now_us); /* for one more, within every limit */
void pool_opened(struct pool_backend *b, int64_t now_us);		   /* and idle */
void pool_give_back(struct pool_backend *b, int64_t now_us);		   /* active → idle */
/* The active backend's client is pinned: from here on the backend counts in pin_size, if that has room, not in size. */
void pool_pin(struct pool_backend *b);
/* Before it is given back. False: there is no room for it in size any more; it has to be closed, and counts as before until it is gone. */
bool pool_unpin(struct pool_backend *b, int64_t now_us);
void pool_closing(struct pool_backend *b, int64_t now_us); /* told to go; counted until PostgreSQL has ended it */
void pool_gone(struct pool_backend *b);					   /* from any place; no longer counted */
/* Opening failed: tries again after 50 ms, doubling to retry_max_us. `random` jitters by up to a quarter. */
void pool_failed(struct pool *p, int64_t now_us, uint32_t random);
void pool_succeeded(struct pool *p);

static inline int pool_backends(const struct pool *p)
{
	return p->n_idle + p->n_active + p->n_opening + p->n_closing;
}

#endif
