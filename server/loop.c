#include "server/loop.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <event2/thread.h>

#include "server/worker.h"

struct loop_sending {
	struct stream *s;
	int fd;
};

/* ---- the lock ---- */

static bool mine(const struct loops *l)
{
	return __atomic_load_n(&l->held, __ATOMIC_ACQUIRE) && pthread_equal(__atomic_load_n(&l->holder, __ATOMIC_RELAXED), pthread_self());
}

void loops_lock(struct loops *l)
{
	if (!mine(l)) {
		pthread_mutex_lock(&l->lock);
		__atomic_store_n(&l->holder, pthread_self(), __ATOMIC_RELAXED);
		__atomic_store_n(&l->held, true, __ATOMIC_RELEASE);
	}
	l->depth++;
}

void loops_unlock(struct loops *l)
{
	if (--l->depth)
		return;
	__atomic_store_n(&l->held, false, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&l->lock);
}

/* ---- what streams ask of their loop ---- */

static void *more(void *array, size_t *cap, size_t n, size_t size)
{
	if (n < *cap)
		return array;
	*cap = *cap ? *cap * 2 : 64;
	array = realloc(array, *cap * size);
	if (!array)
		abort();
	return array;
}

static void on_fired(struct stream_loop *io, struct stream *s)
{
	struct loop *l = (struct loop *)io;

	l->fired = more(l->fired, &l->cap_fired, l->n_fired, sizeof *l->fired);
	l->fired[l->n_fired++] = s;
}

static void send_later(struct stream_loop *io, struct stream *s)
{
	worker_dirty(((struct loop *)io)->worker, s);
}

static bool is_ours(const struct stream_loop *io)
{
	return pthread_equal(((const struct loop *)io)->thread, pthread_self());
}

/* ---- a round ---- */

static size_t see_to_events(struct loop *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n_fired; i++) {
		l->receipts = more(l->receipts, &l->cap_receipts, n, sizeof *l->receipts);
		n += stream_fired(l->fired[i], &l->receipts[n]);
	}
	l->n_fired = 0;
	return n;
}

static size_t take_sends(struct loop *l)
{
	struct worker *w = l->worker;
	struct stream *s;
	size_t n = 0;

	while ((s = worker_next_dirty(w))) {
		int fd = s->fd;

		l->sends = more(l->sends, &l->cap_sends, n, sizeof *l->sends);
		l->sends[n] = (struct loop_sending){ .s = s, .fd = fd };
		n += stream_sends(s);
	}
	return n;
}

/* Sends, with the lock left; those left over are at the front afterwards. */
static size_t send_all(struct loop *l, size_t n, size_t *n_used)
{
	size_t left = 0;

	for (size_t i = 0; i < n; i++) {
		struct buf used = { 0 };

		if (!stream_send(l->sends[i].s, l->sends[i].fd, &used))
			l->sends[left++] = l->sends[i];
		if (used.data) {
			l->used = more(l->used, &l->cap_used, *n_used, sizeof *l->used);
			l->used[(*n_used)++] = used;
		}
	}
	return left;
}

static void give_back(struct loop *l, size_t *n_used)
{
	while (*n_used)
		stream_give_back(l->io.pool, &l->used[--*n_used]);
}

/* The lock is held before and afterwards. What is told in between may bring more. */
static void send_dirty(struct loop *l)
{
	size_t n, left, used = 0;

	while ((n = take_sends(l))) {
		loops_leave(l->all);
		left = send_all(l, n, &used);
		loops_enter(l->all);
		worker_turn(l->worker);
		give_back(l, &used);
		for (size_t i = 0; i < left; i++)
			if (stream_sent(l->sends[i].s))
				worker_dirty(l->worker, l->sends[i].s);
		worker_turn_end(l->worker);
	}
}

