#include "state/prepared.h"

#include <stdlib.h>
#include <string.h>

#include "parser/hash.h"
#include "parser/must.h"

struct stmt_store {
	struct stmt **buckets;
	size_t n_buckets, count;
	uint64_t last_id;
};

struct stmt_store *stmt_store_new(void)
{
	struct stmt_store *st = must(calloc(1, sizeof *st));

	st->n_buckets = 256;
	st->buckets = must(calloc(st->n_buckets, sizeof *st->buckets));
	return st;
}

void stmt_store_free(struct stmt_store *st)
{
	if (!st)
		return;
	free(st->buckets);
	free(st);
}

size_t stmt_store_count(const struct stmt_store *st)
{
	return st->count;
}

static uint64_t key_hash(const struct stmt_key *k)
{
	uint64_t rest[] = { (uintptr_t)settings_meaning(k->at_parse), k->generation, k->owner, (uintptr_t)k->pool,
			    (uint64_t)k->substitute << 1 | k->from_sql };

	return hash_bytes(k->tail, k->tail_len, hash_bytes(k->given ? k->given : k->tail, k->given_len, hash_bytes(rest, sizeof rest, 0)));
}

static bool key_is(const struct stmt *s, const struct stmt_key *k)
{
	return s->from_sql == k->from_sql && s->substitute == k->substitute && s->generation == k->generation &&
	       s->owner == k->owner && s->pool == k->pool && s->tail_len == k->tail_len &&
	       settings_meaning(s->at_parse) == settings_meaning(k->at_parse) && !memcmp(s->tail, k->tail, k->tail_len) &&
	       s->given_len == k->given_len && (!k->given_len || !memcmp(s->given, k->given, k->given_len));
}

static void store_grow(struct stmt_store *st)
{
	size_t n = st->n_buckets * 2;
	struct stmt **buckets = must(calloc(n, sizeof *buckets));

	for (size_t i = 0; i < st->n_buckets; i++)
		for (struct stmt *s = st->buckets[i], *next; s; s = next) {
			next = s->next;
			s->next = buckets[s->hash & (n - 1)];
			buckets[s->hash & (n - 1)] = s;
		}
	free(st->buckets);
	st->buckets = buckets;
	st->n_buckets = n;
}

static struct stmt *stmt_build(struct stmt_store *st, const struct stmt_key *k, const struct effects *effects)
{
	struct stmt *s = must(calloc(1, sizeof *s));

	s->store = st;
	s->id = ++st->last_id;
	s->refs = 1;
	s->from_sql = k->from_sql;
	s->substitute = k->substitute;
	s->tail = must(malloc(k->tail_len + 1));
	memcpy(s->tail, k->tail, k->tail_len);
	s->tail_len = k->tail_len;
	if (k->given_len) {
		s->given = must(malloc(k->given_len));
		memcpy(s->given, k->given, k->given_len);
		s->given_len = k->given_len;
	}
	s->name_at = k->name_at;
	s->name_len = k->name_len;
	s->at_parse = settings_retain(k->at_parse);
	s->effects = effects_retain(effects);
	s->generation = k->generation;
	s->owner = k->owner;
	s->pool = k->pool;
	return s;
}

struct stmt *stmt_intern(struct stmt_store *st, const struct stmt_key *key, const struct effects *effects)
{
	uint64_t hash = key_hash(key);
	struct stmt *s;

	for (s = st->buckets[hash & (st->n_buckets - 1)]; s; s = s->next)
		if (s->hash == hash && key_is(s, key))
			return stmt_retain(s);
	if (st->count >= st->n_buckets)
		store_grow(st);
	s = stmt_build(st, key, effects);
	s->hash = hash;
	s->next = st->buckets[hash & (st->n_buckets - 1)];
	st->buckets[hash & (st->n_buckets - 1)] = s;
	st->count++;
	return s;
}

struct stmt *stmt_retain(struct stmt *s)
{
	s->refs++;
	return s;
}

void stmt_release(struct stmt *s)
{
	struct stmt **at;

	if (!s || --s->refs)
		return;
	at = &s->store->buckets[s->hash & (s->store->n_buckets - 1)];
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	s->store->count--;
	settings_release(s->at_parse);
	effects_release(s->effects);
	stmt_release(s->target);
	free(s->given);
	free(s->tail);
	free(s);
}

