#include "state/settings.h"

#include "parser/must.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct pair {
	const char *name, *value; /* into the settings' own text */
};

struct settings {
	struct settings_store *store;
	struct settings *next; /* in the bucket */
	const struct settings *meaning; /* itself, or one with fewer names; NULL until asked for */
	uint64_t hash, id;
	uint32_t refs;
	uint32_t n;
	struct pair pairs[];
};

struct settings_store {
	struct settings **buckets;
	size_t n_buckets, count;
	uint64_t last_id;
	struct settings *empty;
};

static uint64_t hash_bytes(uint64_t h, const char *s)
{
	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 0x100000001b3u;
	return (h ^ 0xff) * 0x100000001b3u;
}

static uint64_t hash_pairs(const struct pair *pairs, uint32_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (uint32_t i = 0; i < n; i++)
		h = hash_bytes(hash_bytes(h, pairs[i].name), pairs[i].value);
	return h;
}

static bool same_pairs(const struct settings *s, const struct pair *pairs, uint32_t n)
{
	if (s->n != n)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(s->pairs[i].name, pairs[i].name) || strcmp(s->pairs[i].value, pairs[i].value))
			return false;
	return true;
}

static void store_grow(struct settings_store *st)
{
	size_t n = st->n_buckets * 2;
	struct settings **buckets = must(calloc(n, sizeof *buckets));

	for (size_t i = 0; i < st->n_buckets; i++)
		for (struct settings *s = st->buckets[i], *next; s; s = next) {
			next = s->next;
			s->next = buckets[s->hash & (n - 1)];
			buckets[s->hash & (n - 1)] = s;
		}
	free(st->buckets);
	st->buckets = buckets;
	st->n_buckets = n;
}

static struct settings *settings_build(struct settings_store *st, const struct pair *pairs, uint32_t n, uint64_t hash)
{
	size_t text = 0;
	struct settings *s;
	char *at;

	for (uint32_t i = 0; i < n; i++)
		text += strlen(pairs[i].name) + strlen(pairs[i].value) + 2;
	s = must(malloc(sizeof *s + n * sizeof *pairs + text));
	memset(s, 0, sizeof *s);
	s->store = st;
	s->hash = hash;
	s->id = ++st->last_id;
	s->refs = 1;
	s->n = n;
	at = (char *)(s->pairs + n);
	for (uint32_t i = 0; i < n; i++) {
		s->pairs[i].name = at;
		at = stpcpy(at, pairs[i].name) + 1;
		s->pairs[i].value = at;
		at = stpcpy(at, pairs[i].value) + 1;
	}
	return s;
}

static const struct settings *intern(struct settings_store *st, const struct pair *pairs, uint32_t n)
{
	uint64_t hash = hash_pairs(pairs, n);
	struct settings *s;

	for (s = st->buckets[hash & (st->n_buckets - 1)]; s; s = s->next)
		if (s->hash == hash && same_pairs(s, pairs, n)) {
			s->refs++;
			return s;
		}
	if (st->count >= st->n_buckets)
		store_grow(st);
	s = settings_build(st, pairs, n, hash);
	s->next = st->buckets[hash & (st->n_buckets - 1)];
	st->buckets[hash & (st->n_buckets - 1)] = s;
	st->count++;
	return s;
}

struct settings_store *settings_store_new(void)
{
	struct settings_store *st = must(calloc(1, sizeof *st));

	st->n_buckets = 64;
	st->buckets = must(calloc(st->n_buckets, sizeof *st->buckets));
	st->empty = (struct settings *)intern(st, NULL, 0);
	return st;
}

void settings_store_free(struct settings_store *st)
{
	if (!st)
		return;
	settings_release(st->empty);
	free(st->buckets);
	free(st);
}

size_t settings_store_count(const struct settings_store *st)
{
	return st->count;
}

const struct settings *settings_empty(struct settings_store *st)
{
	return settings_retain(st->empty);
}

const struct settings *settings_retain(const struct settings *s)
{
	((struct settings *)s)->refs++;
	return s;
}

static void unlink_from_store(struct settings *s)
{
	struct settings **at = &s->store->buckets[s->hash & (s->store->n_buckets - 1)];

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	s->store->count--;
}

void settings_release(const struct settings *given)
{
	struct settings *s = (struct settings *)given;

	if (!s || --s->refs)
		return;
	unlink_from_store(s);
	if (s->meaning && s->meaning != s)
		settings_release(s->meaning);
	free(s);
}

