/* auth/key_cache.h — SCRAM keys once derived, so that one password over one salt is derived once and not at each login.
 *
 * Stance: no password is kept. Keys are found by hashes over password, salt and iterations that are keyed with a secret of
 * this process, and they are worth the password at one verifier only; a process that holds them had the password itself in
 * memory. They are bounded in number (those longest out of use go first), wiped when they go, and go when their password
 * is no longer configured or when nobody has used them for a while. One thread at a time. */
#ifndef PGPORTER_AUTH_KEY_CACHE_H
#define PGPORTER_AUTH_KEY_CACHE_H

#include "auth/derive.h"

struct key_cache;

/* Which keys; equal for equal wishes, and nothing to be learnt from it without the process's secret. */
struct key_id {
	uint8_t password[SCRAM_KEY_LEN], whole[SCRAM_KEY_LEN];
};

struct key_cache *key_cache_new(const uint8_t process_key[32], size_t max);
int key_cache_id(const struct key_cache *k, const struct auth_wanted *wanted, struct key_id *out) __attribute__((warn_unused_result));
/* Fills the keys of what was wanted; false: not known. */
bool key_cache_find(struct key_cache *k, const struct key_id *id, const struct auth_wanted *wanted, struct scram_verifier *out);
void key_cache_add(struct key_cache *k, const struct key_id *id, const struct scram_verifier *v);
/* Between begin and end: these passwords stay, the keys of all others go. */
void key_cache_keep_begin(struct key_cache *k);
void key_cache_keep(struct key_cache *k, const char *password);
void key_cache_keep_end(struct key_cache *k);
/* What nobody has asked for since the last call goes. */
void key_cache_age(struct key_cache *k);
size_t key_cache_count(const struct key_cache *k);
void key_cache_free(struct key_cache *k); /* NULL is fine */

#endif
