#include "parser/effects_internal.h"

#include <stdlib.h>
#include <string.h>

/* libpg_query has its own copy of xxHash in its archive: inlined here, no two symbols meet. */
#define XXH_INLINE_ALL
#include <xxhash.h>

/* A text comes into a small queue first and leaves it for the main one only if it was asked for again meanwhile, or
 * comes back soon after it was dropped: texts that come once, however many, can't drive out those that come often. The
 * main queue is a clock. */
enum {
	NEW_SHARE = 10,	    /* the small queue gets 1/10 of the bytes */
	LARGEST_SHARE = 8,  /* an entry above 1/8 of them is not kept */
	HITS_MAX = 3,	    /* turns of the clock that hits are good for */
	GHOSTS = 1024,	    /* hashes of what the small queue dropped, by their low bits */
	BUCKETS_AT_FIRST = 64,
};

struct entry {
	struct entry *chain;	   /* in its bucket */
	struct entry *next, *prev; /* in its queue */
	const struct effects *effects;
	uint64_t hash, version;
	size_t bytes;
	uint32_t len;
	uint8_t lex_mode, hits;
	bool kept; /* in the main queue */
	char text[];
};

struct queue {
	struct entry *oldest, *newest;
	size_t bytes;
};

struct text_memory {
	size_t max_bytes, bytes; /* of entries, their effects, and the buckets */
	struct entry **buckets;
	size_t n_buckets, n_entries; /* a power of two */
	struct queue fresh, main;
	uint64_t ghosts[GHOSTS];
	uint64_t seed, missed; /* missed: the hash of the last miss */
};

struct text_memory *text_memory_new(size_t max_bytes)
{
	struct text_memory *m = calloc(1, sizeof *m);

	if (!m)
		abort();
	m->n_buckets = BUCKETS_AT_FIRST;
	m->buckets = calloc(m->n_buckets, sizeof m->buckets[0]);
	if (!m->buckets)
		abort();
	m->max_bytes = max_bytes;
	m->bytes = sizeof *m + m->n_buckets * sizeof m->buckets[0];
	m->seed = (uintptr_t)m->buckets; /* where this process happened to get it: nobody outside knows collisions */
	return m;
}

static struct queue *queue_of(struct text_memory *m, const struct entry *e)
{
	return e->kept ? &m->main : &m->fresh;
}

static void queue_add(struct text_memory *m, struct entry *e)
{
	struct queue *q = queue_of(m, e);

	e->next = NULL;
	e->prev = q->newest;
	if (q->newest)
		q->newest->next = e;
	else
		q->oldest = e;
	q->newest = e;
	q->bytes += e->bytes;
}

static void queue_remove(struct text_memory *m, struct entry *e)
{
	struct queue *q = queue_of(m, e);

	if (e->prev)
		e->prev->next = e->next;
	else
		q->oldest = e->next;
	if (e->next)
		e->next->prev = e->prev;
	else
		q->newest = e->prev;
	q->bytes -= e->bytes;
}

static struct entry **bucket(struct text_memory *m, uint64_t hash)
{
	return &m->buckets[hash & (m->n_buckets - 1)];
}

static void forget(struct text_memory *m, struct entry *e)
{
	struct entry **p = bucket(m, e->hash);

	while (*p != e)
		p = &(*p)->chain;
	*p = e->chain;
	queue_remove(m, e);
	m->bytes -= e->bytes;
	m->n_entries--;
	effects_release(e->effects);
	free(e);
}

void text_memory_free(struct text_memory *m)
{
	while (m->fresh.oldest)
		forget(m, m->fresh.oldest);
	while (m->main.oldest)
		forget(m, m->main.oldest);
	free(m->buckets);
	free(m);
}

static uint64_t *ghost(struct text_memory *m, uint64_t hash)
{
	return &m->ghosts[hash % GHOSTS];
}

static void keep(struct text_memory *m, struct entry *e)
{
	queue_remove(m, e);
	e->kept = true;
	e->hits = 0;
	queue_add(m, e);
}

static void evict_one(struct text_memory *m)
{
	for (;;) {
		struct entry *e = m->fresh.oldest;

		if (e && (m->fresh.bytes > m->max_bytes / NEW_SHARE || !m->main.oldest)) {
			if (e->hits) {
				keep(m, e);
				continue;
			}
			*ghost(m, e->hash) = e->hash;
			forget(m, e);
			return;
		}
		e = m->main.oldest;
		if (!e->hits) {
			forget(m, e);
			return;
		}
		queue_remove(m, e);
		e->hits--;
		queue_add(m, e);
	}
}

static void grow(struct text_memory *m)
{
	size_t n = 2 * m->n_buckets, more = m->n_buckets * sizeof m->buckets[0];
	struct entry **old = m->buckets;
	size_t old_n = m->n_buckets;

	if (m->bytes + more > m->max_bytes)
		return; /* longer chains rather than fewer texts */
	m->buckets = calloc(n, sizeof m->buckets[0]);
	if (!m->buckets)
		abort();
	m->n_buckets = n;
	m->bytes += more;
	for (size_t i = 0; i < old_n; i++) {
		struct entry *e = old[i], *chain;

		for (; e; e = chain) {
			struct entry **b = bucket(m, e->hash);

			chain = e->chain;
			e->chain = *b;
			*b = e;
		}
	}
	free(old);
}

const struct effects *text_memory_find(struct text_memory *m, const char *text, size_t len, unsigned lex_mode, uint64_t version)
{
	uint64_t hash = XXH3_64bits_withSeed(text, len, m->seed + lex_mode + (version << 2));

	for (struct entry *e = *bucket(m, hash); e; e = e->chain) {
		if (e->hash != hash || e->len != len || e->lex_mode != lex_mode || e->version != version ||
		    memcmp(e->text, text, len))
			continue;
		if (e->hits < HITS_MAX)
			e->hits++;
		return effects_retain(e->effects);
	}
	m->missed = hash;
	return NULL;
}

void text_memory_add(struct text_memory *m, const char *text, size_t len, unsigned lex_mode, uint64_t version,
		     const struct effects *effects, size_t effects_bytes)
{
	size_t bytes = sizeof(struct entry) + len + effects_bytes;
	struct entry *e, **b;

	if (bytes > m->max_bytes / LARGEST_SHARE)
		return;
	while (m->n_entries && m->bytes + bytes > m->max_bytes)
		evict_one(m);
	if (m->bytes + bytes > m->max_bytes)
		return;
	e = calloc(1, sizeof *e + len);
	if (!e)
		abort();
	e->hash = m->missed;
	e->bytes = bytes;
	e->len = (uint32_t)len;
	e->lex_mode = (uint8_t)lex_mode;
	e->version = version;
	e->effects = effects_retain(effects);
	memcpy(e->text, text, len);
	e->kept = *ghost(m, e->hash) == e->hash;
	b = bucket(m, e->hash);
	e->chain = *b;
	*b = e;
	queue_add(m, e);
	m->bytes += bytes;
	if (++m->n_entries > m->n_buckets)
		grow(m);
}

size_t text_memory_bytes(const struct text_memory *m)
{
	return m->bytes;
}
