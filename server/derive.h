/* server/derive.h — the SCRAM keys that logins wait for. What was derived before is remembered (auth/key_cache.h); what was
 * not is derived in slices between the turns of all others, the same keys once for all who wait for them, so that no login
 * holds anybody up: neither thousands of new users at once, nor a server that asks for 100000 rounds. */
#ifndef PGPORTER_SERVER_DERIVE_H
#define PGPORTER_SERVER_DERIVE_H

#include "auth/derive.h"
#include "server/worker.h"

struct derive_wait;

/* Called once in a turn of its own, unless abandoned before; keys NULL: there can't be any. Returns whether the password, if it
 * was a peer's word, was right. The wait has ended. */
typedef bool derive_done(void *owner, const struct scram_verifier *keys);

/* Known keys: fills *keys and returns true. */
bool derive_find(struct worker *w, const struct auth_wanted *wanted, struct scram_verifier *keys);
struct derive_wait *derive_begin(struct worker *w, const struct auth_wanted *wanted, derive_done *done, void *owner);
void derive_abandon(struct derive_wait *d); /* NULL is fine */

void derive_init(struct worker *w);   /* needs w->base */
void derive_reload(struct worker *w); /* keys of passwords that the configuration no longer has are forgotten */
void derive_tick(struct worker *w);   /* so are those out of use */
void derive_free(struct worker *w);

#endif
