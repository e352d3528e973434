/* server/loop.h — the event loops of a worker, one a thread (option `workers`).
 *
 * What pgporter knows and decides is one thing, under one lock: sessions, pools, limits, statistics are as exact as on one
 * thread, and whoever has the lock may touch any of it. What costs nearly all of the time, receiving and sending, is done
 * without the lock by all threads at once. A round of a loop: wait for events; with the lock, see what is to be received;
 * receive; with the lock, do what that brings about; send.
 *
 * With one loop there is no lock, and each byte is dealt with in the callback that it comes in. */
#ifndef PGPORTER_SERVER_LOOP_H
#define PGPORTER_SERVER_LOOP_H

#include <pthread.h>

#include "server/stream.h"

struct worker;

struct loop {
	struct stream_loop io; /* first: its streams' home */
	struct worker *worker;
	struct loops *all;
	pthread_t thread;
	struct event *stop;
	struct stream **fired; /* touched by its own thread only */
	size_t n_fired, cap_fired;
	struct stream_receipt *receipts;
	size_t cap_receipts;
	struct loop_sending *sends;
	size_t cap_sends;
	struct buf *used;
	size_t cap_used;
};

struct loops {
	struct loop *each;
	unsigned count, next[2]; /* which gets the next connection of a kind */
	pthread_mutex_t lock;
	pthread_t holder; /* valid while held */
	unsigned depth;
	unsigned started; /* how many there were, when they have ended */
	bool held, stopping; /* atomic */
};

/* The first loop's base is there at once; each gets its share of connections, by turns. The pool of blocks is the worker's.
 * Aborts where there is no memory. */
void loops_init(struct loops *l, struct worker *w, unsigned count, struct stream_pool *pool);
enum loop_share { SHARE_CLIENTS, SHARE_SERVERS };
struct stream_loop *loops_next(struct loops *l, enum loop_share kind); /* home for another connection: each kind is shared out evenly */
struct stream_loop *loops_first(struct loops *l); /* …which is also where timers, signals and listeners are */
void loops_lock(struct loops *l);
void loops_unlock(struct loops *l);

static inline bool loops_one(const struct loops *l)
{
	return l->count <= 1;
}

/* The lock; may be nested; nothing where there is one loop. */
static inline void loops_enter(struct loops *l)
{
	if (!loops_one(l))
		loops_lock(l);
}

static inline void loops_leave(struct loops *l)
{
	if (!loops_one(l))
		loops_unlock(l);
}

/* This thread may free what it is in. */
static inline bool loops_freed(const struct loops *l, const struct stream *s)
{
	return loops_one(l) || stream_freed(s);
}

void loops_run(struct loops *l);  /* by the first loop's thread, until loops_stop() or its base is told to break; the others have ended then */
void loops_free(struct loops *l);

#endif