static bool find(const struct settings *s, const char *name, uint32_t *at)
{
	uint32_t lo = 0, hi = s->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = strcmp(s->pairs[mid].name, name);

		if (c == 0) {
			*at = mid;
			return true;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*at = lo;
	return false;
}

const struct settings *settings_with(const struct settings *s, const char *name, const char *value)
{
	struct pair *pairs;
	uint32_t at, n = s->n;
	bool there = find(s, name, &at);
	const struct settings *out;

	if (there ? value && !strcmp(s->pairs[at].value, value) : !value)
		return settings_retain(s);
	pairs = must(malloc((n + 1) * sizeof *pairs));
	memcpy(pairs, s->pairs, n * sizeof *pairs);
	if (!value) {
		memmove(pairs + at, pairs + at + 1, (n - at - 1) * sizeof *pairs);
		n--;
	} else {
		if (!there) {
			memmove(pairs + at + 1, pairs + at, (n - at) * sizeof *pairs);
			n++;
		}
		pairs[at] = (struct pair){ .name = name, .value = value };
	}
	out = intern(s->store, pairs, n);
	free(pairs);
	return out;
}

void settings_set(const struct settings **var, const char *name, const char *value)
{
	const struct settings *s = settings_with(*var, name, value);

	settings_release(*var);
	*var = s;
}

void settings_assign(const struct settings **var, const struct settings *s)
{
	if (*var == s)
		return;
	settings_retain(s);
	settings_release(*var);
	*var = s;
}

size_t settings_size(const struct settings *s)
{
	return s->n;
}

const char *settings_name_at(const struct settings *s, size_t i)
{
	return s->pairs[i].name;
}

const char *settings_value_at(const struct settings *s, size_t i)
{
	return s->pairs[i].value;
}

const char *settings_get(const struct settings *s, const char *name)
{
	uint32_t at;

	return find(s, name, &at) ? s->pairs[at].value : NULL;
}

const char *settings_get_nocase(const struct settings *s, const char *name)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (!strcasecmp(s->pairs[i].name, name))
			return s->pairs[i].value;
	return NULL;
}

void settings_diff(const struct settings *from, const struct settings *to,
		   void (*each)(void *arg, const char *name, const char *was, const char *now), void *arg)
{
	uint32_t i = 0, j = 0;

	if (from == to)
		return;
	while (i < from->n || j < to->n) {
		int c = i == from->n ? 1 : j == to->n ? -1 : strcmp(from->pairs[i].name, to->pairs[j].name);

		if (c < 0) {
			each(arg, from->pairs[i].name, from->pairs[i].value, NULL);
			i++;
		} else if (c > 0) {
			each(arg, to->pairs[j].name, NULL, to->pairs[j].value);
			j++;
		} else {
			if (strcmp(from->pairs[i].value, to->pairs[j].value))
				each(arg, from->pairs[i].name, from->pairs[i].value, to->pairs[j].value);
			i++;
			j++;
		}
	}
}

bool settings_within(const struct settings *a, const struct settings *b)
{
	uint32_t j = 0;

	if (a == b || !a->n)
		return true;
	if (a->n > b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++, j++) {
		int c = -1;

		while (j < b->n && (c = strcmp(b->pairs[j].name, a->pairs[i].name)) < 0)
			j++;
		if (c)
			return false;
	}
	return true;
}

/* Only what certainly can't: when in doubt, it could. */
static bool without_meaning(const char *name)
{
	static const char *const names[] = {
		"application_name", "client_min_messages", "deadlock_timeout", "idle_in_transaction_session_timeout",
		"idle_session_timeout", "lock_timeout", "statement_timeout", "tcp_keepalives_count",
		"tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout", "transaction_timeout",
	};

	if (!strncmp(name, "log_", 4))
		return true;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

const struct settings *settings_meaning(const struct settings *given)
{
	struct settings *s = (struct settings *)given;
	struct pair *pairs;
	uint32_t n = 0;

	if (s->meaning)
		return s->meaning;
	pairs = must(malloc((s->n + 1) * sizeof *pairs));
	for (uint32_t i = 0; i < s->n; i++)
		if (!without_meaning(s->pairs[i].name))
			pairs[n++] = s->pairs[i];
	/* A reference to itself would keep it alive for ever. */
	if (n == s->n)
		s->meaning = s;
	else
		s->meaning = intern(s->store, pairs, n);
	free(pairs);
	return s->meaning;
}

uint64_t settings_id(const struct settings *s)
{
	return s->id;
}
