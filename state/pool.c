#include "state/pool.h"

#include <stdlib.h>
#include <string.h>

enum { RETRY_FIRST_US = 50 * 1000, RETRY_MAX_US = 1000 * 1000 };

void pool_init(struct pool *p, struct pool_limit *database, struct pool_limit *user)
{
	memset(p, 0, sizeof *p);
	TAILQ_INIT(&p->idle);
	TAILQ_INIT(&p->active);
	TAILQ_INIT(&p->opening);
	TAILQ_INIT(&p->closing);
	TAILQ_INIT(&p->waiting);
	p->database = database;
	p->user = user;
	p->retry_max_us = RETRY_MAX_US;
}

static struct pool_backends *list_of(struct pool *p, enum pool_place place, int **count)
{
	switch (place) {
	case PLACE_IDLE:
		*count = &p->n_idle;
		return &p->idle;
	case PLACE_ACTIVE:
		*count = &p->n_active;
		return &p->active;
	case PLACE_OPENING:
		*count = &p->n_opening;
		return &p->opening;
	case PLACE_CLOSING:
		*count = &p->n_closing;
		return &p->closing;
	case PLACE_NONE:
		break;
	}
	abort();
}

/* The one place where a backend's place changes. */
static void enter_place(struct pool_backend *b, enum pool_place place, int64_t now_us)
{
	struct pool_backends *list;
	int *count = NULL;

	if (b->place != PLACE_NONE) {
		list = list_of(b->pool, b->place, &count);
		TAILQ_REMOVE(list, b, in);
		--*count;
	}
	b->place = place;
	b->since_us = now_us;
	if (place != PLACE_NONE) {
		list = list_of(b->pool, place, &count);
		TAILQ_INSERT_HEAD(list, b, in);
		++*count;
	}
}

enum { LOOK_FOR_OWN = 64 }; /* idle backends looked through for one with the client's settings */

static struct pool_backend *pick(struct pool *p, const struct settings *want)
{
	struct pool_backend *b, *any = p->fifo ? TAILQ_LAST(&p->idle, pool_backends) : TAILQ_FIRST(&p->idle);
	int looked = 0;

	TAILQ_FOREACH (b, &p->idle, in) {
		if (b->facts->applied == want)
			return b;
		if (++looked == LOOK_FOR_OWN)
			break;
	}
	return any;
}

struct pool_backend *pool_take(struct pool *p, const struct settings *want, int64_t now_us)
{
	struct pool_backend *b;

	if (p->paused || p->n_waiting || !p->n_idle)
		return NULL;
	b = pick(p, want);
	enter_place(b, PLACE_ACTIVE, now_us);
	return b;
}

void pool_wait(struct pool *p, struct pool_waiter *w, const struct settings *want, int64_t now_us)
{
	if (w->pool)
		abort();
	w->pool = p;
	w->want = want;
	w->since_us = now_us;
	TAILQ_INSERT_TAIL(&p->waiting, w, in);
	p->n_waiting++;
}

void pool_unwait(struct pool_waiter *w)
{
	if (!w->pool)
		return;
	TAILQ_REMOVE(&w->pool->waiting, w, in);
	w->pool->n_waiting--;
	w->pool = NULL;
}

struct pool_waiter *pool_match(struct pool *p, struct pool_backend **backend, int64_t now_us)
{
	struct pool_waiter *w = TAILQ_FIRST(&p->waiting);

	if (p->paused || !w || !p->n_idle)
		return NULL;
	*backend = pick(p, w->want);
	enter_place(*backend, PLACE_ACTIVE, now_us);
	pool_unwait(w);
	return w;
}

static int room(const struct pool_limit *l)
{
	if (!l || l->max <= 0)
		return INT32_MAX;
	return l->max > l->count ? l->max - l->count : 0;
}

static int size_now(const struct pool *p, int64_t now_us)
{
	const struct pool_waiter *w = TAILQ_FIRST(&p->waiting);

	if (p->reserve > 0 && p->reserve_after_us > 0 && w && now_us - w->since_us >= p->reserve_after_us)
		return p->size + p->reserve;
	return p->size;
}

