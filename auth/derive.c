#include "auth/derive.h"

#include <stdlib.h>
#include <string.h>

#include "auth/scram.h"

struct derivation {
	struct scram_hmac_key *key; /* of the password */
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_len;
	uint32_t iterations, left;
	bool failed;
	uint8_t last[SCRAM_KEY_LEN], sum[SCRAM_KEY_LEN]; /* U of the last round; all of them together */
};

/* U1 = HMAC(password, salt || INT(1)): SaltedPassword is one block long. */
static bool first_round(struct derivation *d)
{
	static const uint8_t one[4] = { 0, 0, 0, 1 };
	uint8_t salted[SCRAM_SALT_MAX + sizeof one];
	bool done;

	memcpy(salted, d->salt, d->salt_len);
	memcpy(salted + d->salt_len, one, sizeof one);
	done = !scram_hmac_with(d->key, salted, d->salt_len + sizeof one, d->last);
	memcpy(d->sum, d->last, sizeof d->sum);
	d->left--;
	return done;
}

struct derivation *derivation_new(const struct auth_wanted *wanted)
{
	struct derivation *d;

	if (!wanted->salt_len || wanted->salt_len > SCRAM_SALT_MAX || !wanted->iterations || wanted->iterations > SCRAM_ITERATIONS_MAX)
		return NULL;
	d = calloc(1, sizeof *d);
	if (!d)
		abort();
	memcpy(d->salt, wanted->salt, wanted->salt_len);
	d->salt_len = wanted->salt_len;
	d->iterations = d->left = wanted->iterations;
	d->key = scram_hmac_key_new(wanted->password, strlen(wanted->password));
	if (d->key && first_round(d))
		return d;
	derivation_free(d);
	return NULL;
}

bool derivation_run(struct derivation *d, uint32_t rounds)
{
	for (; rounds && d->left && !d->failed; rounds--, d->left--) {
		d->failed = scram_hmac_with(d->key, d->last, sizeof d->last, d->last);
		for (int i = 0; i < SCRAM_KEY_LEN; i++)
			d->sum[i] ^= d->last[i];
	}
	return !d->left || d->failed;
}

int derivation_keys(const struct derivation *d, struct scram_verifier *out)
{
	if (d->failed || d->left)
		return -1;
	return scram_verifier_of(d->sum, d->salt, d->salt_len, d->iterations, out);
}

void derivation_free(struct derivation *d)
{
	if (!d)
		return;
	scram_hmac_key_free(d->key);
	explicit_bzero(d, sizeof *d);
	free(d);
}
