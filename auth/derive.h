/* auth/derive.h — SCRAM keys of a password in steps: PBKDF2 with HMAC-SHA-256 (RFC 8018 section 5.2) of 4096 rounds takes
 * half a millisecond and more, and a server may ask for 100000. Whoever may not be held up by that runs a part at a time.
 *
 * A derivation holds what is as good as the password; it is wiped when it is freed. */
#ifndef PGPORTER_AUTH_DERIVE_H
#define PGPORTER_AUTH_DERIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/secret.h"

/* Whose keys an exchange lacks (AUTH_DERIVE). Points into the exchange. */
struct auth_wanted {
	const char *password;
	const uint8_t *salt;
	size_t salt_len;
	uint32_t iterations;
	bool ours; /* the password is ours; else it is a peer's word, and worth keeping only if it turns out to be right */
};

struct derivation;

/* Copies what it needs. NULL if the crypto library refuses or a bound of scram_salted_password() is broken. */
struct derivation *derivation_new(const struct auth_wanted *wanted);
/* Runs up to so many rounds more. True when there are none left. */
bool derivation_run(struct derivation *d, uint32_t rounds);
/* After that: the keys, client key included, or -1 if the crypto library has refused somewhere. */
int derivation_keys(const struct derivation *d, struct scram_verifier *out) __attribute__((warn_unused_result));
void derivation_free(struct derivation *d); /* NULL is fine */

#endif