/* Those that count in size. Which of the pinned ones pin_size holds does not matter: they are alike. */
static int own_backends(const struct pool *p, int n_pinned)
{
	int apart = n_pinned < p->pin_size ? n_pinned : p->pin_size;

	return pool_backends(p) - apart;
}

static int own_room(const struct pool *p, int64_t now_us)
{
	int room = size_now(p, now_us) - own_backends(p, p->n_pinned);

	return room > 0 ? room : 0;
}

void pool_pin(struct pool_backend *b)
{
	if (b->pinned)
		return;
	b->pinned = true;
	b->pool->n_pinned++;
}

bool pool_unpin(struct pool_backend *b, int64_t now_us)
{
	struct pool *p = b->pool;

	if (!b->pinned)
		return true;
	/* Without a budget of their own pins change nothing: a pool that was made smaller shrinks as its connections age. */
	if (p->pin_size > 0 && own_backends(p, p->n_pinned - 1) > size_now(p, now_us))
		return false;
	b->pinned = false;
	p->n_pinned--;
	return true;
}

static int wanted(const struct pool *p, bool with_clients)
{
	int n = p->n_waiting - p->n_opening;

	if (with_clients && p->min - pool_backends(p) > n)
		n = p->min - pool_backends(p);
	return n > 0 ? n : 0;
}

static int smaller(int a, int b)
{
	return a < b ? a : b;
}

int pool_to_open(const struct pool *p, bool with_clients, int64_t now_us)
{
	int n = wanted(p, with_clients);

	if (p->paused || !n || (p->failures && now_us < p->retry_at_us))
		return 0;
	n = smaller(n, own_room(p, now_us));
	n = smaller(n, room(p->database));
	n = smaller(n, room(p->user));
	/* While the server is failing, one attempt at a time is enough to learn that it is back. */
	if (p->failures && n > 1)
		n = 1;
	return p->failures && p->n_opening ? 0 : n;
}

bool pool_blocked_by_others(const struct pool *p, int64_t now_us)
{
	return !p->paused && wanted(p, false) && own_room(p, now_us) && (!room(p->database) || !room(p->user));
}

bool pool_has_room(const struct pool *p, int64_t now_us)
{
	return own_room(p, now_us) && room(p->database) && room(p->user);
}

static void begin(struct pool *p, struct pool_backend *b, enum pool_place place, int64_t now_us)
{
	b->pool = p;
	b->place = PLACE_NONE;
	b->opened_us = now_us;
	enter_place(b, place, now_us);
	if (p->database)
		p->database->count++;
	if (p->user)
		p->user->count++;
}

void pool_opening(struct pool *p, struct pool_backend *b, int64_t now_us)
{
	begin(p, b, PLACE_OPENING, now_us);
}

void pool_opening_own(struct pool *p, struct pool_backend *b, int64_t now_us)
{
	begin(p, b, PLACE_ACTIVE, now_us);
}

void pool_opened(struct pool_backend *b, int64_t now_us)
{
	enter_place(b, PLACE_IDLE, now_us);
}

void pool_give_back(struct pool_backend *b, int64_t now_us)
{
	enter_place(b, PLACE_IDLE, now_us);
}

void pool_closing(struct pool_backend *b, int64_t now_us)
{
	enter_place(b, PLACE_CLOSING, now_us);
}

void pool_gone(struct pool_backend *b)
{
	if (b->place == PLACE_NONE)
		return;
	if (b->pinned)
		b->pool->n_pinned--;
	b->pinned = false;
	enter_place(b, PLACE_NONE, 0);
	if (b->pool->database)
		b->pool->database->count--;
	if (b->pool->user)
		b->pool->user->count--;
}

void pool_failed(struct pool *p, int64_t now_us, uint32_t random)
{
	int64_t max = p->retry_max_us > 0 ? p->retry_max_us : RETRY_MAX_US;

	if (p->failures++ == 0)
		p->retry_after_us = RETRY_FIRST_US;
	else if (p->retry_after_us < max)
		p->retry_after_us *= 2;
	if (p->retry_after_us > max)
		p->retry_after_us = max;
	p->retry_at_us = now_us + p->retry_after_us - (int64_t)(random % 1024) * p->retry_after_us / 4096;
}

void pool_succeeded(struct pool *p)
{
	p->failures = 0;
	p->retry_at_us = p->retry_after_us = 0;
}