/* By hand: it is asked for with every Bind. */
void stmt_name(const struct stmt *s, char out[STMT_NAME_MAX])
{
	char digits[16];
	size_t n = 0;

	memcpy(out, STMT_PREFIX, sizeof STMT_PREFIX - 1);
	out += sizeof STMT_PREFIX - 1;
	for (uint64_t id = s->id; id || !n; id >>= 4)
		digits[n++] = "0123456789abcdef"[id & 15];
	while (n)
		*out++ = digits[--n];
	*out = 0;
}

uint64_t stmt_name_read(const char *text, size_t text_len, size_t *len)
{
	size_t at = sizeof STMT_PREFIX - 1;
	uint64_t id = 0;

	if (text_len < at || memcmp(text, STMT_PREFIX, at))
		return 0;
	for (; at < text_len && at < STMT_NAME_MAX - 1; at++) {
		char c = text[at];

		if (c >= '0' && c <= '9')
			id = id << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			id = id << 4 | (uint64_t)(c - 'a' + 10);
		else
			break;
	}
	*len = at;
	return id;
}

/* ---- a client's unnamed statement ---- */

void unnamed_clear(struct unnamed_stmt *u)
{
	struct unnamed_stmt empty = { .tail = u->tail, .given = u->given };

	if (!u->serial)
		return;
	if (u->effects)
		effects_release(u->effects);
	if (u->at_parse)
		settings_release(u->at_parse);
	stmt_release(u->target);
	stmt_release(u->own);
	*u = empty;
}

void unnamed_release(struct unnamed_stmt *u)
{
	unnamed_clear(u);
	buf_release(&u->tail);
	buf_release(&u->given);
}

struct unnamed_stmt *unnamed_set_aside(struct unnamed_stmt *u)
{
	struct unnamed_stmt *aside = malloc(sizeof *aside);

	if (!aside)
		abort();
	*aside = *u;
	memset(u, 0, sizeof *u);
	return aside;
}

void unnamed_put_back(struct unnamed_stmt *u, struct unnamed_stmt *aside)
{
	unnamed_release(u);
	memset(u, 0, sizeof *u);
	if (aside)
		*u = *aside;
	free(aside);
}

void unnamed_free(struct unnamed_stmt *aside)
{
	if (aside)
		unnamed_release(aside);
	free(aside);
}

/* ---- a client's names ---- */

struct named_stmt {
	struct named_stmt *next;
	struct stmt *stmt;
	uint64_t hash;
	char name[];
};

/* PostgreSQL tells names apart by their first 63 bytes. */
enum { NAME_COUNTS = 63 };

static uint64_t name_hash(const char *name)
{
	return hash_bytes(name, strnlen(name, NAME_COUNTS), 0);
}

static struct named_stmt **names_slot(const struct stmt_names *n, const char *name, uint64_t hash)
{
	struct named_stmt **at = &n->buckets[hash & (n->n_buckets - 1)];

	while (*at && ((*at)->hash != hash || strncmp((*at)->name, name, NAME_COUNTS)))
		at = &(*at)->next;
	return at;
}

struct stmt *names_find(const struct stmt_names *n, const char *name)
{
	struct named_stmt *e;

	if (!n->count)
		return NULL;
	e = *names_slot(n, name, name_hash(name));
	return e ? e->stmt : NULL;
}

static void names_grow(struct stmt_names *n)
{
	size_t more = n->n_buckets ? n->n_buckets * 2 : 8;
	struct named_stmt **buckets = must(calloc(more, sizeof *buckets));

	for (size_t i = 0; i < n->n_buckets; i++)
		for (struct named_stmt *e = n->buckets[i], *next; e; e = next) {
			next = e->next;
			e->next = buckets[e->hash & (more - 1)];
			buckets[e->hash & (more - 1)] = e;
		}
	free(n->buckets);
	n->buckets = buckets;
	n->n_buckets = more;
}

void names_put(struct stmt_names *n, const char *name, struct stmt *s)
{
	size_t len = strlen(name);
	uint64_t hash = name_hash(name);
	struct named_stmt *e;

	if (n->count >= n->n_buckets)
		names_grow(n);
	e = *names_slot(n, name, hash);
	if (e) {
		stmt_retain(s);
		stmt_release(e->stmt);
		e->stmt = s;
		return;
	}
	e = must(malloc(sizeof *e + len + 1));
	e->stmt = stmt_retain(s);
	e->hash = hash;
	memcpy(e->name, name, len + 1);
	e->next = n->buckets[hash & (n->n_buckets - 1)];
	n->buckets[hash & (n->n_buckets - 1)] = e;
	n->count++;
}

