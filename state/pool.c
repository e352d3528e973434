#include "state/pool.h"

#include <stdlib.h>
#include <string.h>

enum { RETRY_FIRST_US = 50 * 1000, RETRY_MAX_US = 1000 * 1000 };
enum { FRESH_EVERY_US = 100 * 1000 };
/* How long somebody waits for a backend in use that would do before a fresh one is opened, or one is taken that others need more. */
enum { PATIENCE_US = 250 * 1000 };

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
	p->fresh_every_us = FRESH_EVERY_US;
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

/* ---- custom settings that a backend has seen ---- */

static bool may_serve(const struct pool_backend *b, const struct settings *knows)
{
	return !knows || !b->facts->seen || settings_within(b->facts->seen, knows);
}

static bool any_may_serve(const struct pool_backends *list, const struct settings *knows)
{
	const struct pool_backend *b;

	TAILQ_FOREACH (b, list, in)
		if (may_serve(b, knows))
			return true;
	return false;
}

bool pool_has_strange(const struct pool *p, const struct settings *knows)
{
	const struct pool_backend *b;

	TAILQ_FOREACH (b, &p->idle, in)
		if (!may_serve(b, knows))
			return true;
	TAILQ_FOREACH (b, &p->active, in)
		if (!may_serve(b, knows))
			return true;
	return false;
}

/* It would have seen more than it has now. */
static bool would_mark(const struct pool_backend *b, const struct settings *knows)
{
	return knows && settings_size(knows) && b->facts->seen && !settings_within(knows, b->facts->seen);
}

static struct pool_backend *pick(struct pool *p, const struct settings *want, const struct settings *knows)
{
	struct pool_backend *b, *best = NULL;
	int looked = 0, best_rank = -1;

	TAILQ_FOREACH (b, &p->idle, in) {
		int rank;

		if (!may_serve(b, knows))
			continue;
		rank = 2 * !would_mark(b, knows) + (b->facts->applied == want);
		if (rank == 3)
			return b;
		/* Of equals the first, or for fifo the last. */
		if (rank > best_rank || (p->fifo && rank == best_rank && !(rank & 1))) {
			best = b;
			best_rank = rank;
		}
		if (++looked >= LOOK_FOR_OWN && !p->fifo)
			break;
	}
	return best;
}

/* Nobody who waits could have it. */
static bool unwanted(const struct pool *p, const struct pool_backend *b)
{
	const struct settings *last = NULL;
	const struct pool_waiter *w;

	TAILQ_FOREACH (w, &p->waiting, in) {
		if (last && w->knows == last)
			continue;
		if (may_serve(b, w->knows))
			return false;
		last = w->knows;
	}
	return true;
}

struct pool_backend *pool_take(struct pool *p, const struct settings *want, const struct settings *knows, int64_t now_us)
{
	struct pool_backend *b;

	if (p->paused || !p->n_idle)
		return NULL;
	b = pick(p, want, knows);
	if (!b || (p->n_waiting && !unwanted(p, b)))
		return NULL;
	enter_place(b, PLACE_ACTIVE, now_us);
	return b;
}

void pool_wait(struct pool *p, struct pool_waiter *w, const struct settings *want, const struct settings *knows, int64_t now_us)
{
	if (w->pool)
		abort();
	w->pool = p;
	w->want = want;
	w->knows = knows;
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

static bool impatient(const struct pool_waiter *w, int64_t now_us)
{
	return now_us - w->since_us >= PATIENCE_US;
}

/* Somebody further back has no use for any backend but such a one, and w will soon get one that serves it as well. */
static bool leaves_it(struct pool *p, const struct pool_waiter *w, const struct pool_backend *b, int64_t now_us)
{
	const struct pool_waiter *other = w;
	const struct pool_backend *busy;

	if (!would_mark(b, w->knows) || impatient(w, now_us))
		return false;
	TAILQ_FOREACH (busy, &p->active, in)
		if (may_serve(busy, w->knows) && !would_mark(busy, w->knows))
			break;
	if (!busy)
		return false;
	while ((other = TAILQ_NEXT(other, in)))
		if (may_serve(b, other->knows) && !would_mark(b, other->knows) && !may_serve(busy, other->knows))
			return true;
	return false;
}

struct pool_waiter *pool_match(struct pool *p, struct pool_backend **backend, int64_t now_us)
{
	const struct settings *none_for = NULL;
	struct pool_waiter *w;

	if (p->paused || !p->n_idle)
		return NULL;
	TAILQ_FOREACH (w, &p->waiting, in) {
		struct pool_backend *b;

		if (none_for && w->knows == none_for)
			continue;
		b = pick(p, w->want, w->knows);
		if (!b) {
			none_for = w->knows;
			continue;
		}
		if (leaves_it(p, w, b, now_us))
			continue;
		*backend = b;
		enter_place(b, PLACE_ACTIVE, now_us);
		pool_unwait(w);
		return w;
	}
	return NULL;
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

/* There are idle ones, and who waits can have none of them. */
static bool stranded(const struct pool *p)
{
	const struct pool_waiter *w = TAILQ_FIRST(&p->waiting);

	return w && p->n_idle && !any_may_serve(&p->idle, w->knows);
}

/* One more may be opened only because of what the idle ones have seen. */
static bool fresh_slot(const struct pool *p, int64_t now_us)
{
	return p->fresh_at_us - now_us <= (POOL_FRESH_BURST - 1) * p->fresh_every_us;
}

static void fresh_take_slot(struct pool *p, int64_t now_us)
{
	p->fresh_at_us = (p->fresh_at_us > now_us ? p->fresh_at_us : now_us) + p->fresh_every_us;
	p->fresh_opened++;
}

static bool no_room(const struct pool *p, int64_t now_us)
{
	return !own_room(p, now_us) || !room(p->database) || !room(p->user);
}

struct pool_backend *pool_evict(struct pool *p, int64_t now_us)
{
	const struct settings *none_for = NULL;
	const struct pool_waiter *w;
	int needy = 0;

	if (p->paused || !p->n_idle || !p->n_waiting || p->failures || !no_room(p, now_us) || !fresh_slot(p, now_us))
		return NULL;
	TAILQ_FOREACH (w, &p->waiting, in) {
		if ((!none_for || w->knows != none_for) && any_may_serve(&p->idle, w->knows))
			return NULL; /* that one first */
		none_for = w->knows;
		if (any_may_serve(&p->active, w->knows) && !impatient(w, now_us))
			continue;
		if (++needy > p->n_opening + p->n_closing) {
			p->fresh_due++;
			fresh_take_slot(p, now_us);
			return TAILQ_LAST(&p->idle, pool_backends);
		}
	}
	return NULL;
}

int pool_to_open(const struct pool *p, bool with_clients, int64_t now_us)
{
	int n = wanted(p, with_clients);

	if (p->paused || !n || (p->failures && now_us < p->retry_at_us))
		return 0;
	if (stranded(p)) {
		if (!p->fresh_due && !fresh_slot(p, now_us))
			return 0;
		n = p->fresh_due ? smaller(n, p->fresh_due) : 1;
	}
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
	if (place == PLACE_OPENING && p->fresh_due)
		p->fresh_due--;
	else if (place == PLACE_OPENING && stranded(p))
		fresh_take_slot(p, now_us);
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
