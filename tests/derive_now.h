/* tests/derive_now.h — exchanges (auth/exchange.h) for whoever may be held up: the keys that they want are derived at once. */
#ifndef PGPORTER_TESTS_DERIVE_NOW_H
#define PGPORTER_TESTS_DERIVE_NOW_H

#include <stdlib.h>

#include "auth/exchange.h"
#include "auth/scram.h"

static inline struct scram_verifier derive_now(const struct auth_wanted *w)
{
	struct derivation *d = derivation_new(w);
	struct scram_verifier v;

	if (!d)
		abort();
	while (!derivation_run(d, 7))
		;
	if (derivation_keys(d, &v))
		abort();
	derivation_free(d);
	return v;
}

static inline enum auth_verdict client_feed(struct auth_client *a, const uint8_t *body, size_t len, struct buf *out)
{
	enum auth_verdict verdict = auth_client_feed(a, body, len, out);
	struct scram_verifier v;

	if (verdict != AUTH_DERIVE)
		return verdict;
	v = derive_now(auth_client_wanted(a));
	return auth_client_derived(a, &v, out);
}

static inline enum auth_verdict server_feed(struct auth_server *a, const uint8_t *body, size_t len, struct buf *out)
{
	enum auth_verdict verdict = auth_server_feed(a, body, len, out);
	struct scram_verifier v;

	if (verdict != AUTH_DERIVE)
		return verdict;
	v = derive_now(auth_server_wanted(a));
	return auth_server_derived(a, &v, out);
}

#endif