bool names_remove(struct stmt_names *n, const char *name)
{
	struct named_stmt **at, *e;

	if (!n->count)
		return false;
	at = names_slot(n, name, name_hash(name));
	e = *at;
	if (!e)
		return false;
	*at = e->next;
	stmt_release(e->stmt);
	free(e);
	n->count--;
	return true;
}

const char *names_of(const struct stmt_names *n, uint64_t id)
{
	for (size_t i = 0; i < n->n_buckets; i++)
		for (struct named_stmt *e = n->buckets[i]; e; e = e->next)
			if (e->stmt->id == id)
				return e->name;
	return NULL;
}

void names_each(const struct stmt_names *n, void (*each)(void *arg, struct stmt *s), void *arg)
{
	for (size_t i = 0; i < n->n_buckets; i++)
		for (struct named_stmt *e = n->buckets[i]; e; e = e->next)
			each(arg, e->stmt);
}

void names_each_named(const struct stmt_names *n, void (*each)(void *arg, const char *name, struct stmt *s), void *arg)
{
	for (size_t i = 0; i < n->n_buckets; i++)
		for (struct named_stmt *e = n->buckets[i]; e; e = e->next)
			each(arg, e->name, e->stmt);
}

void names_clear(struct stmt_names *n)
{
	for (size_t i = 0; i < n->n_buckets; i++)
		for (struct named_stmt *e = n->buckets[i], *next; e; e = next) {
			next = e->next;
			stmt_release(e->stmt);
			free(e);
		}
	free(n->buckets);
	memset(n, 0, sizeof *n);
}

/* ---- a backend's set ---- */

struct set_node {
	struct set_node *next; /* in the bucket */
	struct set_node *newer, *older;
	struct stmt *stmt;
};

static struct set_node **set_slot(const struct stmt_set *set, uint64_t id)
{
	struct set_node **at = &set->buckets[id & (set->n_buckets - 1)];

	while (*at && (*at)->stmt->id != id)
		at = &(*at)->next;
	return at;
}

static void set_unlink(struct stmt_set *set, struct set_node *e)
{
	*(e->newer ? &e->newer->older : &set->newest) = e->older;
	*(e->older ? &e->older->newer : &set->oldest) = e->newer;
}

static void set_push(struct stmt_set *set, struct set_node *e)
{
	e->newer = NULL;
	e->older = set->newest;
	*(set->newest ? &set->newest->newer : &set->oldest) = e;
	set->newest = e;
}

bool set_has(struct stmt_set *set, const struct stmt *s)
{
	struct set_node *e;

	if (!set->count)
		return false;
	e = *set_slot(set, s->id);
	if (!e)
		return false;
	if (set->newest != e) {
		set_unlink(set, e);
		set_push(set, e);
	}
	return true;
}

static void set_grow(struct stmt_set *set)
{
	size_t more = set->n_buckets ? set->n_buckets * 2 : 16;
	struct set_node **buckets = must(calloc(more, sizeof *buckets));

	for (size_t i = 0; i < set->n_buckets; i++)
		for (struct set_node *e = set->buckets[i], *next; e; e = next) {
			next = e->next;
			e->next = buckets[e->stmt->id & (more - 1)];
			buckets[e->stmt->id & (more - 1)] = e;
		}
	free(set->buckets);
	set->buckets = buckets;
	set->n_buckets = more;
}

void set_add(struct stmt_set *set, struct stmt *s)
{
	struct set_node *e;

	if (set_has(set, s))
		return;
	if (set->count >= set->n_buckets)
		set_grow(set);
	e = must(calloc(1, sizeof *e));
	e->stmt = stmt_retain(s);
	e->next = set->buckets[s->id & (set->n_buckets - 1)];
	set->buckets[s->id & (set->n_buckets - 1)] = e;
	set_push(set, e);
	set->count++;
}

void set_remove(struct stmt_set *set, const struct stmt *s)
{
	struct set_node **at, *e;

	if (!set->count)
		return;
	at = set_slot(set, s->id);
	e = *at;
	if (!e)
		return;
	*at = e->next;
	set_unlink(set, e);
	stmt_release(e->stmt);
	free(e);
	set->count--;
}

struct stmt *set_oldest(const struct stmt_set *set)
{
	return set->oldest ? set->oldest->stmt : NULL;
}

void set_clear(struct stmt_set *set)
{
	for (struct set_node *e = set->newest, *older; e; e = older) {
		older = e->older;
		stmt_release(e->stmt);
		free(e);
	}
	free(set->buckets);
	memset(set, 0, sizeof *set);
}
