#include "server/derive.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <openssl/crypto.h>

#include "auth/key_cache.h"

/* SLICE_US: of work between two looks at the sockets. A round takes some 0.15 us, a login that goes on some 20. */
enum { SLOTS = 1024, KEYS_MAX = 16384, SLICE_US = 200, ROUNDS_A_LOOK = 128, ANSWERS_A_SLICE = 16, AGE_US = 3600 * 1000 * 1000L };

/* One password over one salt, and who waits for its keys. */
struct job {
	TAILQ_ENTRY(job) in;
	LIST_ENTRY(job) slot;
	struct key_id id;
	struct derivation *d; /* NULL: done */
	bool possible, worth_keeping, kept;
	struct scram_verifier keys;
	TAILQ_HEAD(, derive_wait) waits;
};

struct derive_wait {
	TAILQ_ENTRY(derive_wait) in;
	struct job *job;
	derive_done *done;
	void *owner;
};

struct derives {
	struct worker *worker;
	struct key_cache *known;
	TAILQ_HEAD(, job) jobs; /* the first is worked at */
	LIST_HEAD(, job) slots[SLOTS];
	struct event *slice;
	bool due;
	int64_t aged_us;
};

static int64_t clock_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* By a timer that is due at once: events made active by hand would run before the sockets are looked at. */
static void schedule(struct derives *ds)
{
	static const struct timeval at_once = { 0, 0 };

	if (ds->due || TAILQ_EMPTY(&ds->jobs))
		return;
	ds->due = true;
	event_add(ds->slice, &at_once);
}

static void free_job(struct derives *ds, struct job *j)
{
	TAILQ_REMOVE(&ds->jobs, j, in);
	LIST_REMOVE(j, slot);
	derivation_free(j->d);
	explicit_bzero(j, sizeof *j);
	free(j);
}

static void end_wait(struct derive_wait *d)
{
	TAILQ_REMOVE(&d->job->waits, d, in);
	free(d);
}

static void work(struct job *j)
{
	int64_t until_us = clock_now_us() + SLICE_US;

	do
		if (derivation_run(j->d, ROUNDS_A_LOOK)) {
			j->possible = !derivation_keys(j->d, &j->keys);
			derivation_free(j->d);
			j->d = NULL;
			return;
		}
	while (clock_now_us() < until_us);
}

/* Some of those who wait; true when nobody is left. Whoever goes on may close others of them. */
static bool answer(struct derives *ds, struct job *j)
{
	struct derive_wait *d;

	for (int i = 0; i < ANSWERS_A_SLICE && (d = TAILQ_FIRST(&j->waits)); i++) {
		derive_done *done = d->done;
		void *owner = d->owner;
		bool right;

		end_wait(d);
		right = done(owner, j->possible ? &j->keys : NULL);
		if (j->possible && !j->kept && (j->worth_keeping || right)) {
			key_cache_add(ds->known, &j->id, &j->keys);
			j->kept = true;
		}
	}
	return TAILQ_EMPTY(&j->waits);
}

static void on_slice(evutil_socket_t fd, short what, void *arg)
{
	struct derives *ds = arg;
	struct worker *w = ds->worker;
	struct job *j;

	worker_turn(w);
	ds->due = false;
	j = TAILQ_FIRST(&ds->jobs);
	if (j && j->d && !TAILQ_EMPTY(&j->waits)) {
		worker_turn_end(w); /* jobs end here only, so this one stays: other loops need not wait for it */
		work(j);
		worker_turn(w);
	} else if (j && (j->d || answer(ds, j))) {
		free_job(ds, j);
	}
	schedule(ds);
	worker_turn_end(w);
}

bool derive_find(struct worker *w, const struct auth_wanted *wanted, struct scram_verifier *keys)
{
	struct key_id id;
	bool found = !key_cache_id(w->derives->known, wanted, &id) && key_cache_find(w->derives->known, &id, wanted, keys);

	OPENSSL_cleanse(&id, sizeof id);
	return found;
}

static struct job *job_of(struct derives *ds, const struct auth_wanted *wanted)
{
	struct key_id id;
	struct job *j;
	bool fine = !key_cache_id(ds->known, wanted, &id);
	size_t slot;

	if (!fine)
		memset(&id, 0, sizeof id);
	slot = (id.whole[0] | (size_t)id.whole[1] << 8) % SLOTS;
	LIST_FOREACH (j, &ds->slots[slot], slot)
		if (fine && !CRYPTO_memcmp(&j->id, &id, sizeof id))
			return j;
	j = calloc(1, sizeof *j);
	if (!j)
		abort();
	TAILQ_INIT(&j->waits);
	j->id = id;
	j->d = fine ? derivation_new(wanted) : NULL; /* without one it is done, and impossible */
	TAILQ_INSERT_TAIL(&ds->jobs, j, in);
	LIST_INSERT_HEAD(&ds->slots[slot], j, slot);
	return j;
}

struct derive_wait *derive_begin(struct worker *w, const struct auth_wanted *wanted, derive_done *done, void *owner)
{
	struct derive_wait *d = calloc(1, sizeof *d);

	if (!d)
		abort();
	d->job = job_of(w->derives, wanted);
	d->job->worth_keeping = d->job->worth_keeping || wanted->ours;
	d->done = done;
	d->owner = owner;
	TAILQ_INSERT_TAIL(&d->job->waits, d, in);
	schedule(w->derives);
	return d;
}

void derive_abandon(struct derive_wait *d)
{
	if (d)
		end_wait(d); /* its job, if it was the last, ends in its next slice */
}

void derive_init(struct worker *w)
{
	struct derives *ds = calloc(1, sizeof *ds);
	uint8_t key[SCRAM_KEY_LEN];

	if (!ds)
		abort();
	worker_random(key, sizeof key);
	ds->worker = w;
	ds->known = key_cache_new(key, KEYS_MAX);
	OPENSSL_cleanse(key, sizeof key);
	TAILQ_INIT(&ds->jobs);
	ds->slice = event_new(w->base, -1, 0, on_slice, ds);
	if (!ds->slice)
		abort();
	ds->aged_us = w->now_us;
	w->derives = ds;
}

void derive_reload(struct worker *w)
{
	const struct config *c = w->config;
	struct key_cache *known = w->derives->known;

	key_cache_keep_begin(known);
	for (size_t i = 0; i < c->n_secrets; i++)
		key_cache_keep(known, c->secrets[i].text);
	for (const struct config_database *d = c->databases; d; d = d->next)
		if (d->password)
			key_cache_keep(known, d->password);
	key_cache_keep_end(known);
}

void derive_tick(struct worker *w)
{
	struct derives *ds = w->derives;

	if (w->now_us - ds->aged_us < AGE_US)
		return;
	ds->aged_us = w->now_us;
	key_cache_age(ds->known);
}

void derive_free(struct worker *w)
{
	struct derives *ds = w->derives;
	struct job *j;

	if (!ds)
		return;
	while ((j = TAILQ_FIRST(&ds->jobs))) {
		while (!TAILQ_EMPTY(&j->waits))
			end_wait(TAILQ_FIRST(&j->waits));
		free_job(ds, j);
	}
	event_free(ds->slice);
	key_cache_free(ds->known);
	free(ds);
	w->derives = NULL;
}
