/* state/backend.h — what is known of one backend: the settings it carries, the statements prepared on it, the replies
 * it owes and where its transaction stands. Facts only; whom it serves is for state/session.c, which pool it sits in
 * for state/pool.c.
 *
 * `applied` is what its session holds when no transaction is open, `have` what it holds now; they differ only inside a
 * transaction that has touched settings. Both leave out what the backend got at its own start. */
#ifndef PGPORTER_STATE_BACKEND_H
#define PGPORTER_STATE_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "parser/buf.h"
#include "state/ledger.h"
#include "state/prepared.h"
#include "state/settings.h"

struct session;

#define UNNAMED_UNKNOWN UINT64_MAX /* whose it is, or whether there is one, isn't known: no client's */

#define SEQUENCES_MANY UINT64_MAX

/* Numbers of settings for which a SELECT stays prepared, plus one. */
enum { BACKEND_KEPT = 9 };

struct backend {
	struct session *session; /* whom it is linked to; NULL: idle */
	struct buf *out;	 /* bytes on their way to PostgreSQL; the owner's */
	const struct settings *applied, *have;
	const struct settings *reported; /* ParameterStatus, names as PostgreSQL writes them */
	/* Names of custom settings (with a dot) that statements sent to it may have touched, whether they succeeded or not: such
	 * a name reads '' for ever after, where it would read NULL. A set, with empty values. */
	const struct settings *seen;
	struct stmt_set prepared;
	size_t prepared_max;
	unsigned kept;		/* pgporter's own prepared statements, a bit each (state/session_apply.c); 0: none, or not known */
	struct ledger owed;
	uint64_t unnamed;	/* serial of the Parse that the unnamed statement there comes from; 0: none; UNNAMED_UNKNOWN */
	uint64_t sequences;	/* serial of the only session that has used it since DISCARD SEQUENCES; 0: none has; SEQUENCES_MANY */
	uint64_t plans;		/* serial of the DISCARD PLANS after which all plans here were made */
	char status;		/* of the last ReadyForQuery: I, T or E; T where that said I and half_ended knows better */
	bool answered;		/* since then it has answered more than Close */
	bool joined;		/* a Query or FunctionCall may have joined the transaction of a batch, which Sync ends */
	bool half_ended;	/* its transaction is open all the same (state/session_half_ended.c) */
	bool batch;		/* extended messages were sent since the last Sync */
	bool skipping;		/* an error was seen and no Sync sent: PostgreSQL skips what it gets */
	bool copy_in, copy_both; /* CopyIn/CopyBothResponse seen, its end not */
	bool temp_schema;	/* its temporary schema exists, and is in every search path since */
	char last_text[128];	/* beginning of the last statement that may have left something here */
	uint32_t left;		/* kinds of state (1 << enum rule_kind) that clients have left here as their rules have it: only for
				 * clients whose rules ignore them too */
	bool spoilt;		/* holds what can't be undone or isn't known: close it when its client leaves */
};

/* As the last ReadyForQuery put it. */
static inline char backend_said(const struct backend *b)
{
	return b->half_ended ? 'I' : b->status;
}

void backend_init(struct backend *b, struct settings_store *st, struct buf *out);
void backend_release(struct backend *b);
/* A ParameterStatus. */
void backend_reported(struct backend *b, const char *name, const char *value);
/* Everything the session on it held is gone (DISCARD ALL ran). */
void backend_wiped(struct backend *b);

#endif
