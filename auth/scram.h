/* auth/scram.h — the arithmetic of SCRAM-SHA-256 (RFC 5802, RFC 7677), verifiers (RFC 5803 as pg_authid stores them)
 * and the attributes its messages are made of. The two roles are in scram_client.h and scram_server.h.
 *
 * Passwords are hashed as the bytes they are. PostgreSQL first tries SASLprep (RFC 4013) and falls back to the raw
 * bytes where that refuses. The two agree for every ASCII password (SASLprep leaves printable ASCII alone and refuses
 * controls) and for UTF-8 that is in normal form KC and free of the characters SASLprep replaces; such is what
 * keyboards give. They differ for a password that normalising would change (a ligature, a full-width letter, a
 * decomposed accent, U+00A0, U+00AD): with such a plain password SCRAM fails, while verifiers and keys, which carry the
 * work of whoever made them, hold.
 *
 * Functions that return int give 0, or -1 when the crypto library refuses or a bound is broken; outputs are then
 * unspecified and must not be used. */
#ifndef PGPORTER_AUTH_SCRAM_H
#define PGPORTER_AUTH_SCRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/secret.h"
#include "parser/reader.h"

#define SCRAM_MECHANISM "SCRAM-SHA-256"
#define SCRAM_MECHANISM_PLUS "SCRAM-SHA-256-PLUS"
#define SCRAM_BINDING_TYPE "tls-server-end-point"

enum {
	SCRAM_SALT_LEN = 16,	      /* bytes in salts of our making, as PostgreSQL's */
	SCRAM_NONCE_RAW = 18,	      /* random bytes in a nonce */
	SCRAM_NONCE_LEN = 24,	      /* its characters */
	SCRAM_BINDING_MAX = 64,	      /* bytes of a certificate's hash */
	SCRAM_CLIENT_MAX = 1024,      /* longest message taken from a client, as PostgreSQL's */
	SCRAM_SERVER_MAX = 4096,      /* longest message taken from a server */
	SCRAM_ITERATIONS_DEFAULT = 4096,
	SCRAM_ITERATIONS_MAX = INT32_MAX,
};

enum scram_result {
	SCRAM_OK,
	SCRAM_MALFORMED, /* breaks the grammar or the order of the protocol */
	SCRAM_UNBOUND,	 /* channel binding differs or was negotiated away */
	SCRAM_WRONG,	 /* proof, signature or keys don't hold */
};

int scram_sha256(const void *in, size_t len, uint8_t out[SCRAM_KEY_LEN]) __attribute__((warn_unused_result));
int scram_hmac(const uint8_t key[SCRAM_KEY_LEN], const void *in, size_t len, uint8_t out[SCRAM_KEY_LEN])
	__attribute__((warn_unused_result));
/* A key of any length, taken in once for many uses; in and out may be the same. */
struct scram_hmac_key;
struct scram_hmac_key *scram_hmac_key_new(const void *key, size_t len); /* NULL: the crypto library refuses */
int scram_hmac_with(struct scram_hmac_key *key, const void *in, size_t len, uint8_t out[SCRAM_KEY_LEN])
	__attribute__((warn_unused_result));
void scram_hmac_key_free(struct scram_hmac_key *key); /* wipes; NULL is fine */
/* SaltedPassword: PBKDF2 with HMAC-SHA-256. Costs two hashes an iteration: 4096 take 1–2 ms, so bound what a peer
 * may ask; auth/derive.h does the same in parts. */
int scram_salted_password(const char *password, const uint8_t *salt, size_t salt_len, uint32_t iterations,
			  uint8_t out[SCRAM_KEY_LEN]) __attribute__((warn_unused_result));
int scram_client_key(const uint8_t salted[SCRAM_KEY_LEN], uint8_t out[SCRAM_KEY_LEN])
	__attribute__((warn_unused_result));
int scram_server_key(const uint8_t salted[SCRAM_KEY_LEN], uint8_t out[SCRAM_KEY_LEN])
	__attribute__((warn_unused_result));
int scram_stored_key(const uint8_t client_key[SCRAM_KEY_LEN], uint8_t out[SCRAM_KEY_LEN])
	__attribute__((warn_unused_result));

/* All keys of a password, client key included. -1 also for an empty or too long salt and for 0 or more than
 * SCRAM_ITERATIONS_MAX iterations. */
int scram_verifier_make(const char *password, const uint8_t *salt, size_t salt_len, uint32_t iterations,
			struct scram_verifier *out) __attribute__((warn_unused_result));
/* The same of a SaltedPassword that is known. */
int scram_verifier_of(const uint8_t salted[SCRAM_KEY_LEN], const uint8_t *salt, size_t salt_len, uint32_t iterations,
		      struct scram_verifier *out) __attribute__((warn_unused_result));
/* Whether a password is the verifier's, in constant time. */
bool scram_verifier_matches(const struct scram_verifier *v, const char *password);
/* "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey". Parsing takes that spelling only, -1 for anything else; the
 * client key is never part of it. Text needs room for SECRET_TEXT_MAX characters. */
int scram_verifier_parse(const char *text, struct scram_verifier *out);
int scram_verifier_text(const struct scram_verifier *v, char out[SECRET_TEXT_MAX]);
/* The verifier text of a password in one step, as PostgreSQL would store it. */
int scram_verifier_build(const char *password, const uint8_t *salt, size_t salt_len, uint32_t iterations,
			 char out[SECRET_TEXT_MAX]);

/* A nonce's text and its NUL, from random bytes. */
void scram_nonce(const uint8_t raw[SCRAM_NONCE_RAW], char out[SCRAM_NONCE_LEN + 1]);
/* Printable ASCII without a comma, and not empty (RFC 5802 section 7). */
bool scram_nonce_valid(const uint8_t *nonce, size_t len);
/* A decimal of digits alone, without leading zeros, from 1 to SCRAM_ITERATIONS_MAX; else 0. */
uint32_t scram_iterations(const uint8_t *text, size_t len);

/* One "x=value" of a message; the value points into it. */
struct scram_attr {
	char name;
	const uint8_t *value;
	size_t len;
};

/* Takes the next attribute and the comma behind it, if another attribute follows; sets r->bad and returns false for
 * anything else. */
bool scram_attr_next(struct reader *r, struct scram_attr *a);
/* The same, and its name must be this. */
bool scram_attr_named(struct reader *r, char name, struct scram_attr *a);
/* Takes all that is left as optional extensions; false if they are malformed. */
bool scram_attr_rest(struct reader *r);

#endif