static void round_of(struct loop *l)
{
	struct worker *w = l->worker;
	size_t n;

	loops_enter(l->all);
	worker_turn(w);
	n = see_to_events(l);
	worker_turn_end(w);
	if (n) {
		loops_leave(l->all);
		for (size_t i = 0; i < n; i++)
			stream_receive(&l->receipts[i]);
		loops_enter(l->all);
		worker_turn(w);
		for (size_t i = 0; i < n; i++)
			stream_received(&l->receipts[i]);
		worker_turn_end(w);
	}
	send_dirty(l);
	loops_leave(l->all);
}

static bool stopping(const struct loops *all)
{
	return __atomic_load_n(&all->stopping, __ATOMIC_ACQUIRE);
}

static void *loop_main(void *arg)
{
	struct loop *l = arg;

	while (!stopping(l->all)) {
		event_base_loop(l->io.base, EVLOOP_ONCE);
		round_of(l);
	}
	return NULL;
}

/* ---- all of them ---- */

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
}

static void loop_init(struct loop *l, struct loops *all, struct worker *w, struct stream_pool *pool)
{
	static const struct timeval once_a_day = { .tv_sec = 86400 };

	l->worker = w;
	l->all = all;
	l->thread = pthread_self();
	l->io.base = event_base_new();
	l->io.pool = pool;
	if (!l->io.base)
		abort();
	if (all->count == 1)
		return;
	l->io.fired = on_fired;
	l->io.later = send_later;
	l->io.ours = is_ours;
	l->stop = event_new(l->io.base, -1, EV_PERSIST, on_stop, l); /* a loop without an event would end */
	if (!l->stop || event_add(l->stop, &once_a_day))
		abort();
}

void loops_init(struct loops *l, struct worker *w, unsigned count, struct stream_pool *pool)
{
	l->count = count;
	if (count > 1 && evthread_use_pthreads())
		abort();
	pthread_mutex_init(&l->lock, NULL);
	l->each = calloc(count, sizeof *l->each);
	if (!l->each)
		abort();
	for (unsigned i = 0; i < count; i++)
		loop_init(&l->each[i], l, w, pool);
}

struct stream_loop *loops_first(struct loops *l)
{
	return &l->each[0].io;
}

struct stream_loop *loops_next(struct loops *l, enum loop_share kind)
{
	return &l->each[l->next[kind]++ % l->count].io;
}

/* Signals are the first thread's. */
static void start_others(struct loops *l)
{
	sigset_t all, was;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	for (unsigned i = 1; i < l->count; i++) {
		char name[24];

		if (pthread_create(&l->each[i].thread, NULL, loop_main, &l->each[i]))
			abort();
		snprintf(name, sizeof name, "pgporter %u", i + 1); /* a name may have 15 bytes: there are 64 workers at most */
		pthread_setname_np(l->each[i].thread, name);
	}
	pthread_sigmask(SIG_SETMASK, &was, NULL);
}

static void end_others(struct loops *l)
{
	__atomic_store_n(&l->stopping, true, __ATOMIC_RELEASE);
	for (unsigned i = 1; i < l->count; i++) {
		event_active(l->each[i].stop, EV_TIMEOUT, 0);
		pthread_join(l->each[i].thread, NULL);
	}
	/* From here on this thread is alone. */
	for (unsigned i = 0; i < l->count; i++) {
		l->each[i].io.fired = NULL;
		l->each[i].io.later = NULL;
		l->each[i].n_fired = 0;
		l->each[i].thread = pthread_self();
	}
	l->count = 1;
}

void loops_run(struct loops *l)
{
	struct event_base *base = l->each[0].io.base;

	l->started = l->count;
	start_others(l);
	do {
		event_base_loop(base, EVLOOP_ONCE);
		round_of(&l->each[0]);
	} while (!event_base_got_break(base));
	end_others(l);
}

void loops_free(struct loops *l)
{
	for (unsigned i = 0; i < (l->started > l->count ? l->started : l->count); i++) {
		struct loop *at = &l->each[i];

		if (at->stop)
			event_free(at->stop);
		event_base_free(at->io.base);
		free(at->fired);
		free(at->receipts);
		free(at->sends);
		free(at->used);
	}
	free(l->each);
	pthread_mutex_destroy(&l->lock);
}
