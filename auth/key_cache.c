#include "auth/key_cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <openssl/crypto.h>

#include "auth/scram.h"

enum { SLOTS = 4096 };

struct entry {
	TAILQ_ENTRY(entry) in; /* longest out of use first */
	LIST_ENTRY(entry) slot, same; /* by the whole id; by its password */
	struct key_id id;
	uint8_t stored_key[SCRAM_KEY_LEN], server_key[SCRAM_KEY_LEN], client_key[SCRAM_KEY_LEN];
	bool used, kept;
};

struct key_cache {
	TAILQ_HEAD(, entry) entries;
	LIST_HEAD(, entry) slots[SLOTS], by_password[SLOTS];
	uint8_t process_key[SCRAM_KEY_LEN];
	size_t count, max;
};

struct key_cache *key_cache_new(const uint8_t process_key[32], size_t max)
{
	struct key_cache *k = calloc(1, sizeof *k);

	if (!k)
		abort();
	TAILQ_INIT(&k->entries);
	memcpy(k->process_key, process_key, sizeof k->process_key);
	k->max = max;
	return k;
}

static int password_id(const struct key_cache *k, const char *password, uint8_t out[SCRAM_KEY_LEN])
{
	return scram_hmac(k->process_key, password, strlen(password), out);
}

int key_cache_id(const struct key_cache *k, const struct auth_wanted *w, struct key_id *out)
{
	uint8_t rest[SCRAM_SALT_MAX + sizeof w->iterations];

	if (w->salt_len > SCRAM_SALT_MAX || password_id(k, w->password, out->password))
		return -1;
	memcpy(rest, &w->iterations, sizeof w->iterations);
	memcpy(rest + sizeof w->iterations, w->salt, w->salt_len);
	return scram_hmac(out->password, rest, sizeof w->iterations + w->salt_len, out->whole);
}

static size_t slot_of(const uint8_t hash[SCRAM_KEY_LEN])
{
	return (hash[0] | (size_t)hash[1] << 8) % SLOTS;
}

static struct entry *find(struct key_cache *k, const struct key_id *id)
{
	struct entry *e;

	LIST_FOREACH (e, &k->slots[slot_of(id->whole)], slot)
		if (!CRYPTO_memcmp(e->id.whole, id->whole, sizeof id->whole))
			return e;
	return NULL;
}

static void drop(struct key_cache *k, struct entry *e)
{
	TAILQ_REMOVE(&k->entries, e, in);
	LIST_REMOVE(e, slot);
	LIST_REMOVE(e, same);
	OPENSSL_cleanse(e, sizeof *e);
	free(e);
	k->count--;
}

bool key_cache_find(struct key_cache *k, const struct key_id *id, const struct auth_wanted *w, struct scram_verifier *out)
{
	struct entry *e = find(k, id);

	if (!e)
		return false;
	e->used = true;
	TAILQ_REMOVE(&k->entries, e, in);
	TAILQ_INSERT_TAIL(&k->entries, e, in);
	memset(out, 0, sizeof *out);
	out->iterations = w->iterations;
	out->salt_len = w->salt_len;
	memcpy(out->salt, w->salt, w->salt_len);
	memcpy(out->stored_key, e->stored_key, SCRAM_KEY_LEN);
	memcpy(out->server_key, e->server_key, SCRAM_KEY_LEN);
	memcpy(out->client_key, e->client_key, SCRAM_KEY_LEN);
	out->have_client_key = true;
	return true;
}

void key_cache_add(struct key_cache *k, const struct key_id *id, const struct scram_verifier *v)
{
	struct entry *e;

	if (!k->max || find(k, id))
		return;
	while (k->count >= k->max)
		drop(k, TAILQ_FIRST(&k->entries));
	e = calloc(1, sizeof *e);
	if (!e)
		abort();
	e->id = *id;
	e->used = true;
	memcpy(e->stored_key, v->stored_key, SCRAM_KEY_LEN);
	memcpy(e->server_key, v->server_key, SCRAM_KEY_LEN);
	memcpy(e->client_key, v->client_key, SCRAM_KEY_LEN);
	TAILQ_INSERT_TAIL(&k->entries, e, in);
	LIST_INSERT_HEAD(&k->slots[slot_of(id->whole)], e, slot);
	LIST_INSERT_HEAD(&k->by_password[slot_of(id->password)], e, same);
	k->count++;
}

void key_cache_keep_begin(struct key_cache *k)
{
	struct entry *e;

	TAILQ_FOREACH (e, &k->entries, in)
		e->kept = false;
}

/* Where one of them is marked, all are: users with one password in common are seen to once. */
void key_cache_keep(struct key_cache *k, const char *password)
{
	uint8_t id[SCRAM_KEY_LEN];
	struct entry *e;

	if (!k->count || password_id(k, password, id))
		return;
	LIST_FOREACH (e, &k->by_password[slot_of(id)], same) {
		if (CRYPTO_memcmp(e->id.password, id, sizeof id))
			continue;
		if (e->kept)
			break;
		e->kept = true;
	}
	OPENSSL_cleanse(id, sizeof id);
}

void key_cache_keep_end(struct key_cache *k)
{
	struct entry *e, *next;

	for (e = TAILQ_FIRST(&k->entries); e; e = next) {
		next = TAILQ_NEXT(e, in);
		if (!e->kept)
			drop(k, e);
	}
}

void key_cache_age(struct key_cache *k)
{
	struct entry *e, *next;

	for (e = TAILQ_FIRST(&k->entries); e; e = next) {
		next = TAILQ_NEXT(e, in);
		if (!e->used)
			drop(k, e);
		else
			e->used = false;
	}
}

size_t key_cache_count(const struct key_cache *k)
{
	return k->count;
}

void key_cache_free(struct key_cache *k)
{
	if (!k)
		return;
	while (k->count)
		drop(k, TAILQ_FIRST(&k->entries));
	OPENSSL_cleanse(k, sizeof *k);
	free(k);
}
